//! One line of the trail: an entry with its number and time, signed.
//!
//! The signature makes each record stand for itself, so that the first one that was changed can be named; the
//! tree makes all of them stand together.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bifrost_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    entry::Entry,
    note::{NoteError, SigningKey, VerifierKey},
};

/// An entry with its place in the trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 0 and never skips.
    pub seq: u64,
    /// When it was recorded, by the wall clock.
    pub timestamp: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Begins the last member of a line, the signature.
const SIGNATURE: &str = ",\"sig\":\"";
/// Ends it.
const END: &str = "\"}";
/// A signature in base64.
const LENGTH: usize = 88;
/// What is signed begins with this, so that it can't be taken for a note.
const CONTEXT: &[u8] = b"bifrost-audit-record-v1\0";

impl Record {
    /// The line, without its newline.
    pub fn line(&self, key: &SigningKey) -> Result<String, NoteError> {
        let mut line = serde_json::to_string(self)
            .map_err(|_| NoteError::Malformed("the record can't be written as JSON"))?;
        let signature = BASE64_STANDARD.encode(key.sign(&signed(key.verifier().name(), &line))?);
        line.pop();
        Ok(format!("{line}{SIGNATURE}{signature}{END}"))
    }

    /// Out of a line that this key has signed.
    pub fn open(line: &str, key: &VerifierKey) -> Result<Self, LineError> {
        let (text, signature) = split(line).ok_or(LineError::Malformed)?;
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| LineError::Malformed)?;
        if !key.has_signed(&signed(key.name(), &text), &signature) {
            return Err(LineError::NotSigned);
        }
        serde_json::from_str(&text).map_err(|_| LineError::Malformed)
    }

    /// Out of a line that somebody else has checked.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(&split(line)?.0).ok()
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineError {
    /// It is no record.
    Malformed,
    /// It isn't what the key has signed.
    NotSigned,
}

/// The record's JSON and its signature.
fn split(line: &str) -> Option<(String, &str)> {
    let rest = line.strip_suffix(END)?;
    let at = rest.len().checked_sub(LENGTH)?;
    let (text, signature) = (rest.get(..at)?, rest.get(at..)?);
    Some((format!("{}}}", text.strip_suffix(SIGNATURE)?), signature))
}

fn signed(name: &str, text: &str) -> Vec<u8> {
    [CONTEXT, name.as_bytes(), b"\0", text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Category, Outcome, Source};

    #[test]
    fn a_line_reads_as_it_was_written_and_no_byte_of_it_can_be_changed() {
        let key = SigningKey::generate("a").unwrap();
        let entry = Entry::new(Source::gateway(), Category::SystemEvent, "start", Outcome::Success);
        let record = Record { seq: 7, timestamp: Timestamp::from_micros(1), entry: entry.on("\"x\"") };
        let line = record.line(&key).unwrap();
        assert_eq!(Record::open(&line, key.verifier()), Ok(record.clone()));
        assert_eq!(Record::parse(&line), Some(record));
        assert!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["sig"].is_string());
        for at in 0..line.len() {
            let mut changed = line.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8_lossy(&changed);
            assert!(Record::open(&changed, key.verifier()).is_err(), "{at}: {changed}");
        }
    }
}
