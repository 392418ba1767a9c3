//! What is wrong with a configuration, in one line each.

use std::{fmt, path::PathBuf};

use serde::Serialize;

/// One thing that is wrong: where, which key, why, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file it is in; absent when it comes from the environment or a flag.
    pub file: Option<PathBuf>,
    /// Its line there, from 1.
    pub line: Option<usize>,
    /// The key's full path, such as `devices[2].tags[3].address`; empty when it is the file as a whole.
    pub key: String,
    /// Why, and what to do. Never shows the value of a key that may be a secret.
    pub reason: String,
}

impl Problem {
    /// A problem of a key whose place isn't known yet.
    pub(crate) fn of(key: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { file: None, line: None, key: key.to_string(), reason: reason.into() }
    }

    /// Whether another is of the same key at the same place.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        (&self.file, self.line, &self.key) == (&other.file, other.line, &other.key)
    }
}

/// `gateway.yaml:12: devices[0].tags[3].address: …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, _) => {}
        }
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        f.write_str(&one_line(&key))?;
        f.write_str(&one_line(&self.reason))
    }
}

/// A key or a value may carry line breaks and escape sequences; a terminal must see neither.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_file_line_key_and_reason() {
        let mut problem = Problem::of("devices[0].tags[3].address", "is no address");
        assert_eq!(problem.to_string(), "devices[0].tags[3].address: is no address");
        problem.file = Some("gateway.yaml".into());
        assert_eq!(problem.to_string(), "gateway.yaml: devices[0].tags[3].address: is no address");
        problem.line = Some(12);
        assert_eq!(problem.to_string(), "gateway.yaml:12: devices[0].tags[3].address: is no address");
    }

    #[test]
    fn no_line_break_and_no_escape_sequence_reaches_the_terminal() {
        let problem = Problem::of("a\nb", "is \u{1b}[31mred\r\n");
        assert_eq!(problem.to_string(), "a b: is  [31mred  ");
    }
}
