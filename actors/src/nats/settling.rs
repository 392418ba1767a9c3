//! Makes of what comes back, or doesn't, what became of each message.

use std::time::Duration;

use nats::Message;
use tokio::time::Instant;

use super::{
    acknowledgement::{self, Answer},
    error::NatsError,
    flight::{Out, Token},
    session::{Session, not_permitted},
};
use crate::broker::{Outcome, Settled, Ticket};

/// What a busy server hands back isn't sent again before.
const PAUSE: Duration = Duration::from_millis(500);
/// The client library passes on at most 128 errors that arrive at once: near that, some may be missing, and
/// nothing that is out counts as delivered.
const MANY_DENIALS: usize = 100;

impl Session {
    /// Looks at what came back; answers the last barrier among it.
    pub(super) fn on_inbox(&self, messages: &[Message]) -> Option<u64> {
        let (mut settled, mut barrier, now) = (Vec::with_capacity(messages.len()), None, Instant::now());
        for message in messages {
            match message.subject.strip_prefix(self.inbox.as_str()).and_then(Token::parse) {
                Some(Token::Place(number)) => settled.extend(self.on_answer(number, message, now)),
                Some(Token::Barrier(number)) => barrier = Some(number),
                None => {}
            }
        }
        self.settle(settled);
        self.heard(now);
        barrier
    }

    /// Something is out.
    pub(super) fn expect_answer(&self, now: Instant) {
        if self.silent_since.get().is_none() {
            self.silent_since.set(Some(now));
        }
    }

    /// Something came back.
    pub(super) fn heard(&self, now: Instant) {
        self.silent_since.set((self.flight.borrow().len() > 0).then_some(now));
    }

    fn on_answer(&self, number: u64, message: &Message, now: Instant) -> Option<(Out, Outcome)> {
        let answer = acknowledgement::read(message);
        if answer == Answer::Foreign {
            return None;
        }
        let out = self.flight.borrow_mut().end(number)?;
        match answer {
            Answer::Settled(outcome) => return Some((out, outcome)),
            Answer::Later(reason) => self.hold(&out, reason, now),
            Answer::NoStream => self.orphans.borrow_mut().push(out),
            Answer::Foreign => {}
        }
        None
    }

    /// The server has processed all that was sent before a barrier; what it denied of that is known by now.
    pub(super) fn pass_barrier(&self, number: u64) {
        let (certain, doubtful) = self.flight.borrow_mut().pass_barrier(number);
        self.settle(certain.into_iter().map(|out| (out, Outcome::Delivered)));
        let now = Instant::now();
        for out in &doubtful {
            self.hold(out, "the server denied many others at the same time".to_owned(), now);
        }
        self.heard(Instant::now());
        self.changed.notify_waiters();
    }

    fn hold(&self, out: &Out, reason: String, now: Instant) {
        self.counts.again.add();
        self.later.borrow_mut().push_back((now + PAUSE, out.ticket, reason));
    }

    /// What no stream took.
    pub(super) fn take_orphans(&self) -> Vec<Out> {
        std::mem::take(&mut *self.orphans.borrow_mut())
    }

    /// Whether something found no stream.
    pub(super) fn has_orphans(&self) -> bool {
        !self.orphans.borrow().is_empty()
    }

    /// The stream is there, or will be: what it takes is sent again.
    pub(super) fn send_orphans_again(&self, reason: &str) {
        let now = Instant::now();
        for out in self.take_orphans() {
            if self.stream.as_ref().is_some_and(|stream| stream.takes(&out.message.topic)) {
                self.hold(&out, reason.to_owned(), now);
            } else {
                let reason = format!("stream not found: none takes {}", out.message.topic);
                self.settle([(out, Outcome::Refused(reason))]);
            }
        }
    }

    /// The server doesn't permit publishing to a subject; answers whether that is news.
    pub(super) fn deny(&self, subject: &str) -> bool {
        self.recent_denials.set(self.recent_denials.get() + 1);
        if self.recent_denials.get() >= MANY_DENIALS {
            self.recent_denials.set(0);
            self.flight.borrow_mut().doubt();
        }
        self.counts.denied.add();
        let out = self.flight.borrow_mut().take_subject(subject);
        self.settle(out.into_iter().map(|out| (out, Outcome::Refused(not_permitted()))));
        self.heard(Instant::now());
        self.denied.borrow_mut().add(subject, Instant::now())
    }

    pub(super) fn is_denied(&self, subject: &str) -> bool {
        self.denied.borrow().holds(subject, Instant::now())
    }

    /// Settles what wasn't acknowledged in time, and what has waited long enough. An error is that nothing comes
    /// back any more.
    pub(super) fn on_time(&self, now: Instant) -> Result<(), NatsError> {
        let limit = 3 * self.ack_timeout;
        if self.silent_since.get().is_some_and(|since| now - since > limit) {
            return Err(NatsError::Silent { server: self.server.clone(), limit });
        }
        if let Some(sent_before) = now.checked_sub(self.ack_timeout) {
            let expired = self.flight.borrow_mut().expire(sent_before);
            let reason = || Outcome::Again(format!("not acknowledged within {:?}", self.ack_timeout));
            self.settle(expired.into_iter().map(|out| (out, reason())));
        }
        let mut later = self.later.borrow_mut();
        let due = later.partition_point(|(due, _, _)| *due <= now);
        let due: Vec<_> =
            later.drain(..due).map(|(_, ticket, reason)| (ticket, Outcome::Again(reason))).collect();
        drop(later);
        self.tell(due);
        Ok(())
    }

    pub(super) fn settle(&self, settled: impl IntoIterator<Item = (Out, Outcome)>) {
        let to = self.attached.borrow().as_ref().map(|attached| attached.incarnation);
        let told = settled.into_iter().filter(|(out, _)| Some(out.from) == to).map(|(out, outcome)| {
            self.counts.count(&out.message.topic, &outcome);
            (out.ticket, outcome)
        });
        self.tell(told.collect());
    }

    fn tell(&self, outcomes: Vec<(Ticket, Outcome)>) {
        self.changed.notify_waiters();
        let attached = self.attached.borrow();
        let (Some(attached), false) = (attached.as_ref(), outcomes.is_empty()) else { return };
        attached.ports.settled.do_send(Settled { incarnation: attached.incarnation, outcomes });
    }
}
