//! What is kept in memory of one segment: figures, and a bit per block.

use std::path::{Path, PathBuf};

use bifrost_model::Timestamp;

use super::{
    block::Index,
    error::Trouble,
    file::{SegmentFile, State},
    folder,
    released::Released,
};

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Its first block's id.
    pub(super) first: u64,
    /// The id behind its last block.
    pub(super) next: u64,
    released: Released,
    /// Of what isn't released.
    pub(super) messages: u64,
    pub(super) values: u64,
    /// Of the first block that isn't released.
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    /// On disk.
    pub(super) bytes: u64,
    pub(super) sealed: bool,
    /// The name that it gets instead of being removed, since something in it is damaged.
    pub(super) aside: Option<PathBuf>,
    /// Releases that aren't noted on disk.
    pub(super) dirty: bool,
}

impl Segment {
    /// One without blocks.
    pub(super) fn new(path: &Path, first: u64) -> Self {
        let (oldest, newest) = (Timestamp::from_micros(i64::MAX), Timestamp::from_micros(i64::MIN));
        Self {
            path: path.to_owned(),
            first,
            next: first,
            released: Released::default(),
            messages: 0,
            values: 0,
            oldest,
            newest,
            bytes: folder::bytes(path),
            sealed: false,
            aside: None,
            dirty: false,
        }
    }

    /// What the file says. Blocks that are damaged are told, each with the reason; they aren't kept.
    pub(super) fn load(
        path: &Path,
        first: u64,
        file: &SegmentFile,
    ) -> Result<(Self, Vec<(u64, String)>), Trouble> {
        let mut this = Self::new(path, first);
        let state = file.state()?;
        if let Some(state) = state.as_ref().filter(|state| state.sealed) {
            this.take(state);
            return Ok((this, Vec::new()));
        }
        let mut bad = this.find_end(file)?;
        if let Some(state) = &state {
            this.released = Released::read(&state.released, this.blocks());
            this.aside = state.damaged.then(|| folder::aside(path));
        }
        this.count(file, &mut bad)?;
        Ok((this, bad))
    }

    /// The last block is the last one whose index is whole: a damaged id can be any number.
    fn find_end(&mut self, file: &SegmentFile) -> Result<Vec<(u64, String)>, Trouble> {
        let (last, mut bad) = (file.last()?, Vec::new());
        file.indexes(&last, |id, index| {
            match index {
                Ok(_) => self.next = id + 1,
                Err(reason) => bad.push((id, reason)),
            }
            self.next == self.first
        })?;
        if self.next <= self.first && !last.is_empty() {
            return Err(Trouble::Damaged("none of its last blocks can be found".to_owned()));
        }
        Ok(bad)
    }

    fn take(&mut self, state: &State) {
        self.next = state.next.max(self.first);
        self.released = Released::read(&state.released, self.blocks());
        self.sealed = true;
        self.aside = state.damaged.then(|| folder::aside(&self.path));
        (self.messages, self.values) = (state.messages, state.values);
        self.oldest = Timestamp::from_micros(state.oldest);
        self.newest = Timestamp::from_micros(state.newest);
    }

    /// Counts what the blocks hold.
    fn count(&mut self, file: &SegmentFile, bad: &mut Vec<(u64, String)>) -> Result<(), Trouble> {
        let kept = self.kept_ids();
        file.indexes(&kept, |id, index| {
            match index {
                Ok(index) => self.add(&index, kept.first() == Some(&id)),
                Err(reason) => bad.push((id, reason)),
            }
            true
        })
    }

    fn add(&mut self, index: &Index, first: bool) {
        self.messages += index.messages;
        self.values += index.values;
        if first {
            self.oldest = index.oldest;
        }
        self.newest = self.newest.max(index.newest);
    }

    /// A block was appended.
    pub(super) fn appended(&mut self, index: &Index) {
        self.add(index, self.kept() == 0);
        self.next += 1;
    }

    /// How many blocks it has ever held.
    pub(super) fn blocks(&self) -> u64 {
        self.next - self.first
    }

    /// How many of them aren't released.
    pub(super) fn kept(&self) -> u64 {
        self.blocks() - self.released.count()
    }

    /// Whether this block is here and not released.
    pub(super) fn keeps(&self, id: u64) -> bool {
        (self.first..self.next).contains(&id) && !self.released.has(id - self.first)
    }

    /// The first block from this one on that isn't released.
    pub(super) fn kept_from(&self, id: u64) -> Option<u64> {
        let place = self.released.first_kept(id.saturating_sub(self.first), self.blocks())?;
        Some(self.first + place)
    }

    /// All blocks that aren't released.
    pub(super) fn kept_ids(&self) -> Vec<u64> {
        std::iter::successors(self.kept_from(self.first), |id| self.kept_from(id + 1)).collect()
    }

    /// A block is settled, or lost; what it held, as far as that is known, no longer counts.
    pub(super) fn settle(&mut self, id: u64, held: Option<(u64, u64)>) {
        if !self.keeps(id) || !self.released.set(id - self.first) {
            return;
        }
        let (messages, values) = held.unwrap_or_default();
        self.messages = self.messages.saturating_sub(messages);
        self.values = self.values.saturating_sub(values);
        self.dirty = true;
        if self.kept() == 0 {
            (self.messages, self.values) = (0, 0);
        }
    }

    /// Something in it is damaged: answers its later name when that is new.
    pub(super) fn spoil(&mut self) -> Option<&Path> {
        if self.aside.is_some() {
            return None;
        }
        self.dirty = true;
        self.aside = Some(folder::aside(&self.path));
        self.aside.as_deref()
    }

    /// What is noted of it on disk.
    pub(super) fn state(&self) -> State {
        State {
            sealed: self.sealed,
            damaged: self.aside.is_some(),
            released: self.released.written(),
            next: self.next,
            messages: self.messages,
            values: self.values,
            oldest: self.oldest.as_micros(),
            newest: self.newest.as_micros(),
        }
    }

    /// Its file is no longer needed: removed, or given its later name when something in it is damaged.
    pub(super) fn retire(&self) -> std::io::Result<()> {
        match &self.aside {
            Some(aside) => folder::set_aside(&self.path, aside),
            None => folder::remove(&self.path),
        }
    }
}
