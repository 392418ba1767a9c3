//! What a spool knows of its disk: what waits for it, what is on its way, and what isn't needed any more.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use super::{
    disk::Disk,
    outbox::Waiting,
    store::{Pending, StoreError, StoreStats},
    writer::{CHUNK, CHUNK_MESSAGES},
};
use crate::broker::Outgoing;

/// Ranges of numbers that a report shows.
const RANGES: usize = 1000;

/// What a spool knows of its disk.
#[expect(clippy::struct_excessive_bools, reason = "five independent facts")]
pub(super) struct DiskState {
    pub(super) disk: Disk,
    /// For the disk before they are sent.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) waiting_bytes: usize,
    /// Being written.
    pub(super) in_transit: Vec<Waiting>,
    pub(super) writing: bool,
    pub(super) reading: bool,
    /// Blocks that aren't needed any more; the store isn't told yet …
    pub(super) released: Vec<u64>,
    /// … or is being told.
    telling: Vec<u64>,
    pub(super) noted_at: Instant,
    /// Whether the store knows of releases that aren't noted on disk.
    pub(super) unnoted: bool,
    /// Blocks up to this one are in hand or released …
    pub(super) cursor: u64,
    /// … and there may be others behind it.
    pub(super) behind: bool,
    /// Counts writes that went to disk alone, and rewinds.
    pub(super) epoch: u64,
    pub(super) retry_at: Option<Instant>,
    /// What is out isn't tried to be written before.
    pub(super) secure_at: Option<Instant>,
    pub(super) error: Option<String>,
    pub(super) stats: StoreStats,
    pub(super) parting: bool,
}

impl DiskState {
    pub(super) fn new(disk: Disk, stats: StoreStats) -> Self {
        Self {
            disk,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_transit: Vec::new(),
            writing: false,
            reading: false,
            released: Vec::new(),
            telling: Vec::new(),
            noted_at: Instant::now(),
            unnoted: false,
            cursor: 0,
            behind: stats.blocks > 0,
            epoch: 0,
            retry_at: None,
            secure_at: None,
            error: None,
            stats,
            parting: false,
        }
    }

    /// This message waits for the disk.
    pub(super) fn waits(&mut self, waiting: Waiting) {
        self.waiting_bytes += waiting.message.size();
        self.waiting.push_back(waiting);
    }

    /// These wait again, ahead of the rest.
    pub(super) fn wait_again(&mut self, messages: impl DoubleEndedIterator<Item = Waiting>) {
        for waiting in messages.rev() {
            self.waiting_bytes += waiting.message.size();
            self.waiting.push_front(waiting);
        }
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len() + self.in_transit.len()
    }

    /// Whether the disk holds messages that aren't in hand.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether anything is on its way to the disk.
    pub(super) fn is_busy(&self) -> bool {
        self.writing || !self.waiting.is_empty()
    }

    /// What isn't on disk yet, as far as is known.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arc<Outgoing>> {
        self.in_transit.iter().chain(&self.waiting).map(|waiting| &waiting.message)
    }

    /// Whether the disk has just failed, and isn't tried at the moment.
    pub(super) fn refuses(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// The same, taken out.
    pub(super) fn take_waiting(&mut self) -> Vec<Waiting> {
        self.waiting_bytes = 0;
        let mut all = std::mem::take(&mut self.in_transit);
        all.extend(self.waiting.drain(..));
        all
    }

    /// What was in hand was let go: reading begins anew.
    pub(super) fn rewind(&mut self) {
        (self.cursor, self.behind) = (0, true);
        self.epoch += 1;
    }

    /// What the store is told not to give any more.
    pub(super) fn tell_released(&mut self) -> Vec<u64> {
        self.telling = std::mem::take(&mut self.released);
        self.unnoted |= !self.telling.is_empty();
        self.telling.clone()
    }

    /// The store knows, or has to be told again.
    pub(super) fn told(&mut self, knows: bool) {
        if !knows {
            self.released.append(&mut self.telling);
        }
        self.telling.clear();
    }

    pub(super) fn is_released(&self, block: u64) -> bool {
        self.released.contains(&block) || self.telling.contains(&block)
    }

    pub(super) fn next_chunk(&mut self) -> Vec<Waiting> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while bytes < CHUNK
            && chunk.len() < CHUNK_MESSAGES
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.waiting_bytes -= waiting.message.size();
            bytes += waiting.message.payload.len();
            chunk.push(waiting);
        }
        chunk
    }

    /// Asks which numbers aren't released.
    pub(super) fn pending(&self) -> impl Future<Output = Result<Pending, StoreError>> + 'static {
        self.disk.run(|store| store.pending(RANGES))
    }
}
