//! From memory to disk: what is written when, and what is released.
//!
//! One write and one read are under way at a time. What waits for a write meanwhile goes into the next
//! (group commit).

use std::{sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bifrost_model::Severity;
use tokio::time::Instant;

use super::{
    actor::Spool,
    outbox::Waiting,
    settings::OnFull,
    store::{Appended, Store, StoreError},
};
use crate::broker::Ticket;

/// Payload that goes to disk in one commit, about.
pub(super) const CHUNK: usize = 256 << 10;
/// Messages that do, at most.
pub(super) const CHUNK_MESSAGES: usize = 1024;
/// Pause after the disk didn't take something.
const RETRY: Duration = Duration::from_secs(2);
/// How long it may take until releases are noted; a crash repeats what was delivered since.
const NOTE: Duration = Duration::from_secs(5);

impl Spool {
    /// Writes what waits, if nothing is being written.
    pub(super) fn write(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if self.disk.writing || self.disk.parting || self.disk.refuses(now) || self.secure(now, ctx) {
            return;
        }
        let chunk = self.next_to_write(now);
        if chunk.is_empty() {
            return;
        }
        let messages: Vec<_> = chunk.iter().map(|waiting| Arc::clone(&waiting.message)).collect();
        self.disk.in_transit = chunk;
        self.at_disk(
            move |store| store.append(&messages),
            |actor, appended, ctx| {
                let chunk = std::mem::take(&mut actor.disk.in_transit);
                match appended {
                    Ok(appended) => actor.on_written(chunk, &appended),
                    Err(error) => actor.on_not_written(chunk, &error),
                }
                actor.go_on(ctx);
            },
            ctx,
        );
    }

    /// What must be on disk; and when what is in memory is bound for it as well, that in one row with it: it is
    /// read again in the order in which it was written.
    fn next_to_write(&mut self, now: Instant) -> Vec<Waiting> {
        let firsts = self.disk.next_chunk();
        let alone = self.should_spill(now) || (self.carrier.is_none() && self.disk.behind);
        if alone && !self.outbox.has_bare() {
            self.let_go();
            return firsts;
        }
        match firsts.last() {
            None if self.should_spill(now) => self.outbox.spill(u64::MAX, CHUNK, CHUNK_MESSAGES),
            Some(last) if alone => {
                let older = self.outbox.spill(last.came, CHUNK, CHUNK_MESSAGES);
                self.in_a_row(older, firsts)
            }
            _ => firsts,
        }
    }

    /// What is on disk waits there alone.
    fn let_go(&mut self) {
        if self.outbox.let_go() {
            self.disk.rewind();
        }
    }

    /// These in the order in which they came; what would overtake others that are still in memory waits.
    fn in_a_row(&mut self, older: Vec<Waiting>, firsts: Vec<Waiting>) -> Vec<Waiting> {
        if older.is_empty() {
            return firsts;
        }
        let most = self.outbox.oldest().unwrap_or(u64::MAX);
        let (mut row, mut firsts) = (older, firsts);
        let early = firsts.partition_point(|waiting| waiting.came < most);
        self.disk.wait_again(firsts.drain(early..));
        row.append(&mut firsts);
        row.sort_by_key(|waiting| waiting.came);
        row
    }

    /// Lets the store do something, after it was told what is released, and hears of it here.
    fn at_disk<T: Send + 'static>(
        &mut self,
        operation: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(&mut Self, Result<T, StoreError>, &mut Context<Self>) + 'static,
        ctx: &mut Context<Self>,
    ) {
        self.disk.writing = true;
        let released = self.disk.tell_released();
        let doing = self.disk.disk.run(move |store| {
            store.release(&released)?;
            let outcome = operation(store);
            Ok((outcome, store.stats()))
        });
        ctx.spawn(doing.into_actor(self).map(move |outcome, actor, ctx| {
            actor.disk.writing = false;
            actor.disk.told(outcome.is_ok());
            let outcome = outcome.and_then(|(outcome, stats)| {
                actor.disk.stats = stats;
                outcome
            });
            then(actor, outcome, ctx);
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
        let wanted = self.flow.is_stalled(now) || self.should_spill(now);
        let due = wanted && self.disk.secure_at.is_none_or(|at| now >= at);
        let out = if due { self.outbox.to_secure(CHUNK, CHUNK_MESSAGES) } else { Vec::new() };
        if out.is_empty() {
            return false;
        }
        let (tickets, messages): (Vec<_>, Vec<_>) = out.into_iter().unzip();
        self.at_disk(
            move |store| store.append(&messages),
            move |actor, appended, ctx| {
                match appended {
                    Ok(appended) => actor.on_secured(&tickets, &appended),
                    Err(error) => actor.on_not_secured(&error),
                }
                actor.go_on(ctx);
            },
            ctx,
        );
        true
    }

    fn on_secured(&mut self, tickets: &[Ticket], appended: &Appended) {
        self.on_appended(appended);
        self.disk.released.extend(self.outbox.secured(appended.block, tickets));
        if !self.disk.behind {
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
            for waiting in self.disk.take_waiting() {
                self.outbox.queue(waiting.came, waiting.answer(Ok(())), None);
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

    /// Whether what is on disk stays in hand: it goes out next, or as soon as somebody carries.
    fn keeps_in_hand(&self, now: Instant) -> bool {
        let most = usize::try_from(self.parts.settings.max_memory.0 / 2).unwrap_or(usize::MAX);
        let soon = self.carrier.is_some() || !self.disk.behind;
        soon && !self.flow.is_stalled(now) && self.outbox.live_bytes() <= most
    }

    /// What was to be on disk first stays in hand, or waits there with the rest.
    fn on_written(&mut self, chunk: Vec<Waiting>, appended: &Appended) {
        self.on_appended(appended);
        let alone = chunk.iter().any(|waiting| !waiting.first) || !self.keeps_in_hand(Instant::now());
        if alone {
            self.disk.behind = true;
            self.disk.epoch += 1;
            self.disk.released.extend(self.outbox.spilled(&chunk));
            for waiting in chunk {
                waiting.answer(Ok(()));
            }
            return;
        }
        if !self.disk.behind {
            self.disk.cursor = appended.block;
        }
        self.outbox.begin_block(appended.block, chunk.len());
        for (index, waiting) in (0..).zip(chunk) {
            let place = super::outbox::Place { block: appended.block, index };
            self.outbox.queue(waiting.came, waiting.answer(Ok(())), Some(place));
        }
    }

    /// What the disk doesn't take goes out without it if it can, and waits where it did if not.
    fn on_not_written(&mut self, chunk: Vec<Waiting>, error: &StoreError) {
        let (firsts, spilled): (Vec<_>, Vec<_>) = chunk.into_iter().partition(|waiting| waiting.first);
        let is_full = matches!(error, StoreError::Full { .. });
        if is_full {
            let (there, spilled) = spilled.into_iter().partition(|waiting| waiting.place.is_some());
            self.outbox.unspill(there);
            self.let_go();
            self.lose(spilled);
        } else {
            self.disk_fails(&error.to_string());
            self.outbox.unspill(spilled);
        }
        if self.carrier.is_some() {
            for waiting in firsts {
                self.outbox.queue(waiting.came, waiting.answer(Ok(())), None);
            }
        } else if is_full {
            self.lose(firsts);
        } else {
            let own = refuse(firsts, &error.to_string());
            self.disk.wait_again(own.into_iter());
        }
    }

    /// There is no room for these.
    fn lose(&mut self, messages: Vec<Waiting>) {
        let reason = "the spool is full (messaging.spool.max_bytes) and refuses what is new";
        let own = refuse(messages, reason);
        let messages: Vec<_> = own.into_iter().map(|waiting| waiting.message).collect();
        self.losses.count_messages(&messages, reason, Instant::now());
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
        let note = now.duration_since(self.disk.noted_at) >= NOTE
            && (self.disk.unnoted || !self.disk.released.is_empty());
        let nothing = self.disk.released.is_empty() && !note;
        if self.disk.writing || self.disk.parting || nothing {
            return;
        }
        if note {
            self.disk.noted_at = now;
        }
        self.at_disk(
            move |store| if note { store.note() } else { Ok(()) },
            move |actor, outcome, ctx| {
                match outcome {
                    Ok(()) => actor.disk.unnoted &= !note,
                    Err(error) => actor.disk_fails(&error.to_string()),
                }
                actor.write(ctx);
            },
            ctx,
        );
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
        self.let_go();
        // What need not be on disk at once matters less.
        let mut dropped = self.outbox.shed(most.saturating_sub(self.disk.waiting_bytes), oldest);
        while self.disk.waiting_bytes > most {
            let next = if oldest { self.disk.waiting.pop_front() } else { self.disk.waiting.pop_back() };
            let Some(waiting) = next else { break };
            self.disk.waiting_bytes -= waiting.message.size();
            let asked = waiting.asked_by.is_some();
            let message = waiting.answer(Err("memory is full".to_owned()));
            if !asked {
                dropped.push(message);
            }
        }
        let reason = match &self.disk.error {
            Some(error) => format!("the disk doesn't take them ({error}) and memory is full"),
            None => "they come faster than the disk takes them, and memory is full".to_owned(),
        };
        self.losses.count_messages(&dropped, &reason, now);
    }
}

/// Whoever asked for some of these hears that they weren't taken, and still has them; answers the others.
fn refuse(messages: Vec<Waiting>, reason: &str) -> Vec<Waiting> {
    let (asked, own): (Vec<_>, Vec<_>) = messages.into_iter().partition(|waiting| waiting.asked_by.is_some());
    for waiting in asked {
        waiting.answer(Err(reason.to_owned()));
    }
    own
}
