//! What a spool keeps on disk: blocks of messages, in order, in segments that are deleted as a whole.
//!
//! A library that blocks, for one thread at a time: the actor around it calls it by `spawn_blocking`, and
//! drops it there too. Each segment is a small `SQLite` database; why, and what is written per value, is in
//! `docs/decisions/0008-spool-store.md`. Messages come back at least once: what was released and not yet
//! noted when the machine stopped is read again.

mod block;
mod error;
mod file;
mod folder;
mod ranges;
mod reading;
mod released;
mod segment;
#[cfg(test)]
mod tests;
mod wal;
mod writing;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use bifrost_model::Timestamp;

pub(crate) use error::StoreError;
pub(crate) use ranges::{DeviceRange, Ranges};

use self::{error::Trouble, file::SegmentFile, segment::Segment};
use super::OnFull;
use crate::broker::Outgoing;

/// Ranges that are named when messages are dropped or lost; beyond, only figures are told.
pub(super) const NAMED_RANGES: usize = 1000;
/// Segments that are kept open for reading: the one that is read, and the one whose deliveries are settled.
const READERS: usize = 2;

/// Bounds of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreSettings {
    /// Most bytes on disk.
    pub(crate) max_bytes: u64,
    /// A segment is closed at about this size.
    pub(crate) segment_bytes: u64,
    /// What happens at `max_bytes`.
    pub(crate) on_full: OnFull,
}

/// The store of one spool.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    settings: StoreSettings,
    /// Oldest first. The last one stays until there is a newer one: its name says where ids go on.
    segments: Vec<Segment>,
    /// The last segment, when it can be appended to.
    head: Option<SegmentFile>,
    /// Others that are open, by their first block; the one used last comes first.
    readers: Vec<(u64, SegmentFile)>,
    /// The next block's id.
    next: u64,
    /// What wasn't told yet.
    dropped: Vec<Dropped>,
    aside: Vec<SetAside>,
    written_bytes: u64,
    written_values: u64,
    _lock: File,
}

/// A block that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Its id.
    pub(crate) block: u64,
    /// What it takes in its segment.
    pub(crate) bytes: u64,
    /// What was dropped to make room.
    pub(crate) dropped: Vec<Dropped>,
    /// What was found damaged meanwhile.
    pub(crate) set_aside: Vec<SetAside>,
}

/// Messages that are no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// How many.
    pub(crate) messages: u64,
    /// How many values they held.
    pub(crate) values: u64,
    /// Of which scans, merged per device.
    pub(crate) device_ranges: Vec<DeviceRange>,
    /// Whether there are more ranges, or some that can't be read.
    pub(crate) truncated: bool,
}

/// A segment in which something is damaged. What can be read of it is still read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetAside {
    /// Where it is kept, as soon as nothing more is to be read of it.
    pub(crate) file: PathBuf,
    /// What is wrong.
    pub(crate) reason: String,
    /// What is lost, as far as the segment still says so.
    pub(crate) lost: Dropped,
}

/// A block as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredBlock {
    /// Its id.
    pub(crate) id: u64,
    /// Its messages, in order.
    pub(crate) messages: Vec<Outgoing>,
}

/// The answer to a read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadBlock {
    /// What was found damaged meanwhile.
    pub(crate) set_aside: Vec<SetAside>,
    /// The block; nothing at the end.
    pub(crate) block: Option<StoredBlock>,
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreStats {
    /// Blocks that aren't released.
    pub(crate) blocks: u64,
    /// Their messages.
    pub(crate) messages: u64,
    /// Their values.
    pub(crate) values: u64,
    /// Bytes on disk, logs included and what is set aside left out.
    pub(crate) bytes: u64,
    /// When the oldest of them was made, by the first block of each segment.
    pub(crate) oldest: Option<Timestamp>,
    /// Bytes of blocks that were appended since the store was opened.
    pub(crate) written_bytes: u64,
    /// Values in them.
    pub(crate) written_values: u64,
}

/// Which scans aren't released.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Merged per device.
    pub(crate) ranges: Vec<DeviceRange>,
    /// Whether there are more.
    pub(crate) truncated: bool,
}

impl Store {
    /// Opens or makes the folder. Segments that can't be used are renamed to `….damaged-N` and told; blocks
    /// that can't be read are told too.
    pub(crate) fn open(folder: &Path, settings: StoreSettings) -> Result<(Self, Vec<SetAside>), StoreError> {
        let lock = folder::lock(folder)?;
        error::probe(folder).or_else(|error| if error.may_pass() { Ok(()) } else { Err(error) })?;
        let found = folder::list(folder)?;
        let mut this = Self {
            folder: folder.to_owned(),
            settings,
            segments: Vec::new(),
            head: None,
            readers: Vec::new(),
            next: found.floor.max(1),
            dropped: Vec::new(),
            aside: Vec::new(),
            written_bytes: 0,
            written_values: 0,
            _lock: lock,
        };
        for (first, path) in found.segments {
            this.load(first, &path)?;
        }
        this.sweep();
        let aside = std::mem::take(&mut this.aside);
        Ok((this, aside))
    }

    /// Takes up one segment; the one that was appended to last may go on being so.
    fn load(&mut self, first: u64, path: &Path) -> Result<(), StoreError> {
        self.head = None;
        let lost = self.check_log(first, path);
        let loaded = SegmentFile::open(path).and_then(|file| {
            let (segment, bad) = Segment::load(path, first, &file)?;
            Ok((file, segment, bad))
        });
        match loaded {
            Ok((file, segment, bad)) => self.take(file, segment, bad, lost),
            Err(Trouble::Failed(error)) => return Err(error),
            Err(Trouble::Damaged(reason)) => self.refuse(first, path, reason)?,
        }
        Ok(())
    }

    fn take(&mut self, file: SegmentFile, segment: Segment, bad: Vec<(u64, String)>, lost: bool) {
        self.next = self.next.max(segment.next);
        if lost || !bad.is_empty() {
            self.next = self.next.max(folder::beyond(segment.first));
        }
        let goes_on = !segment.sealed && segment.aside.is_none() && self.next == segment.next;
        self.segments.push(segment);
        for (id, reason) in bad {
            self.lose(self.segments.len() - 1, id, &reason, None);
        }
        self.head = goes_on.then_some(file);
    }

    /// Renames a segment that can't be used at all.
    fn refuse(&mut self, first: u64, path: &Path, reason: String) -> Result<(), StoreError> {
        let file = folder::aside(path);
        folder::set_aside(path, &file).map_err(|error| StoreError::of(&self.folder, path, &error))?;
        self.next = self.next.max(folder::beyond(first));
        let lost = Dropped { truncated: true, ..Dropped::default() };
        self.aside.push(SetAside { file, reason, lost });
        Ok(())
    }

    /// Keeps a copy of a log in which commits lie behind damage, since `SQLite` forgets them; answers whether
    /// it is so.
    fn check_log(&mut self, first: u64, path: &Path) -> bool {
        let log = folder::log(path);
        let bytes = std::fs::read(&log).unwrap_or_default();
        if !wal::is_damaged(&bytes) {
            return false;
        }
        let file = folder::log(&folder::aside(path));
        let mut reason = "blocks in its log lie behind a part that can't be read".to_owned();
        // What can be read matters more than the copy.
        if let Err(error) = std::fs::write(&file, &bytes) {
            let _ = std::fs::remove_file(&file);
            reason = format!("{reason}, and no copy could be kept: {error}");
        }
        self.next = self.next.max(folder::beyond(first));
        self.aside.push(SetAside { file, reason, lost: Dropped { truncated: true, ..Dropped::default() } });
        true
    }

    /// The open file of a segment.
    fn file(&mut self, index: usize) -> Result<&mut SegmentFile, Trouble> {
        let segment = &self.segments[index];
        if index + 1 == self.segments.len()
            && let Some(head) = self.head.as_mut()
        {
            return Ok(head);
        }
        match self.readers.iter().position(|(first, _)| *first == segment.first) {
            Some(at) => self.readers[..=at].rotate_right(1),
            None => self.readers.insert(0, (segment.first, SegmentFile::open(&segment.path)?)),
        }
        self.readers.truncate(READERS);
        Ok(&mut self.readers[0].1)
    }

    /// Removes what is released as a whole, but for the last segment. What can't be removed now is later.
    fn sweep(&mut self) {
        let keep = self.segments.last().map(|segment| segment.first);
        let readers = &mut self.readers;
        self.segments.retain(|segment| {
            if segment.kept() > 0 || Some(segment.first) == keep {
                return true;
            }
            readers.retain(|(first, _)| *first != segment.first);
            segment.retire().is_err()
        });
    }

    /// A block is lost. Told once per segment until it is asked for, with all that was lost by then.
    fn lose(&mut self, index: usize, id: u64, reason: &str, held: Option<&block::Index>) {
        self.spoil(index, reason);
        let segment = &mut self.segments[index];
        let (messages, values) = (segment.messages, segment.values);
        segment.settle(id, held.map(|held| (held.messages, held.values)));
        let gone = (messages - segment.messages, values - segment.values);
        let Some(name) = segment.aside.clone() else { return };
        let at = self.aside.iter().position(|told| told.file == name).unwrap_or_else(|| {
            self.aside.push(SetAside { file: name, reason: reason.to_owned(), lost: Dropped::default() });
            self.aside.len() - 1
        });
        self.aside[at].lost.add(gone, held);
    }

    /// Something in a segment is damaged: nothing more is appended to it, and it isn't removed.
    fn spoil(&mut self, index: usize, reason: &str) {
        if index + 1 == self.segments.len() {
            self.head = None;
        }
        if let Some(file) = self.segments[index].spoil() {
            let (file, reason) = (file.to_owned(), reason.to_owned());
            self.aside.push(SetAside { file, reason, lost: Dropped::default() });
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

impl Dropped {
    /// One more block, of so many messages and values; `None`: its index can't be read.
    fn add(&mut self, (messages, values): (u64, u64), held: Option<&block::Index>) {
        let mut ranges = Ranges::new(NAMED_RANGES);
        let known = held.and_then(|held| held.add_ranges(&mut ranges)).is_some();
        let truncated = !known || ranges.truncated();
        self.merge(Self { messages, values, device_ranges: ranges.into_list(), truncated });
    }

    /// These too.
    pub(super) fn merge(&mut self, other: Self) {
        let mut ranges = Ranges::new(NAMED_RANGES);
        let all = self.device_ranges.drain(..).chain(other.device_ranges);
        all.for_each(|(device, from, to)| ranges.add(&device, from, to));
        self.messages += other.messages;
        self.values += other.values;
        self.truncated |= other.truncated || ranges.truncated();
        self.device_ranges = ranges.into_list();
    }
}

/// Notes what is released, as far as that is possible.
impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.note();
    }
}
