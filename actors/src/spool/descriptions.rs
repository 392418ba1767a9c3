//! What a broker is told of the devices that exist, and of those that don't any more: one at a time, since
//! descriptions are large, and each made when it goes out.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bifrost_model::DeviceTags;
use tokio::time::Instant;

use crate::broker::{Encoder, Outcome, Outgoing, Ticket};

/// So long what is live goes first; then a description has its turn.
const TURN: Duration = Duration::from_millis(100);
/// Pause after one that is to be sent again; what is live goes on.
const PAUSE: Duration = Duration::from_millis(500);
/// Devices that are gone and of which a broker wasn't told, at most.
const GONE: usize = 10_000;

/// Messages that clear what a broker keeps of devices that are gone, by device.
pub(super) type Gone = BTreeMap<Arc<str>, Arc<Outgoing>>;

/// What is out.
#[derive(Debug)]
struct Told {
    ticket: Ticket,
    device: Arc<str>,
    clears: bool,
}

#[derive(Debug)]
pub(super) struct Descriptions {
    devices: BTreeMap<Arc<str>, Arc<DeviceTags>>,
    /// Until the broker has taken it.
    gone: Gone,
    /// Devices of which the broker is to be told.
    queue: VecDeque<Arc<str>>,
    out: Option<Told>,
    due: Instant,
    /// The broker was busy.
    not_before: Instant,
    /// Of which there was news since the router was asked what it knows.
    heard: Option<HashSet<Arc<str>>>,
}

impl Descriptions {
    pub(super) fn new(gone: Gone, now: Instant) -> Self {
        let (devices, queue) = (BTreeMap::new(), VecDeque::new());
        Self { devices, gone, queue, out: None, due: now, not_before: now, heard: None }
    }

    /// The router is asked what it knows: what it says from here on is newer than its answer.
    pub(super) fn asked(&mut self) {
        self.heard = Some(HashSet::new());
    }

    /// Its answer was taken.
    pub(super) fn answered(&mut self) {
        self.heard = None;
    }

    /// Whether an answer's description says something new.
    pub(super) fn is_news(&self, tags: &Arc<DeviceTags>) -> bool {
        let id = tags.device_id();
        let heard = self.heard.as_ref().is_some_and(|heard| heard.contains(id));
        !heard && self.devices.get(id).is_none_or(|known| !Arc::ptr_eq(known, tags))
    }

    fn hear(&mut self, id: &Arc<str>) {
        if let Some(heard) = &mut self.heard {
            heard.insert(Arc::clone(id));
        }
    }

    /// This device exists, with these tags.
    pub(super) fn describe(&mut self, tags: Arc<DeviceTags>, now: Instant) {
        let id = Arc::clone(tags.device_id());
        self.hear(&id);
        self.gone.remove(&id);
        self.enqueue(Arc::clone(&id), now);
        self.devices.insert(id, tags);
    }

    /// This device exists no more; the message clears what the broker keeps of it.
    pub(super) fn forget(&mut self, id: &Arc<str>, clearing: Option<Outgoing>, now: Instant) {
        self.hear(id);
        self.devices.remove(id);
        self.queue.retain(|queued| queued != id);
        let Some(clearing) = clearing else { return };
        self.gone.insert(Arc::clone(id), Arc::new(clearing));
        self.enqueue(Arc::clone(id), now);
        if self.gone.len() > GONE {
            self.gone.pop_first();
        }
    }

    fn enqueue(&mut self, id: Arc<str>, now: Instant) {
        if self.queue.is_empty() {
            self.due = now + TURN;
        }
        self.queue.retain(|queued| *queued != id);
        self.queue.push_back(id);
    }

    /// A broker that may have forgotten what it was told before: all is told anew.
    pub(super) fn attached(&mut self, now: Instant) {
        self.out = None;
        self.queue = self.gone.keys().chain(self.devices.keys()).cloned().collect();
        (self.due, self.not_before) = (now + TURN, now);
    }

    /// Nobody carries any more; answers what was out.
    pub(super) fn recall(&mut self) -> Option<Ticket> {
        self.out.take().map(|told| told.ticket)
    }

    /// Whether something is to be told, and nothing is being told.
    pub(super) fn waits(&self, now: Instant) -> bool {
        !self.queue.is_empty() && self.out.is_none() && now >= self.not_before
    }

    /// Whether it is to be told even if that holds up what is live.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.waits(now) && now >= self.due
    }

    /// The next, which goes out at once by the function that is given.
    pub(super) fn tell(
        &mut self,
        encoder: &mut Encoder,
        now: Instant,
        send: impl FnOnce(Arc<Outgoing>) -> Ticket,
    ) -> Option<(Ticket, Arc<Outgoing>)> {
        while let Some(device) = self.queue.pop_front() {
            let message = match self.devices.get(&device) {
                Some(tags) => encoder.description(tags).map(Arc::new),
                None => self.gone.get(&device).cloned(),
            };
            let Some(message) = message else { continue };
            let (ticket, clears) = (send(Arc::clone(&message)), !self.devices.contains_key(&device));
            self.out = Some(Told { ticket, device, clears });
            self.due = now + TURN;
            return Some((ticket, message));
        }
        None
    }

    /// Takes in what became of a message; answers whether it is to be told again from here.
    pub(super) fn settle(&mut self, ticket: Ticket, outcome: &Outcome) -> bool {
        let Some(told) = self.out.take_if(|told| told.ticket == ticket) else { return false };
        let again = matches!(outcome, Outcome::Again(_));
        if again {
            self.queue.retain(|queued| *queued != told.device);
            self.queue.push_front(told.device);
            self.not_before = Instant::now() + PAUSE;
        } else if told.clears && !self.devices.contains_key(&told.device) {
            self.gone.remove(&told.device);
        }
        again
    }

    /// What the next incarnation has to know.
    pub(super) fn take_gone(&mut self) -> Gone {
        std::mem::take(&mut self.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(id: &str) -> Arc<DeviceTags> {
        crate::plc::compile(&crate::testing::device_settings(id, Duration::from_secs(1), 1)).unwrap().tags
    }

    #[test]
    fn an_answer_undoes_nothing_that_was_heard_since_it_was_asked_for() {
        let now = Instant::now();
        let (one, two, three) = (tags("one"), tags("two"), tags("three"));
        let mut descriptions = Descriptions::new(Gone::new(), now);
        descriptions.describe(Arc::clone(&three), now);
        descriptions.asked();
        descriptions.forget(one.device_id(), None, now);
        descriptions.describe(tags("two"), now);
        assert!(!descriptions.is_news(&one) && !descriptions.is_news(&two), "these are older");
        assert!(!descriptions.is_news(&three), "that is known");
        assert!(descriptions.is_news(&tags("three")) && descriptions.is_news(&tags("four")));
        descriptions.answered();
        assert!(descriptions.is_news(&one));
    }
}
