//! What a session counts of itself, since its connection was opened.

use std::cell::{Cell, RefCell};

use crate::broker::Outcome;

/// A number that goes up.
#[derive(Debug, Default)]
pub(super) struct Count(Cell<u64>);

impl Count {
    pub(super) fn add(&self) {
        self.0.set(self.0.get() + 1);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// The session's numbers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Handed to the client library.
    pub(super) published: Count,
    /// Taken by the servers, duplicates not counted.
    pub(super) acknowledged: Count,
    /// Which the stream had already.
    pub(super) duplicates: Count,
    /// Refused for good.
    pub(super) refused: Count,
    /// Denied by permissions.
    pub(super) denied: Count,
    /// Given back, to be sent again.
    pub(super) again: Count,
    /// Requests that a full buffer didn't take.
    pub(super) slow_consumer: Count,
    /// Why something was refused last, and what.
    pub(super) last_refusal: RefCell<Option<String>>,
}

impl Counts {
    pub(super) fn count(&self, topic: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered => self.acknowledged.add(),
            Outcome::Duplicate => self.duplicates.add(),
            Outcome::Again(_) => self.again.add(),
            Outcome::Refused(reason) => {
                self.refused.add();
                self.last_refusal.replace(Some(format!("{topic}: {reason}")));
            }
        }
    }
}
