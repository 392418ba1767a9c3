//! What waits, what is out, and what becomes of it: the rules of store and forward, without disk or socket.
//!
//! Live messages go first, in the order they came; what was read from disk goes beside them, in its own
//! order. A message is in memory alone, or on disk as well (it has a [`Place`]); a block on disk is released
//! when all its messages are settled.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use crate::broker::{Outcome, Outgoing, Ticket};

/// A message that isn't taken for now is given up after so many times …
const MOST_TRIES: u32 = 100;
/// … and after so long: a broker may well be busy for a while.
const LONGEST_TRIAL: Duration = Duration::from_mins(10);

/// Where a message stands on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) index: u32,
}

/// A message that waits for the disk, or is being written.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Its place among all that came, whatever they wait for.
    pub(super) came: u64,
    pub(super) message: Arc<Outgoing>,
    /// Whether it is to be on disk before it is sent.
    pub(super) first: bool,
    /// Where it is on disk already; it is written again to come behind what came before it.
    pub(super) place: Option<Place>,
    /// Who waits until it is.
    pub(super) asked_by: Option<oneshot::Sender<Result<(), String>>>,
}

impl Waiting {
    /// A message that is to be on disk before it is sent.
    pub(super) fn first(came: u64, message: Arc<Outgoing>) -> Self {
        Self { came, message, first: true, place: None, asked_by: None }
    }

    /// It is safe, or why not; the message.
    pub(super) fn answer(self, outcome: Result<(), String>) -> Arc<Outgoing> {
        if let Some(asked_by) = self.asked_by {
            // Who asked may have gone.
            let _ = asked_by.send(outcome);
        }
        self.message
    }
}

#[derive(Debug, Clone)]
struct Item {
    /// Its place among all that came.
    came: u64,
    message: Arc<Outgoing>,
    place: Option<Place>,
    /// Whether it was read from disk to be sent after newer ones.
    replayed: bool,
    /// The ticket under which it was out before; 0: it wasn't.
    was_out: Ticket,
    /// When the broker first didn't take it for now, and how often it hasn't since.
    refusals: Option<Box<(Instant, u32)>>,
}

impl Item {
    /// Counts one more time that it wasn't taken, and answers whether that is enough.
    fn is_given_up(&mut self) -> bool {
        let refusals = self.refusals.get_or_insert_with(|| Box::new((Instant::now(), 0)));
        refusals.1 += 1;
        refusals.1 >= MOST_TRIES && refusals.0.elapsed() >= LONGEST_TRIAL
    }
}

/// How much may be out at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Of these, replayed ones: live messages must not queue behind them.
    pub(super) replay_messages: usize,
    pub(super) replay_bytes: usize,
}

/// A block of which messages are in hand, or of which some were settled before it was let go.
#[derive(Debug)]
struct Block {
    settled: Vec<bool>,
    left: usize,
    in_hand: bool,
}

/// What settling a message brings about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settling {
    /// This block isn't needed any more.
    pub(super) released: Option<u64>,
    /// The broker refuses this for good, and why.
    pub(super) dead: Option<(Arc<Outgoing>, String)>,
    /// What was delivered.
    pub(super) delivered: Option<Arc<Outgoing>>,
    /// It waits to be sent again.
    pub(super) again: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    live: VecDeque<Item>,
    live_bytes: usize,
    replay: VecDeque<Item>,
    replay_values: u64,
    /// In the order in which they went out.
    out: BTreeMap<Ticket, Item>,
    out_bytes: usize,
    replay_out: usize,
    replay_out_bytes: usize,
    blocks: HashMap<u64, Block>,
    last_ticket: Ticket,
    last_came: u64,
    /// The newest of what went to disk alone.
    spilled: u64,
}

impl Outbox {
    /// The place of a message that comes now.
    pub(super) fn number(&mut self) -> u64 {
        self.last_came += 1;
        self.last_came
    }

    /// Takes a new message in.
    pub(super) fn push(&mut self, message: Arc<Outgoing>) {
        let came = self.number();
        self.queue(came, message, None);
    }

    /// Takes a message in that came before, and may be on disk by now.
    pub(super) fn queue(&mut self, came: u64, message: Arc<Outgoing>, place: Option<Place>) {
        self.live_bytes += message.size();
        let earlier = |item: &Item| item.was_out > 0 || item.came < came;
        let index = self.live.iter().rposition(earlier).map_or(0, |last| last + 1);
        self.live.insert(index, Item { came, message, place, replayed: false, was_out: 0, refusals: None });
    }

    /// Begins to keep account of a block whose messages are in hand.
    pub(super) fn begin_block(&mut self, block: u64, messages: usize) {
        let new = || Block { settled: vec![false; messages], left: messages, in_hand: true };
        self.blocks.entry(block).or_insert_with(new).in_hand = true;
    }

    /// Whether messages of this block are in hand, so that it needn't be read.
    pub(super) fn has_in_hand(&self, block: u64) -> bool {
        self.blocks.get(&block).is_some_and(|block| block.in_hand)
    }

    /// Takes in a block that was read from disk, without what was settled of it before.
    /// Answers whether that is nothing: the block is to be released then.
    pub(super) fn take_block(&mut self, block: u64, messages: Vec<Outgoing>) -> bool {
        self.begin_block(block, messages.len());
        let settled = self.blocks.get(&block).map(|block| block.settled.clone()).unwrap_or_default();
        for (index, message) in (0..).zip(messages) {
            if settled.get(index as usize).copied().unwrap_or(false) {
                continue;
            }
            self.replay_values += u64::from(message.values);
            let (message, place) = (Arc::new(message), Some(Place { block, index }));
            self.replay.push_back(Item {
                came: 0,
                message,
                place,
                replayed: true,
                was_out: 0,
                refusals: None,
            });
        }
        let done = self.blocks.get(&block).is_none_or(|block| block.left == 0);
        if done {
            self.blocks.remove(&block);
        }
        done
    }

    /// What goes out now: live messages first, then replayed ones while `budget` (values) lasts.
    pub(super) fn next(&mut self, window: Window, budget: &mut i64) -> Vec<(Ticket, Arc<Outgoing>)> {
        let mut batch = Vec::new();
        while self.has_room(window)
            && let Some(item) = self.live.pop_front()
        {
            self.live_bytes -= item.message.size();
            batch.push(self.send(item));
        }
        while *budget > 0
            && self.has_room(window)
            && self.replay_out < window.replay_messages
            && self.replay_out_bytes < window.replay_bytes
            && let Some(item) = self.replay.pop_front()
        {
            let values = item.message.values;
            self.replay_values -= u64::from(values);
            *budget -= i64::from(values.max(1));
            batch.push(self.send(item));
        }
        batch
    }

    /// Sends something past all that waits. If it comes back it isn't put back: see [`Self::withdraw`].
    pub(super) fn send_now(&mut self, message: Arc<Outgoing>) -> Ticket {
        let came = self.number();
        self.send(Item { came, message, place: None, replayed: false, was_out: 0, refusals: None }).0
    }

    /// What is out under this ticket is no more.
    pub(super) fn withdraw(&mut self, ticket: Ticket) {
        self.take_out(ticket);
    }

    pub(super) fn has_room(&self, window: Window) -> bool {
        self.out.len() < window.messages && (self.out_bytes < window.bytes || self.out.is_empty())
    }

    fn send(&mut self, item: Item) -> (Ticket, Arc<Outgoing>) {
        self.last_ticket += 1;
        let (size, message) = (item.message.size(), Arc::clone(&item.message));
        self.out_bytes += size;
        if item.replayed {
            self.replay_out += 1;
            self.replay_out_bytes += size;
        }
        self.out.insert(self.last_ticket, item);
        (self.last_ticket, message)
    }

    fn take_out(&mut self, ticket: Ticket) -> Option<Item> {
        let item = self.out.remove(&ticket)?;
        let size = item.message.size();
        self.out_bytes -= size;
        if item.replayed {
            self.replay_out -= 1;
            self.replay_out_bytes -= size;
        }
        Some(item)
    }

    /// Takes in what became of a message; one that isn't out is nobody's.
    pub(super) fn settle(&mut self, ticket: Ticket, outcome: Outcome) -> Settling {
        let Some(mut item) = self.take_out(ticket) else { return Settling::default() };
        let mut settling = Settling::default();
        match outcome {
            Outcome::Again(reason) if item.is_given_up() => {
                let reason = format!("tried {MOST_TRIES} times and more, and still: {reason}");
                settling.dead = Some((Arc::clone(&item.message), reason));
            }
            Outcome::Again(_) => {
                self.put_back(ticket, item);
                settling.again = true;
                return settling;
            }
            Outcome::Refused(reason) => settling.dead = Some((Arc::clone(&item.message), reason)),
            Outcome::Delivered | Outcome::Duplicate => {
                settling.delivered = Some(Arc::clone(&item.message));
            }
        }
        settling.released = item.place.and_then(|place| self.settled(place));
        settling
    }

    fn settled(&mut self, place: Place) -> Option<u64> {
        let block = self.blocks.get_mut(&place.block)?;
        let settled = block.settled.get_mut(place.index as usize)?;
        if !std::mem::replace(settled, true) {
            block.left -= 1;
        }
        if block.left > 0 {
            return None;
        }
        self.blocks.remove(&place.block);
        Some(place.block)
    }

    /// Back to where it came from, ahead of what wasn't out yet and in the order in which it was.
    fn put_back(&mut self, ticket: Ticket, item: Item) {
        let queue = if item.replayed {
            self.replay_values += u64::from(item.message.values);
            &mut self.replay
        } else {
            self.live_bytes += item.message.size();
            &mut self.live
        };
        let place = queue.iter().position(|other| other.was_out == 0 || other.was_out > ticket);
        queue.insert(place.unwrap_or(queue.len()), Item { was_out: ticket, ..item });
    }

    /// Nobody carries any more: what is out waits again, in its order. Of what is on disk that is let go which
    /// was read from there, and all of it if newer ones are on disk alone. Answers whether anything was.
    pub(super) fn recall(&mut self) -> bool {
        let out = std::mem::take(&mut self.out);
        (self.out_bytes, self.replay_out, self.replay_out_bytes) = (0, 0, 0);
        // The last first: each finds its place at once.
        out.into_iter().rev().for_each(|(ticket, item)| self.put_back(ticket, item));
        let overtaken = |item: &Item| item.place.is_some() && item.came < self.spilled;
        if self.live.iter().any(overtaken) { self.let_go() } else { self.let_replayed_go() }
    }

    /// Forgets what is on disk, unless some of its block is out: it will be read again from there. Answers
    /// whether there was any.
    pub(super) fn let_go(&mut self) -> bool {
        let before = self.live.len();
        let out = blocks(self.out.values());
        self.live.retain(|item| item.place.is_none_or(|place| out.contains(&place.block)));
        self.live_bytes = self.live.iter().map(|item| item.message.size()).sum();
        self.let_replayed_go() || self.live.len() < before
    }

    /// What was settled of a block is remembered until it is read again.
    fn let_replayed_go(&mut self) -> bool {
        let before = self.replay.len();
        let held = blocks(self.live.iter().chain(self.out.values()));
        self.replay.retain(|item| item.place.is_none_or(|place| held.contains(&place.block)));
        self.replay_values = self.replay.iter().map(|item| u64::from(item.message.values)).sum();
        self.blocks.retain(|id, block| {
            block.in_hand = held.contains(id);
            block.in_hand || block.settled.contains(&true)
        });
        self.replay.len() < before
    }

    /// Takes the oldest live messages that came before this place, about so many bytes of payload, for the disk,
    /// in their order: those that are there already too. Those that aren't kept on disk at all are dropped.
    pub(super) fn spill(&mut self, before: u64, bytes: usize, messages: usize) -> Vec<Waiting> {
        let (mut taken, mut size) = (Vec::<Waiting>::new(), 0);
        while size < bytes
            && taken.len() < messages
            && let Some(item) = self.live.pop_front_if(|item| item.came < before)
        {
            self.live_bytes -= item.message.size();
            if is_kept(&item.message) {
                size += item.message.payload.len();
                let Item { came, message, place, .. } = item;
                taken.push(Waiting { came, message, first: false, place, asked_by: None });
            }
        }
        taken.sort_by_key(|waiting| waiting.came);
        taken
    }

    /// The place of the oldest live message.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.live.front().map(|item| item.came)
    }

    /// Whether any live message is in memory alone.
    pub(super) fn has_bare(&self) -> bool {
        self.live.iter().any(|item| item.place.is_none())
    }

    /// These are on disk now, and nowhere else; answers the blocks that aren't needed any more by it.
    pub(super) fn spilled(&mut self, messages: &[Waiting]) -> Vec<u64> {
        let newest = messages.iter().map(|waiting| waiting.came).max();
        self.spilled = self.spilled.max(newest.unwrap_or_default());
        messages.iter().filter_map(|waiting| self.settled(waiting.place?)).collect()
    }

    /// The oldest that are out and in memory alone, about so many bytes of payload, for the disk. They stay
    /// out; once they are written, [`Self::secured`] has to know.
    pub(super) fn to_secure(&self, bytes: usize, messages: usize) -> Vec<(Ticket, Arc<Outgoing>)> {
        let mut size = 0;
        let bare = self.out.iter().filter(|(_, item)| item.place.is_none() && is_kept(&item.message));
        let some = bare.take(messages).take_while(|(_, item)| {
            let room = size < bytes;
            size += item.message.payload.len();
            room
        });
        some.map(|(ticket, item)| (*ticket, Arc::clone(&item.message))).collect()
    }

    /// These are on disk now, as this block. Those that were settled meanwhile are settled there too. Answers
    /// whether the block isn't needed any more.
    pub(super) fn secured(&mut self, block: u64, tickets: &[Ticket]) -> Option<u64> {
        self.begin_block(block, tickets.len());
        let mut released = None;
        for (index, ticket) in (0..).zip(tickets) {
            let place = Place { block, index };
            let back = |item: &&mut Item| item.was_out == *ticket;
            let known = self.out.get_mut(ticket);
            match known.or_else(|| self.live.iter_mut().find(back)) {
                Some(item) => item.place = Some(place),
                None => released = self.settled(place),
            }
        }
        released
    }

    /// What the disk didn't take waits in memory again, ahead of the rest.
    pub(super) fn unspill(&mut self, messages: Vec<Waiting>) {
        for Waiting { came, message, place, .. } in messages.into_iter().rev() {
            self.live_bytes += message.size();
            self.live.push_front(Item { came, message, place, replayed: false, was_out: 0, refusals: None });
        }
    }

    /// Drops messages that are in memory alone until at most so many bytes wait: the oldest, or the newest.
    pub(super) fn shed(&mut self, bytes: usize, oldest: bool) -> Vec<Arc<Outgoing>> {
        let mut dropped = Vec::new();
        while self.live_bytes > bytes {
            let memory_only = |item: &Item| item.place.is_none();
            let found = if oldest {
                self.live.iter().position(memory_only)
            } else {
                self.live.iter().rposition(memory_only)
            };
            let Some(item) = found.and_then(|index| self.live.remove(index)) else { break };
            self.live_bytes -= item.message.size();
            dropped.push(item.message);
        }
        dropped
    }

    /// All that is in memory alone, what is out too, in order: for the disk, before the end.
    pub(super) fn take_everything(&mut self) -> Vec<Waiting> {
        self.recall();
        self.let_go();
        self.spill(u64::MAX, usize::MAX, usize::MAX)
    }

    /// Whether nothing waits and nothing is out.
    pub(super) fn is_idle(&self) -> bool {
        self.live.is_empty() && self.out.is_empty()
    }

    /// Device and number of what is in memory alone.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (Arc<str>, u64)> {
        let items = self.live.iter().chain(self.out.values()).filter(|item| item.place.is_none());
        items
            .filter(|item| item.message.seq > 0)
            .map(|item| (Arc::clone(&item.message.device), item.message.seq))
    }

    pub(super) fn live_len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    pub(super) fn out_len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn replay_values(&self) -> u64 {
        self.replay_values
    }

    pub(super) fn replay_len(&self) -> usize {
        self.replay.len()
    }
}

fn blocks<'a>(items: impl Iterator<Item = &'a Item>) -> HashSet<u64> {
    items.filter_map(|item| Some(item.place?.block)).collect()
}

/// Whether a message is worth the disk: of figures and descriptions newer ones come.
pub(super) fn is_kept(message: &Outgoing) -> bool {
    use crate::broker::Kind;
    matches!(message.kind, Kind::Telemetry | Kind::Event | Kind::Alarm)
}

#[cfg(test)]
mod tests;
