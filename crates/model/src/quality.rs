//! How far a value can be trusted, and why not further.

use std::fmt;

use serde::{Serialize, Serializer};

/// How far a value can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Quality {
    /// Read from the device in this scan.
    Good,
    /// Read, but something about it is doubtful, or the last good value while one scan failed.
    Uncertain,
    /// The last good value; the device hasn't confirmed it for longer than its scans should take.
    Stale,
    /// No value, or one that must not be used.
    Bad,
}

impl Quality {
    /// As it is written in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "GOOD",
            Self::Uncertain => "UNCERTAIN",
            Self::Stale => "STALE",
            Self::Bad => "BAD",
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Quality {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a value isn't GOOD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is good.
    None,
    /// Not read since the gateway started.
    NotYetRead,
    /// The device can't be reached.
    Disconnected,
    /// The device was reached and didn't answer in time.
    Timeout,
    /// What came back was no valid answer.
    Garbled,
    /// The device refused with this exception code.
    Refused(u8),
    /// The device refused with exception 01 where it knows the gateway's role, which may be why.
    RoleRefused,
    /// Infinity or not a number, which JSON can't carry.
    NotANumber,
    /// The text isn't UTF-8; what could not be read was replaced.
    NotText,
    /// Polling was stopped.
    Stopped,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::NotYetRead => f.write_str("not read yet"),
            Self::Disconnected => f.write_str("device not reachable"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Garbled => f.write_str("answer not understood"),
            Self::Refused(code) => write!(f, "refused by the device with exception {code:02X}"),
            Self::RoleRefused => f.write_str(
                "refused by the device with exception 01: it hasn't got the function, or doesn't allow it to \
                 the role in this gateway's certificate",
            ),
            Self::NotANumber => f.write_str("not a finite number"),
            Self::NotText => f.write_str("not valid text"),
            Self::Stopped => f.write_str("polling stopped"),
        }
    }
}
