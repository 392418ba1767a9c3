//! Appending, and making room for it.

use std::sync::Arc;

use bifrost_model::Timestamp;

use super::{
    Appended, Dropped, NAMED_RANGES, Store, StoreError,
    block::{Block, Index},
    error::Trouble,
    file::SegmentFile,
    folder,
    ranges::Ranges,
    segment::Segment,
};
use crate::{broker::Outgoing, spool::OnFull};

/// What a commit takes beyond the block itself, at most: pages that are partly filled, and a new segment.
const OVERHEAD: u64 = 8 << 10;

impl Store {
    /// One durable commit: the block is on disk when this returns. Ids grow and never repeat.
    pub(crate) fn append(&mut self, messages: &[Arc<Outgoing>]) -> Result<Appended, StoreError> {
        let block = Block::new(messages).map_err(|reason| self.io(reason))?;
        self.make_room(block.bytes())?;
        let id = match self.write(&block) {
            Err(Trouble::Damaged(reason)) => {
                self.spoil(self.segments.len().saturating_sub(1), &reason);
                self.write(&block)
            }
            other => other,
        };
        let id = id.map_err(|trouble| self.failed(trouble))?;
        self.written_bytes += block.bytes();
        self.written_values += block.index.values;
        let (dropped, set_aside) = (std::mem::take(&mut self.dropped), std::mem::take(&mut self.aside));
        Ok(Appended { block: id, bytes: block.bytes(), dropped, set_aside })
    }

    fn write(&mut self, block: &Block) -> Result<u64, Trouble> {
        let full = |segment: &Segment| segment.bytes >= self.settings.segment_bytes;
        if self.head.is_none() || self.segments.last().is_none_or(full) {
            self.roll()?;
        }
        let (Some(head), Some(segment)) = (self.head.as_mut(), self.segments.last_mut()) else {
            return Err(self.io("there is no segment to append to".to_owned()).into());
        };
        let state = segment.dirty.then(|| segment.state());
        let id = self.next;
        let written = head.insert(id, block, state.as_ref());
        segment.bytes = folder::bytes(&segment.path);
        match written {
            Ok(()) => {
                segment.appended(&block.index);
                segment.dirty = false;
                self.next += 1;
            }
            // Certainly not written.
            Err(Trouble::Failed(StoreError::DiskFull { .. })) => {}
            // Perhaps written after all: neither the segment nor the id is used again.
            Err(_) => {
                self.head = None;
                self.next += 1;
            }
        }
        written.map(|()| id)
    }

    /// Closes the current segment and begins the next.
    fn roll(&mut self) -> Result<(), Trouble> {
        if let (Some(head), Some(segment)) = (self.head.as_mut(), self.segments.last_mut()) {
            segment.sealed = true;
            match head.note(&segment.state()) {
                Ok(()) => segment.dirty = false,
                Err(Trouble::Damaged(reason)) => {
                    segment.sealed = false;
                    self.spoil(self.segments.len() - 1, &reason);
                }
                Err(trouble @ Trouble::Failed(_)) => {
                    segment.sealed = false;
                    return Err(trouble);
                }
            }
        }
        self.close_head();
        let path = folder::path(&self.folder, self.next);
        self.head = Some(SegmentFile::create(&path)?);
        self.segments.push(Segment::new(&path, self.next));
        self.sweep();
        Ok(())
    }

    fn close_head(&mut self) {
        let (Some(head), Some(segment)) = (self.head.take(), self.segments.last_mut()) else { return };
        head.write_back();
        drop(head);
        segment.bytes = folder::bytes(&segment.path);
    }

    /// Sees to it that a block of so many bytes fits below the bound.
    fn make_room(&mut self, bytes: u64) -> Result<(), StoreError> {
        let need = bytes + bytes / 16 + OVERHEAD;
        while self.bytes() + need > self.settings.max_bytes {
            let made = need <= self.settings.max_bytes
                && (self.recycle()? || self.settings.on_full == OnFull::DropOldest && self.drop_oldest()?);
            if !made {
                let folder = self.folder.clone();
                return Err(StoreError::Full { folder, max_bytes: self.settings.max_bytes });
            }
        }
        Ok(())
    }

    /// Begins a new segment when nothing in the current one is needed any more.
    fn recycle(&mut self) -> Result<bool, StoreError> {
        let used = self.segments.last().is_some_and(|segment| segment.kept() == 0 && segment.blocks() > 0);
        if used {
            self.roll().map_err(|trouble| self.failed(trouble))?;
        }
        Ok(used)
    }

    /// Drops the oldest segment; the current one only after a new one is begun.
    fn drop_oldest(&mut self) -> Result<bool, StoreError> {
        let Some(oldest) = self.segments.first() else { return Ok(false) };
        if self.segments.len() > 1 {
            let ids = oldest.kept_ids();
            self.give_up(0, &ids)?;
            let before = self.segments.len();
            self.sweep();
            return Ok(self.segments.len() < before);
        }
        let used = oldest.blocks() > 0;
        if used {
            self.roll().map_err(|trouble| self.failed(trouble))?;
        }
        Ok(used)
    }

    /// Drops these blocks of a segment, to be told.
    fn give_up(&mut self, index: usize, ids: &[u64]) -> Result<(), StoreError> {
        let segment = &self.segments[index];
        let (messages, values) = (segment.messages, segment.values);
        let mut ranges = Ranges::new(NAMED_RANGES);
        let mut unknown = false;
        let mut held = Vec::with_capacity(ids.len());
        self.look(index, ids, |id, known| {
            unknown |= known.is_none_or(|known| known.add_ranges(&mut ranges).is_none());
            held.push((id, known.map(|known| (known.messages, known.values))));
            true
        })?;
        let segment = &mut self.segments[index];
        for (id, held) in held {
            segment.settle(id, held);
        }
        self.refresh(index)?;
        let segment = &self.segments[index];
        let truncated = unknown || ranges.truncated();
        self.dropped.push(Dropped {
            messages: messages - segment.messages,
            values: values - segment.values,
            device_ranges: ranges.into_list(),
            truncated,
        });
        Ok(())
    }

    /// Drops blocks whose newest message is older, up to the first of each segment that isn't.
    pub(crate) fn expire(&mut self, before: Timestamp) -> Result<Vec<Dropped>, StoreError> {
        for index in 0..self.segments.len() {
            let segment = &self.segments[index];
            if segment.kept() == 0 || segment.oldest >= before {
                continue;
            }
            let (kept, newest) = (segment.kept_ids(), segment.newest);
            let mut old = 0;
            self.look(index, &kept, |_, known: Option<&Index>| {
                let is_old = known.map_or(newest, |known| known.newest) < before;
                old += usize::from(is_old);
                is_old
            })?;
            if old > 0 {
                self.give_up(index, &kept[..old])?;
            }
        }
        self.sweep();
        Ok(std::mem::take(&mut self.dropped))
    }

    pub(super) fn failed(&self, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Failed(error) => error,
            Trouble::Damaged(reason) => self.io(reason),
        }
    }

    fn io(&self, reason: String) -> StoreError {
        StoreError::Io { path: self.folder.clone(), reason }
    }
}
