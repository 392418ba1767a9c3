//! Which identifiers devices and tags may carry.

use thiserror::Error;

/// Longest identifier in bytes.
pub const MAX_ID_LEN: usize = 128;

/// Why an identifier can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadId {
    /// Nothing, or only white space.
    #[error("is empty; give it a name")]
    Empty,
    /// Longer than [`MAX_ID_LEN`] bytes.
    #[error("has {0} bytes; at most {MAX_ID_LEN} are possible")]
    TooLong(usize),
    /// A control character, which no log line, path or topic can carry.
    #[error("contains the control character {0:?}; remove it")]
    Control(char),
    /// White space at an end, which nobody sees in a log line.
    #[error("begins or ends with white space; remove it")]
    Padded,
}

/// Checks an identifier of a device or a tag.
///
/// Slashes, dots and other characters with a meaning in paths, topics and subjects are allowed: those who
/// write them there encode them.
pub fn check_id(id: &str) -> Result<(), BadId> {
    if id.trim().is_empty() {
        return Err(BadId::Empty);
    }
    if id.len() > MAX_ID_LEN {
        return Err(BadId::TooLong(id.len()));
    }
    if let Some(c) = id.chars().find(|c| c.is_control()) {
        return Err(BadId::Control(c));
    }
    if id.trim() != id {
        return Err(BadId::Padded);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_nobody_could_read_or_carry_are_refused() {
        assert_eq!(check_id(""), Err(BadId::Empty));
        assert_eq!(check_id("  "), Err(BadId::Empty));
        assert_eq!(check_id(" a"), Err(BadId::Padded));
        assert_eq!(check_id("a\nb"), Err(BadId::Control('\n')));
        assert_eq!(check_id(&"x".repeat(129)), Err(BadId::TooLong(129)));
        assert_eq!(check_id("press/1.temp ä"), Ok(()));
    }
}
