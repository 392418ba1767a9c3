//! Reading in order, noting what is settled, and telling what is there.

use super::{
    Pending, ReadBlock, Store, StoreError, StoreStats, StoredBlock, block::Index, error::Trouble,
    ranges::Ranges,
};

impl Store {
    /// The first block after this one (0: from the beginning) that isn't released; nothing at the end. Blocks
    /// that can't be read are told and passed over.
    pub(crate) fn read_after(&mut self, block: u64) -> Result<ReadBlock, StoreError> {
        let from = self.segments.partition_point(|segment| segment.next <= block.saturating_add(1));
        let mut read = None;
        for index in from..self.segments.len() {
            read = self.read_in(index, block.saturating_add(1))?;
            if read.is_some() {
                break;
            }
        }
        self.sweep();
        Ok(ReadBlock { set_aside: std::mem::take(&mut self.aside), block: read })
    }

    /// The first block of a segment from this id on.
    fn read_in(&mut self, index: usize, from: u64) -> Result<Option<StoredBlock>, StoreError> {
        let mut id = from;
        while let Some(kept) = self.segments[index].kept_from(id) {
            match self.file(index).and_then(|file| file.messages(kept)) {
                Ok(messages) => return Ok(Some(StoredBlock { id: kept, messages })),
                Err(Trouble::Failed(error)) => return Err(error),
                Err(Trouble::Damaged(reason)) => self.pass_over(index, kept, &reason)?,
            }
            id = kept + 1;
        }
        Ok(None)
    }

    fn pass_over(&mut self, index: usize, id: u64, reason: &str) -> Result<(), StoreError> {
        let mut held = None;
        self.spoil(index, reason);
        self.look(index, &[id], |_, known| {
            held = known.cloned();
            true
        })?;
        self.lose(index, id, reason, held.as_ref());
        self.refresh(index)
    }

    /// What these blocks hold is settled: they are never read again. That is noted on disk with the next
    /// append to their segment, by [`Self::note`], or at the end.
    pub(crate) fn release(&mut self, blocks: &[u64]) -> Result<(), StoreError> {
        let mut ids = blocks.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for index in 0..self.segments.len() {
            let segment = &self.segments[index];
            let of = |id: &u64| (segment.first..segment.next).contains(id) && segment.keeps(*id);
            let ours: Vec<_> = ids.iter().copied().filter(of).collect();
            if !ours.is_empty() {
                self.settle(index, &ours)?;
            }
        }
        self.sweep();
        Ok(())
    }

    fn settle(&mut self, index: usize, ids: &[u64]) -> Result<(), StoreError> {
        let mut held = Vec::with_capacity(ids.len());
        // What a segment held in all needs no figures.
        if ids.len() as u64 == self.segments[index].kept() {
            held.extend(ids.iter().map(|id| (*id, None)));
        } else {
            self.look(index, ids, |id, known| {
                held.push((id, known.map(|known| (known.messages, known.values))));
                true
            })?;
        }
        for (id, held) in held {
            self.segments[index].settle(id, held);
        }
        self.refresh(index)
    }

    /// Notes on disk what is settled, so that it isn't read again after a crash either.
    pub(crate) fn note(&mut self) -> Result<(), StoreError> {
        for index in 0..self.segments.len() {
            if !self.segments[index].dirty {
                continue;
            }
            let state = self.segments[index].state();
            match self.file(index).and_then(|file| file.note(&state)) {
                Err(Trouble::Failed(error)) => return Err(error),
                Err(Trouble::Damaged(reason)) => self.spoil(index, &reason),
                Ok(()) => {}
            }
            let segment = &mut self.segments[index];
            segment.dirty = false;
            segment.bytes = super::folder::bytes(&segment.path);
        }
        Ok(())
    }

    /// How full it is.
    pub(crate) fn stats(&self) -> StoreStats {
        let kept = || self.segments.iter().filter(|segment| segment.kept() > 0);
        StoreStats {
            blocks: kept().map(super::Segment::kept).sum(),
            messages: kept().map(|segment| segment.messages).sum(),
            values: kept().map(|segment| segment.values).sum(),
            bytes: self.bytes(),
            oldest: kept().map(|segment| segment.oldest).min(),
            written_bytes: self.written_bytes,
            written_values: self.written_values,
        }
    }

    /// Which scans aren't released, of each device, and at most so many ranges of them.
    pub(crate) fn pending(&mut self, limit: usize) -> Result<Pending, StoreError> {
        let mut ranges = Ranges::new(limit);
        for index in 0..self.segments.len() {
            let kept = self.segments[index].kept_ids();
            self.look(index, &kept, |_, known| {
                known.and_then(|known| known.add_ranges(&mut ranges));
                !ranges.truncated()
            })?;
            if ranges.truncated() {
                break;
            }
        }
        let truncated = ranges.truncated();
        Ok(Pending { ranges: ranges.into_list(), truncated })
    }

    /// Tells what these blocks of a segment hold, `None` where that can't be read, until told to stop.
    pub(super) fn look(
        &mut self,
        index: usize,
        ids: &[u64],
        mut tell: impl FnMut(u64, Option<&Index>) -> bool,
    ) -> Result<(), StoreError> {
        let (mut told, mut damage) = (0, None);
        let looked = self.file(index).and_then(|file| {
            file.indexes(ids, |id, known| {
                told += 1;
                let goes_on = tell(id, known.as_ref().ok());
                damage = damage.take().or(known.err());
                goes_on
            })
        });
        match looked {
            Err(Trouble::Failed(error)) => return Err(error),
            // Then nothing is known of the others.
            Err(Trouble::Damaged(reason)) => {
                let mut rest = ids[told..].iter();
                while rest.next().is_some_and(|id| tell(*id, None)) {}
                damage = Some(reason);
            }
            Ok(()) => {}
        }
        if let Some(reason) = damage {
            self.spoil(index, &reason);
        }
        Ok(())
    }

    /// Looks up when the first block that is left was made.
    pub(super) fn refresh(&mut self, index: usize) -> Result<(), StoreError> {
        let segment = &self.segments[index];
        let Some(first) = segment.kept_from(segment.first) else { return Ok(()) };
        let mut oldest = segment.oldest;
        self.look(index, &[first], |_, known| {
            oldest = known.map_or(oldest, |known| known.oldest);
            true
        })?;
        self.segments[index].oldest = oldest;
        Ok(())
    }
}
