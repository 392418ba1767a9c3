//! What couldn't be kept: counted, named in events, and alarmed once per change of state.

use std::{sync::Arc, time::Duration};

use bifrost_model::{Event, Severity, Timestamp};
use prometheus::IntCounter;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::store::{Dropped, NAMED_RANGES, Ranges};
use crate::{broker::Outgoing, router::EventSink};

/// Losses of this long make one event.
const GATHER: Duration = Duration::from_secs(5);
/// Without a loss for so long the alarm is cleared.
const CALM: Duration = Duration::from_secs(30);

impl Dropped {
    /// These messages.
    pub(super) fn of(messages: &[Arc<Outgoing>]) -> Self {
        let mut ranges = Ranges::new(NAMED_RANGES);
        for message in messages.iter().filter(|message| message.seq > 0) {
            ranges.add(&message.device, message.seq, message.seq);
        }
        let values = messages.iter().map(|message| u64::from(message.values)).sum();
        let truncated = ranges.truncated();
        Self { messages: messages.len() as u64, values, device_ranges: ranges.into_list(), truncated }
    }

    /// Whether there is nothing to tell.
    fn is_nothing(&self) -> bool {
        self.messages == 0 && self.device_ranges.is_empty()
    }
}

/// The last loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastDrop {
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Counts what is lost, and tells of it.
#[derive(Debug, Clone)]
pub(super) struct Losses {
    session: Arc<str>,
    events: EventSink,
    counted: IntCounter,
    pub(super) messages: u64,
    pub(super) values: u64,
    pub(super) last: Option<LastDrop>,
    untold: Dropped,
    told_at: Option<Instant>,
    lost_at: Option<Instant>,
    alarmed: bool,
}

impl Losses {
    pub(super) fn new(session: Arc<str>, events: EventSink, counted: IntCounter) -> Self {
        let (messages, values) = (0, 0);
        let untold = Dropped::default();
        Self {
            session,
            events,
            counted,
            messages,
            values,
            last: None,
            untold,
            told_at: None,
            lost_at: None,
            alarmed: false,
        }
    }

    /// Takes account of a loss.
    pub(super) fn count(&mut self, dropped: Dropped, reason: &str, now: Instant) {
        if dropped.is_nothing() {
            return;
        }
        self.messages += dropped.messages;
        self.values += dropped.values;
        self.counted.inc_by(dropped.messages);
        // What only gets its name was told with its own reason.
        if dropped.messages > 0 || self.last.is_none() {
            self.last = Some(LastDrop { reason: reason.to_owned(), at: Timestamp::now() });
        }
        self.lost_at = Some(now);
        self.untold.merge(dropped);
        if !self.alarmed {
            self.alarmed = true;
            let message = format!(
                "messages for {} are lost: {reason}; mend the broker's connection, or give messaging.spool more room",
                self.session
            );
            self.events.raise(&self.alarm(), "spool_dropping", Severity::Error, "", &message);
        }
    }

    /// Takes account of messages that only were in memory.
    pub(super) fn count_messages(&mut self, messages: &[Arc<Outgoing>], reason: &str, now: Instant) {
        self.count(Dropped::of(messages), reason, now);
    }

    /// Regularly: tells what was gathered, and clears the alarm when all is calm.
    pub(super) fn look_after(&mut self, now: Instant) {
        let due = self.told_at.is_none_or(|at| now.duration_since(at) >= GATHER);
        if due && !self.untold.is_nothing() {
            self.told_at = Some(now);
            self.tell();
        }
        let calm = self.lost_at.is_some_and(|at| now.duration_since(at) >= CALM);
        if self.alarmed && calm {
            self.alarmed = false;
            let message = format!("nothing more is lost of what goes to {}", self.session);
            self.events.clear(&self.alarm(), "spool_dropping", "", &message);
        }
    }

    /// At the end: tells what wasn't told yet.
    pub(super) fn tell_all(&mut self, now: Instant) {
        self.told_at = None;
        self.look_after(now);
    }

    fn tell(&mut self) {
        let dropped = std::mem::take(&mut self.untold);
        let reason = self.last.as_ref().map_or("", |last| &last.reason);
        let ranges: Vec<_> = dropped.device_ranges.iter().take(100).collect();
        let ranges: Vec<_> = ranges
            .into_iter()
            .map(|(device, from, to)| json!({ "device_id": device, "from": from, "to": to }))
            .collect();
        let (messages, values) = (dropped.messages, dropped.values);
        let text =
            format!("{messages} messages with {values} values for {} were lost: {reason}", self.session);
        let data = json!({
            "session": self.session, "messages": messages, "values": values, "reason": reason,
            "ranges": ranges, "ranges_truncated": dropped.truncated || dropped.device_ranges.len() > 100,
        });
        self.events.record(Event::new("", "spool_dropped", Severity::Error, text).with(data));
    }

    fn alarm(&self) -> String {
        format!("spool_dropping/{}", self.session)
    }
}
