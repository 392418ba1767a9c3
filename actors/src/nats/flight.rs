//! What is out and not acknowledged yet. Pure: knows no socket and no clock.
//!
//! `JetStream` acknowledges each message by itself; each has a place here, and the place's number is the last
//! token of the subject that its acknowledgement arrives on. Core NATS acknowledges nothing; what was
//! published is taken for delivered when a barrier that was published after it has come back.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use crate::broker::{Outgoing, Ticket};

/// One message that is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) ticket: Ticket,
    pub(super) message: Arc<Outgoing>,
    /// Under which attachment it was handed over: another spool's tickets mean other messages.
    pub(super) from: u64,
}

/// A place that one message after another takes. The generation tells a late acknowledgement of an earlier one.
#[derive(Debug, Default)]
struct Place {
    generation: u32,
    taken: Option<(Out, Instant)>,
}

/// Everything that is out.
#[derive(Debug, Default)]
pub(super) struct Flight {
    places: Vec<Place>,
    free: Vec<u32>,
    /// With the number of the barrier behind each.
    unacknowledged: VecDeque<(u64, Out)>,
    /// The number of the next barrier.
    barrier: u64,
    /// The last barrier that came back.
    passed: Option<u64>,
    /// What is before this barrier may have been denied.
    doubted: Option<u64>,
    /// Messages since the last barrier.
    since_barrier: usize,
}

/// What arrives on the session's inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// An acknowledgement of the message in a place.
    Place(u64),
    /// A barrier.
    Barrier(u64),
}

impl Token {
    /// Reads the last token of an inbox's subject.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('x') {
            Some(number) => u64::from_str_radix(number, 16).ok().map(Self::Barrier),
            None => u64::from_str_radix(text, 16).ok().map(Self::Place),
        }
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Place(number) => write!(f, "{number:x}"),
            Self::Barrier(number) => write!(f, "x{number:x}"),
        }
    }
}

impl Flight {
    /// A message goes out that will be acknowledged.
    pub(super) fn begin(&mut self, out: Out, now: Instant) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let Some(place) = self.places.get_mut(index as usize) else { return Token::Place(u64::MAX) };
        place.taken = Some((out, now));
        Token::Place(u64::from(place.generation) << 32 | u64::from(index))
    }

    /// Takes a message out that was acknowledged, unless its place was given up meanwhile.
    pub(super) fn end(&mut self, number: u64) -> Option<Out> {
        let index = u32::try_from(number & u64::from(u32::MAX)).ok()?;
        let place = self.places.get_mut(index as usize)?;
        if u64::from(place.generation) != number >> 32 {
            return None;
        }
        let (out, _) = place.taken.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
        Some(out)
    }

    /// A message goes out that nothing acknowledges.
    pub(super) fn begin_unacknowledged(&mut self, out: Out) {
        self.unacknowledged.push_back((self.barrier, out));
        self.since_barrier += 1;
    }

    /// The last message that went out wasn't sent after all.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Out> {
        let (_, out) = self.unacknowledged.pop_back_if(|(_, out)| out.ticket == ticket)?;
        self.since_barrier = self.since_barrier.saturating_sub(1);
        Some(out)
    }

    /// Messages since the last barrier.
    pub(super) fn since_barrier(&self) -> usize {
        self.since_barrier
    }

    /// The next barrier goes out.
    pub(super) fn raise_barrier(&mut self) -> Token {
        let token = Token::Barrier(self.barrier);
        self.barrier += 1;
        self.since_barrier = 0;
        token
    }

    /// A barrier came back: everything before it has been processed. Answers what is certain, and what is in doubt.
    pub(super) fn pass_barrier(&mut self, number: u64) -> (Vec<Out>, Vec<Out>) {
        self.passed = self.passed.max(Some(number));
        let passed = self.unacknowledged.partition_point(|(barrier, _)| *barrier <= number);
        let (mut certain, mut doubtful) = (Vec::new(), Vec::new());
        for (barrier, out) in self.unacknowledged.drain(..passed) {
            let side =
                if self.doubted.is_some_and(|last| barrier <= last) { &mut doubtful } else { &mut certain };
            side.push(out);
        }
        (certain, doubtful)
    }

    /// What is out and nothing acknowledges may have been denied.
    pub(super) fn doubt(&mut self) {
        self.doubted = Some(self.barrier);
    }

    /// Whether a barrier has come back.
    pub(super) fn has_passed(&self, number: u64) -> bool {
        self.passed.is_some_and(|passed| passed >= number)
    }

    /// Takes out what was sent before a time and isn't acknowledged.
    pub(super) fn expire(&mut self, sent_before: Instant) -> Vec<Out> {
        self.take_where(|_, sent| sent < sent_before)
    }

    /// Takes out what was sent to a subject.
    pub(super) fn take_subject(&mut self, subject: &str) -> Vec<Out> {
        let mut taken = self.take_where(|out, _| *out.message.topic == *subject);
        self.unacknowledged.retain(|(_, out)| {
            let hit = *out.message.topic == *subject;
            if hit {
                taken.push(out.clone());
            }
            !hit
        });
        taken
    }

    fn take_where(&mut self, wanted: impl Fn(&Out, Instant) -> bool) -> Vec<Out> {
        let numbered = self.places.iter().enumerate();
        let hits: Vec<_> = numbered
            .filter(|(_, place)| place.taken.as_ref().is_some_and(|(out, sent)| wanted(out, *sent)))
            .map(|(index, place)| u64::from(place.generation) << 32 | index as u64)
            .collect();
        hits.into_iter().filter_map(|number| self.end(number)).collect()
    }

    /// Forgets everything: who wants to know of it is no more.
    pub(super) fn clear(&mut self) {
        self.take_where(|_, _| true);
        self.unacknowledged.clear();
    }

    /// How many are out.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len() + self.unacknowledged.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bifrost_model::{TagClass, Timestamp};
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::broker::Kind;

    fn out(ticket: Ticket, topic: &str) -> Out {
        let message = Outgoing {
            topic: topic.into(),
            payload: Bytes::new(),
            kind: Kind::Telemetry,
            class: TagClass::Telemetry,
            retain: false,
            device: "d".into(),
            seq: ticket,
            values: 1,
            part: "".into(),
            made: Timestamp::now(),
            historical: false,
        };
        Out { ticket, message: Arc::new(message), from: 1 }
    }

    fn number(token: Token) -> u64 {
        match token {
            Token::Place(number) | Token::Barrier(number) => number,
        }
    }

    #[test]
    fn a_late_acknowledgement_settles_nothing_else() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let first = number(flight.begin(out(1, "a"), now));
        assert_eq!(flight.expire(now + Duration::from_secs(1)).len(), 1);
        let second = number(flight.begin(out(2, "a"), now));
        assert_eq!(flight.end(first), None);
        assert_eq!(flight.end(second).map(|out| out.ticket), Some(2));
        assert_eq!((flight.end(second), flight.len()), (None, 0));
    }

    #[test]
    fn a_barrier_settles_what_was_sent_before_it_alone() {
        let mut flight = Flight::default();
        flight.begin_unacknowledged(out(1, "a"));
        let first = number(flight.raise_barrier());
        flight.begin_unacknowledged(out(2, "a"));
        let passed: Vec<_> = flight.pass_barrier(first).0.into_iter().map(|out| out.ticket).collect();
        assert_eq!((passed, flight.len(), flight.since_barrier()), (vec![1], 1, 1));
    }

    #[test]
    fn what_was_out_when_doubts_arose_is_not_certain() {
        let mut flight = Flight::default();
        flight.begin_unacknowledged(out(1, "a"));
        flight.doubt();
        let first = number(flight.raise_barrier());
        flight.begin_unacknowledged(out(2, "a"));
        let second = number(flight.raise_barrier());
        let (certain, doubtful) = flight.pass_barrier(first);
        assert_eq!((certain.len(), doubtful.len()), (0, 1));
        assert_eq!(flight.pass_barrier(second).0.len(), 1);
    }

    #[test]
    fn a_denied_subject_is_found_among_both_kinds() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        flight.begin(out(1, "a"), now);
        flight.begin(out(2, "b"), now);
        flight.begin_unacknowledged(out(3, "a"));
        let taken: Vec<_> = flight.take_subject("a").into_iter().map(|out| out.ticket).collect();
        assert_eq!((taken, flight.len()), (vec![1, 3], 1));
    }

    proptest! {
        #[test]
        fn tokens_survive_the_way_through_a_subject(number: u64, barrier: bool) {
            let token = if barrier { Token::Barrier(number) } else { Token::Place(number) };
            prop_assert_eq!(Token::parse(&token.to_string()), Some(token));
        }

        #[test]
        fn each_message_is_settled_once(acknowledged: Vec<bool>) {
            let (mut flight, now) = (Flight::default(), Instant::now());
            let tokens: Vec<_> =
                (0..).zip(&acknowledged).map(|(ticket, _)| number(flight.begin(out(ticket, "a"), now))).collect();
            let acknowledged = tokens.iter().zip(&acknowledged).filter(|(_, is)| **is);
            let settled = acknowledged.filter_map(|(token, _)| flight.end(*token)).count();
            let expired = flight.expire(now + Duration::from_secs(1)).len();
            prop_assert_eq!((settled + expired, flight.len()), (tokens.len(), 0));
        }
    }
}
