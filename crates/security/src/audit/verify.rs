//! Checks a trail offline, with the public key and whatever checkpoints were kept elsewhere.
//!
//! What it finds: records that were edited, inserted, deleted or put into another order; a trail that was cut
//! off behind a checkpoint; one that was rolled back or written anew, if a later checkpoint was kept elsewhere.
//! What it can't: that records went which no checkpoint covers yet.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use bifrost_model::Timestamp;
use serde::Serialize;

use super::{
    checkpoint::Checkpoint,
    folder::{Segment, notes, segments},
    merkle::{Frontier, Hash, leaf_hash},
    note::VerifierKey,
    record::{LineError, Record},
    trail::{REMOVED, TrailError, at},
};

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Number of the first record that is there; those before were removed when they were too many or too old.
    pub first: u64,
    /// How many records there are, those before `first` included.
    pub size: u64,
    /// How many of them checkpoints cover.
    pub signed: u64,
    /// When the last checkpoint was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_at: Option<Timestamp>,
    /// Checkpoints in the trail that fit.
    pub checkpoints: usize,
    /// Checkpoints from elsewhere that fit.
    pub outside: usize,
    /// Checkpoints from elsewhere of records that aren't kept any more.
    pub outside_unchecked: usize,
    /// The first thing that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// Something that is wrong, and where it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The first record that is bad or missing.
    pub seq: u64,
    /// In which file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// In which line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.seq, self.reason)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({}, line {line})", file.display()),
            (Some(file), None) => write!(f, " ({})", file.display()),
            _ => Ok(()),
        }
    }
}

/// Checks the trail in this folder.
///
/// # Errors
/// When a file can't be read. That something is wrong with the trail is no error but a [`Fault`].
pub fn verify(folder: &Path, key: &VerifierKey, outside: &[String]) -> Result<Verification, TrailError> {
    let segments = segments(folder).map_err(at(folder))?;
    let mut check = Check::new(key, outside);
    for segment in &segments {
        if !check.segment(segment)? {
            break;
        }
    }
    Ok(check.conclude(segments.first()))
}

/// A check under way.
struct Check<'a> {
    key: &'a VerifierKey,
    /// Checkpoints from elsewhere, by size.
    outside: BTreeMap<u64, Vec<Checkpoint>>,
    /// Roots at these sizes, as far as they are known.
    roots: BTreeMap<u64, Hash>,
    frontier: Option<Frontier>,
    first: u64,
    /// Records below this were removed, as a record says.
    removed: u64,
    found: Verification,
}

impl<'a> Check<'a> {
    fn new(key: &'a VerifierKey, notes: &[String]) -> Self {
        let mut outside: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        let mut fault = None;
        for note in notes {
            match Checkpoint::open(note, key) {
                Ok(checkpoint) => outside.entry(checkpoint.head.size).or_default().push(checkpoint),
                Err(error) => {
                    let reason = format!("a checkpoint from elsewhere: {error}");
                    fault.get_or_insert(Fault { seq: 0, file: None, line: None, reason });
                }
            }
        }
        let found = Verification {
            first: 0,
            size: 0,
            signed: 0,
            signed_at: None,
            checkpoints: 0,
            outside: 0,
            outside_unchecked: 0,
            fault,
        };
        Self { key, outside, roots: BTreeMap::new(), frontier: None, first: 0, removed: 0, found }
    }

    fn fail(&mut self, seq: u64, at: Option<(PathBuf, Option<usize>)>, reason: impl Into<String>) -> bool {
        let (file, line) = at.map_or((None, None), |(file, line)| (Some(file), line));
        self.found.fault.get_or_insert(Fault { seq, file, line, reason: reason.into() });
        false
    }

    /// Checks one segment; `false`: there is no sense in going on.
    fn segment(&mut self, segment: &Segment) -> Result<bool, TrailError> {
        let file = segment.checkpoints();
        let read = |file: &Path| match fs::read(file) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(at(file)(error)),
        };
        let text = read(&file)?;
        let mut checkpoints = BTreeMap::new();
        for note in notes(&text).0 {
            match Checkpoint::open(note, self.key) {
                Ok(checkpoint) => drop(checkpoints.insert(checkpoint.head.size, checkpoint)),
                Err(error) => return Ok(self.fail(segment.first, Some((file, None)), error.to_string())),
            }
        }
        let Some(base) = checkpoints.get(&segment.first).cloned() else {
            let reason = "there is no checkpoint of what was before it";
            return Ok(self.fail(segment.first, Some((file, None)), reason));
        };
        if !self.begins(segment, &base) {
            return Ok(false);
        }
        let records = read(&segment.records())?;
        if !self.records(&segment.records(), &records, &checkpoints) {
            return Ok(false);
        }
        let size = self.frontier.as_ref().map_or(0, Frontier::size);
        if let Some((cut, _)) = checkpoints.last_key_value().filter(|(last, _)| **last > size) {
            let reason = format!("it was cut off: {cut} records were signed, {size} are there");
            return Ok(self.fail(size, Some((segment.records(), None)), reason));
        }
        self.found.checkpoints += checkpoints.len();
        if let Some((signed, last)) = checkpoints.last_key_value() {
            (self.found.signed, self.found.signed_at) = (*signed, Some(last.time));
        }
        Ok(true)
    }

    /// Whether a segment goes on where the one before ended.
    fn begins(&mut self, segment: &Segment, base: &Checkpoint) -> bool {
        match &self.frontier {
            None => {
                self.first = segment.first;
                self.frontier = Some(base.frontier.clone());
                self.know();
                true
            }
            Some(frontier) if frontier.size() < segment.first => {
                let (from, to) = (frontier.size(), segment.first - 1);
                self.fail(
                    from,
                    Some((segment.records(), None)),
                    format!("up to {to} they are missing before it"),
                )
            }
            Some(frontier) if *frontier != base.frontier => self.fail(
                segment.first,
                Some((segment.checkpoints(), None)),
                "it doesn't fit what is before it",
            ),
            Some(_) => true,
        }
    }

    fn records(&mut self, file: &Path, text: &str, checkpoints: &BTreeMap<u64, Checkpoint>) -> bool {
        for (n, line) in text.split_inclusive('\n').enumerate() {
            let expected = self.frontier.as_ref().map_or(0, Frontier::size);
            let place = Some((file.to_owned(), Some(n + 1)));
            let Some(line) = line.strip_suffix('\n') else {
                // Half written when the machine stopped: nothing that anybody has signed.
                return checkpoints.keys().all(|size| *size <= expected)
                    || self.fail(expected, place, "it was cut off in the middle");
            };
            let record = match Record::open(line, self.key) {
                Ok(record) => record,
                Err(LineError::Malformed) => return self.fail(expected, place, "it is no record"),
                Err(LineError::NotSigned) => {
                    return self.fail(
                        expected,
                        place,
                        "it was changed or inserted: it isn't what was signed",
                    );
                }
            };
            if record.seq != expected {
                return self.fail(expected, place, out_of_place(expected, record.seq));
            }
            self.note_removal(&record);
            if let Some(frontier) = &mut self.frontier {
                frontier.append(leaf_hash(line.as_bytes()));
            }
            self.know();
            if !self.fits(checkpoints, file) {
                return false;
            }
        }
        true
    }

    /// Remembers the root if somebody will ask for it.
    fn know(&mut self) {
        if let Some(frontier) = self.frontier.as_ref().filter(|it| self.outside.contains_key(&it.size())) {
            self.roots.insert(frontier.size(), frontier.root());
        }
    }

    fn note_removal(&mut self, record: &Record) {
        if &*record.entry.kind == REMOVED {
            let to = record.entry.detail["to"].as_u64().unwrap_or_default();
            self.removed = self.removed.max(to + 1);
        }
    }

    fn fits(&mut self, checkpoints: &BTreeMap<u64, Checkpoint>, file: &Path) -> bool {
        let Some(frontier) = &self.frontier else { return true };
        let size = frontier.size();
        match checkpoints.get(&size) {
            Some(checkpoint) if checkpoint.head.root != frontier.root() => {
                let before = checkpoints.range(..size).next_back().map_or(0, |(size, _)| *size);
                let reason = format!("from here to {} they aren't those that were signed", size - 1);
                self.fail(before, Some((file.to_owned(), None)), reason)
            }
            _ => true,
        }
    }

    fn conclude(mut self, oldest: Option<&Segment>) -> Verification {
        let size = self.frontier.as_ref().map_or(0, Frontier::size);
        (self.found.first, self.found.size) = (self.first, size);
        if self.found.fault.is_none() && self.removed < self.first {
            let file = oldest.map(|segment| (segment.records(), None));
            let reason = format!("up to {} they are missing, and no record says why", self.first - 1);
            self.fail(self.removed, file, reason);
        }
        self.compare_outside(size);
        self.found
    }

    fn compare_outside(&mut self, size: u64) {
        for (at, checkpoints) in std::mem::take(&mut self.outside) {
            for checkpoint in checkpoints {
                let time = checkpoint.time;
                if at > size {
                    let reason = format!(
                        "it was rolled back or cut off: a checkpoint from elsewhere of {time} is of {at} records, \
                         {size} are there"
                    );
                    self.fail(size, None, reason);
                } else if let Some(root) = self.roots.get(&at) {
                    if *root == checkpoint.head.root {
                        self.found.outside += 1;
                    } else {
                        let reason =
                            format!("the first {at} aren't those of a checkpoint from elsewhere of {time}");
                        self.fail(at.saturating_sub(1), None, reason);
                    }
                } else if at >= self.first && at != 0 {
                    // The check ended before it, at a fault that is told already.
                } else {
                    self.found.outside_unchecked += 1;
                }
            }
        }
    }
}

fn out_of_place(expected: u64, found: u64) -> String {
    if found > expected {
        format!("it is missing, or not in its place: record {found} follows")
    } else {
        format!("record {found} stands in its place a second time")
    }
}
