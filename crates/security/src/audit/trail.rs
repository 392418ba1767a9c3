//! Writes the trail: records at its end, checkpoints beside them, old segments gone when they must.
//!
//! Blocks on the disk; knows no clock and no actor.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bifrost_model::Timestamp;
use thiserror::Error;

use super::{
    checkpoint::Checkpoint,
    entry::{Category, Entry, Outcome, Source},
    folder::{Segment, segments},
    merkle::{Frontier, leaf_hash},
    note::{NoteError, SigningKey},
    opening::{self, Finding},
    record::Record,
};

/// The record of segments that were removed; without one their absence is a fault.
pub(super) const REMOVED: &str = "segments_removed";

/// The file beside the records with the key that checks them, as [`super::VerifierKey`] is written.
pub const PUBLIC_KEY: &str = "audit.pub";

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailSettings {
    /// Size at which a new segment is begun.
    pub segment_bytes: u64,
    /// Bytes of all segments; beyond, the oldest go.
    pub max_bytes: u64,
    /// Age in microseconds beyond which a segment goes; `None`: it stays.
    pub max_age: Option<i64>,
}

/// Why the trail can't be written.
#[derive(Debug, Error)]
pub enum TrailError {
    /// A file can't be read or written.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The key or a signature.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Somebody else writes it.
    #[error("{0} is in use by another process; stop that first")]
    Locked(String),
}

/// An error with its file.
pub(super) fn at(file: &Path) -> impl FnOnce(io::Error) -> TrailError + use<'_> {
    move |source| TrailError::File { file: file.display().to_string(), source }
}

/// A trail that is open for writing.
#[derive(Debug)]
pub struct Trail {
    folder: PathBuf,
    key: SigningKey,
    settings: TrailSettings,
    frontier: Frontier,
    segment: Segment,
    records: File,
    length: u64,
    /// The size at the last checkpoint.
    signed: u64,
    last_note: String,
    _lock: File,
}

impl Trail {
    /// Opens the trail of this key in a folder, or begins one. What can't be gone on with is set aside, never
    /// deleted, and told.
    pub fn open(
        folder: &Path,
        key: SigningKey,
        settings: TrailSettings,
        now: Timestamp,
    ) -> Result<(Self, Vec<Finding>), TrailError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let lock = lock(folder)?;
        let (end, findings) = opening::examine(folder, key.verifier(), now)?;
        let end = match end {
            Some(end) => end,
            None => begin(folder, &key, &Frontier::default(), now)?,
        };
        let records = append_to(&end.segment.records())?;
        let length = records.metadata().map_err(at(folder))?.len();
        let opening::End { segment, frontier, signed, last_note } = end;
        let folder = folder.to_owned();
        let trail = Self {
            folder,
            key,
            settings,
            frontier,
            segment,
            records,
            length,
            signed,
            last_note,
            _lock: lock,
        };
        Ok((trail, findings))
    }

    /// Number of the next record.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// How many records no checkpoint covers yet.
    pub fn unsigned(&self) -> u64 {
        self.frontier.size() - self.signed
    }

    /// The last checkpoint, as a note.
    pub fn last_note(&self) -> &str {
        &self.last_note
    }

    /// Who can check it.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Records these, all or none; they are on disk when this returns.
    pub fn append(&mut self, entries: Vec<(Entry, Timestamp)>) -> Result<(), TrailError> {
        let (mut text, mut frontier) = (String::new(), self.frontier.clone());
        for (entry, timestamp) in entries {
            let line = Record { seq: frontier.size(), timestamp, entry }.line(&self.key)?;
            frontier.append(leaf_hash(line.as_bytes()));
            text.push_str(&line);
            text.push('\n');
        }
        let written = self.records.write_all(text.as_bytes()).and_then(|()| self.records.sync_data());
        if let Err(error) = written {
            // What is half there must not stand before what is tried next.
            let _ = self.records.set_len(self.length);
            return Err(at(&self.segment.records())(error));
        }
        self.length += text.len() as u64;
        self.frontier = frontier;
        Ok(())
    }

    /// Makes a checkpoint, begins a new segment if this one is large enough, and answers the checkpoint as a
    /// note; `None` if there is nothing new.
    pub fn checkpoint(&mut self, now: Timestamp) -> Result<Option<String>, TrailError> {
        if self.unsigned() == 0 {
            return Ok(None);
        }
        let note = Checkpoint::of(self.key.verifier().name(), &self.frontier, now).signed(&self.key)?;
        write_note(&self.segment.checkpoints(), &note)?;
        self.signed = self.frontier.size();
        self.last_note.clone_from(&note);
        if self.length >= self.settings.segment_bytes {
            self.begin_segment(&note)?;
        }
        Ok(Some(note))
    }

    fn begin_segment(&mut self, note: &str) -> Result<(), TrailError> {
        let next = Segment::new(&self.folder, self.frontier.size());
        // The records last: without its checkpoint a segment would be a fault.
        write_note(&next.checkpoints(), note)?;
        self.records = append_to(&next.records())?;
        sync(&self.folder)?;
        (self.segment, self.length) = (next, 0);
        Ok(())
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> Result<u64, TrailError> {
        Ok(segments(&self.folder).map_err(at(&self.folder))?.iter().map(Segment::bytes).sum())
    }

    /// Removes the oldest segments that are too many or too old, after it has recorded that. Answers the first
    /// and the last number that went.
    pub fn retain(&mut self, now: Timestamp) -> Result<Option<(u64, u64)>, TrailError> {
        let all = segments(&self.folder).map_err(at(&self.folder))?;
        let mut bytes: u64 = all.iter().map(Segment::bytes).sum();
        // A little more than must be, so that it isn't done again at once.
        let most = self.settings.max_bytes;
        let enough = if bytes > most { most / 10 * 9 } else { most };
        let mut old = Vec::new();
        for pair in all.windows(2) {
            let [segment, next] = pair else { continue };
            if bytes <= enough && !self.is_too_old(segment, now)? {
                break;
            }
            bytes = bytes.saturating_sub(segment.bytes());
            old.push((segment.clone(), next.first));
        }
        let (Some((first, _)), Some((_, end))) = (old.first(), old.last()) else { return Ok(None) };
        let (from, to) = (first.first, end - 1);
        let entry = Entry::new(Source::gateway(), Category::AuditLog, REMOVED, Outcome::Success);
        self.append(vec![(entry.with(serde_json::json!({"from": from, "to": to})), now)])?;
        self.checkpoint(now)?;
        for (segment, _) in &old {
            for file in [segment.records(), segment.checkpoints()] {
                fs::remove_file(&file).map_err(at(&file))?;
            }
        }
        sync(&self.folder)?;
        Ok(Some((from, to)))
    }

    /// Whether the last record of a segment is older than it may be.
    fn is_too_old(&self, segment: &Segment, now: Timestamp) -> Result<bool, TrailError> {
        let Some(max_age) = self.settings.max_age else { return Ok(false) };
        let file = segment.records();
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        let last = text.lines().next_back().and_then(Record::parse);
        Ok(last.is_some_and(|last| now.as_micros().saturating_sub(last.timestamp.as_micros()) > max_age))
    }
}

/// Begins a trail: no record, one checkpoint of that.
fn begin(
    folder: &Path,
    key: &SigningKey,
    frontier: &Frontier,
    now: Timestamp,
) -> Result<opening::End, TrailError> {
    let segment = Segment::new(folder, frontier.size());
    let note = Checkpoint::of(key.verifier().name(), frontier, now).signed(key)?;
    write_note(&segment.checkpoints(), &note)?;
    append_to(&segment.records())?;
    sync(folder)?;
    let signed = frontier.size();
    Ok(opening::End { segment, frontier: frontier.clone(), signed, last_note: note })
}

fn lock(folder: &Path) -> Result<File, TrailError> {
    let file = folder.join("lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&file);
    let lock = lock.map_err(at(&file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(TrailError::Locked(folder.display().to_string())),
        Err(fs::TryLockError::Error(error)) => Err(at(&file)(error)),
    }
}

fn append_to(file: &Path) -> Result<File, TrailError> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(file).map_err(at(file))
}

/// Appends a checkpoint, whole or not at all.
fn write_note(file: &Path, note: &str) -> Result<(), TrailError> {
    let mut checkpoints = append_to(file)?;
    let before = checkpoints.metadata().map_err(at(file))?.len();
    let written = checkpoints.write_all(note.as_bytes()).and_then(|()| checkpoints.sync_data());
    written.map_err(|error| {
        let _ = checkpoints.set_len(before);
        at(file)(error)
    })
}

/// What was made or removed in the folder is so after a crash.
fn sync(folder: &Path) -> Result<(), TrailError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}
