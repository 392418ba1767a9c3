//! From memory to disk: what is written when, and what is released.
//!
//! One write and one read are under way at a time. What waits for a write meanwhile goes into the next
//! (group commit).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bifrost_model::Severity;
use tokio::time::Instant;

use super::{
    actor::Spool,
    disk::Disk,
    settings::OnFull,
    store::{Appended, Pending, StoreError, StoreStats},
};
use crate::broker::{Outgoing, Ticket};

/// Payload that goes to disk in one commit, about.
pub(super) const CHUNK: usize = 256 << 10;
/// Messages that do, at most.
pub(super) const CHUNK_MESSAGES: usize = 1024;
/// Pause after the disk didn't take something.
const RETRY: Duration = Duration::from_secs(2);
/// How long it may take until releases are noted; a crash repeats what was delivered since.
const NOTE: Duration = Duration::from_secs(5);
/// Ranges of numbers that a report shows.
const RANGES: usize = 1000;

/// What a spool knows of its disk.
#[expect(clippy::struct_excessive_bools, reason = "four independent facts")]
pub(super) struct DiskState {
    pub(super) disk: Disk,
    /// For the disk before they are sent.
    waiting: VecDeque<Arc<Outgoing>>,
    waiting_bytes: usize,
    /// Being written.
    in_transit: Vec<Arc<Outgoing>>,
    pub(super) writing: bool,
    pub(super) reading: bool,
    /// Blocks that aren't needed any more; the store isn't told yet …
    pub(super) released: Vec<u64>,
    /// … or is being told.
    telling: Vec<u64>,
    noted_at: Instant,
    /// Blocks up to this one are in hand or released …
    pub(super) cursor: u64,
    /// … and there may be others behind it.
    pub(super) behind: bool,
    /// Counts writes that went to disk alone, and rewinds.
    pub(super) epoch: u64,
    retry_at: Option<Instant>,
    /// What is out isn't tried to be written before.
    secure_at: Option<Instant>,
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
    pub(super) fn waits(&mut self, message: Arc<Outgoing>) {
        self.waiting_bytes += message.size();
        self.waiting.push_back(message);
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
        self.in_transit.iter().chain(&self.waiting)
    }

    /// Whether the disk has just failed, and isn't tried at the moment.
    pub(super) fn refuses(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// The same, taken out.
    pub(super) fn take_waiting(&mut self) -> Vec<Arc<Outgoing>> {
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
    fn tell_released(&mut self) -> Vec<u64> {
        self.telling = std::mem::take(&mut self.released);
        self.telling.clone()
    }

    /// The store knows, or has to be told again.
    fn told(&mut self, knows: bool) {
        if !knows {
            self.released.append(&mut self.telling);
        }
        self.telling.clear();
    }

    pub(super) fn is_released(&self, block: u64) -> bool {
        self.released.contains(&block) || self.telling.contains(&block)
    }

    fn next_chunk(&mut self) -> Vec<Arc<Outgoing>> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while bytes < CHUNK
            && chunk.len() < CHUNK_MESSAGES
            && let Some(message) = self.waiting.pop_front()
        {
            self.waiting_bytes -= message.size();
            bytes += message.payload.len();
            chunk.push(message);
        }
        chunk
    }

    /// Asks which numbers aren't released.
    pub(super) fn pending(&self) -> impl Future<Output = Result<Pending, StoreError>> + 'static {
        self.disk.run(|store| store.pending(RANGES))
    }
}

impl Spool {
    /// Hands on what may go, and sets to work what can be done beside.
    pub(super) fn pump(&mut self, ctx: &mut Context<Self>) {
        self.write(ctx);
        let now = Instant::now();
        self.passes_disk(now);
        if self.hold_until.is_some_and(|until| now < until) || self.disk.parting {
            return;
        }
        let Some(carrier) = &self.carrier else { return };
        let (window, to) = (carrier.window, carrier.to.clone());
        let mut batch = self.outbox.next(window, self.budget.fill(now));
        if batch.is_empty()
            && self.outbox.out_len() < 4
            && self.outbox.live_len() == 0
            && let Some(description) = self.next_description()
        {
            self.outbox.push(Arc::new(description), None);
            batch = self.outbox.next(window, &mut 0);
        }
        if !batch.is_empty() && to.try_send(crate::broker::Deliver(batch)).is_err() {
            self.lose_carrier();
            return;
        }
        self.read(ctx);
        self.pump_again(ctx);
    }

    /// What waits for its rate is looked at again soon.
    fn pump_again(&mut self, ctx: &mut Context<Self>) {
        if self.outbox.replay_len() > 0 && !self.pumping {
            self.pumping = true;
            ctx.run_later(Duration::from_millis(5), |actor, ctx| {
                actor.pumping = false;
                actor.pump(ctx);
            });
        }
    }

    /// Writes what waits, if nothing is being written.
    pub(super) fn write(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if self.disk.writing || self.disk.parting || self.disk.refuses(now) {
            return;
        }
        if self.secure(now, ctx) {
            return;
        }
        let first = !self.disk.waiting.is_empty();
        let chunk = if first {
            self.disk.next_chunk()
        } else if self.should_spill(now) {
            self.outbox.spill(CHUNK, CHUNK_MESSAGES)
        } else {
            return;
        };
        if chunk.is_empty() {
            return;
        }
        self.disk.writing = true;
        self.disk.in_transit.clone_from(&chunk);
        let released = self.disk.tell_released();
        let writing = self.disk.disk.run(move |store| {
            store.release(&released)?;
            let appended = store.append(&chunk);
            Ok((appended, store.stats()))
        });
        ctx.spawn(writing.into_actor(self).map(move |outcome, actor, ctx| {
            actor.disk.writing = false;
            actor.disk.told(outcome.is_ok());
            let chunk = std::mem::take(&mut actor.disk.in_transit);
            let appended = outcome.and_then(|(appended, stats)| {
                actor.disk.stats = stats;
                appended
            });
            match appended {
                Ok(appended) => actor.on_written(chunk, first, &appended),
                Err(error) => actor.on_not_written(chunk, first, &error),
            }
            actor.go_on(ctx);
        }));
    }

    /// After a write: at the end, the end comes before another.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.bound_memory(now);
        if self.leaving.is_some() {
            self.finish(now, ctx);
        }
        self.pump(ctx);
    }

    /// What is out and not acknowledged for too long is written as well, ahead of what came after it: nobody
    /// knows whether it arrives.
    fn secure(&mut self, now: Instant, ctx: &mut Context<Self>) -> bool {
        let due = self.flow.is_stalled(now) && self.disk.secure_at.is_none_or(|at| now >= at);
        let out = if due { self.outbox.to_secure(CHUNK, CHUNK_MESSAGES) } else { Vec::new() };
        if out.is_empty() {
            return false;
        }
        self.disk.writing = true;
        let released = self.disk.tell_released();
        let (tickets, messages): (Vec<_>, Vec<_>) = out.into_iter().unzip();
        let writing = self.disk.disk.run(move |store| {
            store.release(&released)?;
            let appended = store.append(&messages);
            Ok((appended, store.stats()))
        });
        ctx.spawn(writing.into_actor(self).map(move |outcome, actor, ctx| {
            actor.disk.writing = false;
            actor.disk.told(outcome.is_ok());
            let appended = outcome.and_then(|(appended, stats)| {
                actor.disk.stats = stats;
                appended
            });
            match appended {
                Ok(appended) => actor.on_secured(&tickets, &appended),
                Err(error) => actor.on_not_secured(&error),
            }
            actor.go_on(ctx);
        }));
        true
    }

    fn on_secured(&mut self, tickets: &[Ticket], appended: &Appended) {
        self.on_appended(appended);
        let let_go = self.carrier.is_none();
        self.disk.released.extend(self.outbox.secured(appended.block, tickets, let_go));
        if let_go {
            self.disk.rewind();
        } else if !self.disk.behind {
            self.disk.cursor = appended.block;
        }
    }

    /// It is still out, and in memory.
    fn on_not_secured(&mut self, error: &StoreError) {
        self.disk.secure_at = Some(Instant::now() + RETRY);
        if !matches!(error, StoreError::Full { .. }) {
            self.disk_fails(&error.to_string());
        }
    }

    /// Whether messages go out without the disk, because it fails while the broker takes them. Those that
    /// came before go first.
    pub(super) fn passes_disk(&mut self, now: Instant) -> bool {
        let passes = self.carrier.is_some() && self.disk.refuses(now) && !self.disk.writing;
        if passes {
            for message in self.disk.take_waiting() {
                self.outbox.push(message, None);
            }
        }
        passes
    }

    /// Memory alone no longer does: acknowledgements stall, or too much waits.
    fn should_spill(&self, now: Instant) -> bool {
        let most = usize::try_from(self.parts.settings.max_memory.0 / 2).unwrap_or(usize::MAX);
        self.outbox.live_bytes() > most || (self.outbox.live_len() > 0 && self.flow.is_stalled(now))
    }

    fn on_appended(&mut self, appended: &Appended) {
        self.disk_works();
        self.tell_set_aside(&appended.set_aside);
        let full = "the spool is full (messaging.spool.max_bytes), the oldest make room";
        for dropped in &appended.dropped {
            self.losses.count(dropped.clone(), full, Instant::now());
        }
    }

    /// What was to be on disk first goes out now, unless others are to go before it; the rest waits there.
    fn on_written(&mut self, chunk: Vec<Arc<Outgoing>>, first: bool, appended: &Appended) {
        self.on_appended(appended);
        let most = usize::try_from(self.parts.settings.max_memory.0 / 2).unwrap_or(usize::MAX);
        if !first || self.carrier.is_none() || self.outbox.live_bytes() > most {
            self.disk.behind = true;
            self.disk.epoch += 1;
            return;
        }
        if !self.disk.behind {
            self.disk.cursor = appended.block;
        }
        self.outbox.begin_block(appended.block, chunk.len());
        for (index, message) in (0..).zip(chunk) {
            let place = super::outbox::Place { block: appended.block, index };
            self.outbox.push(message, Some(place));
        }
    }

    /// What the disk doesn't take goes out without it if it can, and waits in memory if not.
    fn on_not_written(&mut self, chunk: Vec<Arc<Outgoing>>, first: bool, error: &StoreError) {
        if matches!(error, StoreError::Full { .. }) {
            if first && self.carrier.is_some() {
                for message in chunk {
                    self.outbox.push(message, None);
                }
            } else {
                let reason = "the spool is full (messaging.spool.max_bytes) and refuses what is new";
                self.losses.count_messages(&chunk, reason, Instant::now());
            }
            return;
        }
        self.disk_fails(&error.to_string());
        if first {
            for message in chunk {
                self.outbox.push(message, None);
            }
        } else {
            self.outbox.unspill(chunk);
        }
    }

    pub(super) fn disk_fails(&mut self, error: &str) {
        self.disk.retry_at = Some(Instant::now() + RETRY);
        if self.disk.error.replace(error.to_owned()).is_none() {
            let message = format!(
                "the spool for {} can't be written: {error}; until it can, at most max_memory is kept, in memory alone",
                self.parts.session
            );
            let alarm = self.disk_alarm();
            self.parts.events.raise(&alarm, "spool_disk", Severity::Critical, "", &message);
        }
    }

    fn disk_works(&mut self) {
        self.disk.retry_at = None;
        if self.disk.error.take().is_some() {
            let message = format!("the spool for {} can be written again", self.parts.session);
            let alarm = self.disk_alarm();
            self.parts.events.clear(&alarm, "spool_disk", "", &message);
        }
    }

    fn disk_alarm(&self) -> String {
        format!("spool_disk/{}", self.parts.session)
    }

    /// Lets the store know what isn't needed any more.
    pub(super) fn release(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let note = now.duration_since(self.disk.noted_at) >= NOTE;
        if self.disk.writing || self.disk.parting || self.disk.released.is_empty() {
            return;
        }
        if note {
            self.disk.noted_at = now;
        }
        self.disk.writing = true;
        let released = self.disk.tell_released();
        let releasing = self.disk.disk.run(move |store| {
            store.release(&released)?;
            if note {
                store.note()?;
            }
            Ok(store.stats())
        });
        ctx.spawn(releasing.into_actor(self).map(|outcome, actor, ctx| {
            actor.disk.writing = false;
            actor.disk.told(outcome.is_ok());
            match outcome {
                Ok(stats) => actor.disk.stats = stats,
                Err(error) => actor.disk_fails(&error.to_string()),
            }
            actor.write(ctx);
        }));
    }

    /// Drops what is older than it may be.
    pub(super) fn expire(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let before = self.age.limit(now);
        let expiring = self.disk.disk.run(move |store| {
            let dropped = store.expire(before)?;
            Ok((dropped, store.stats()))
        });
        ctx.spawn(expiring.into_actor(self).map(|outcome, actor, _| match outcome {
            Ok((dropped, stats)) => {
                actor.disk.stats = stats;
                let reason = "they are older than messaging.spool.max_age";
                for dropped in dropped {
                    actor.losses.count(dropped, reason, Instant::now());
                }
            }
            Err(error) => actor.disk_fails(&error.to_string()),
        }));
    }

    /// Memory is bounded, whatever the disk does.
    pub(super) fn bound_memory(&mut self, now: Instant) {
        let most = usize::try_from(self.parts.settings.max_memory.0).unwrap_or(usize::MAX);
        if self.outbox.live_bytes() + self.disk.waiting_bytes <= most {
            return;
        }
        let oldest = self.parts.settings.on_full == OnFull::DropOldest;
        // What need not be on disk at once matters less.
        let mut dropped = self.outbox.shed(most.saturating_sub(self.disk.waiting_bytes), oldest);
        while self.disk.waiting_bytes > most {
            let next = if oldest { self.disk.waiting.pop_front() } else { self.disk.waiting.pop_back() };
            let Some(message) = next else { break };
            self.disk.waiting_bytes -= message.size();
            dropped.push(message);
        }
        let reason = match &self.disk.error {
            Some(error) => format!("the disk doesn't take them ({error}) and memory is full"),
            None => "they come faster than the disk takes them, and memory is full".to_owned(),
        };
        self.losses.count_messages(&dropped, &reason, now);
    }
}
