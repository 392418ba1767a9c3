//! What a session counts over all of its connections.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Counts on.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a session counts over all of its connections.
#[derive(Debug, Default)]
pub(crate) struct MqttCounters {
    /// Messages that were handed to the client library.
    pub(crate) published: Count,
    /// Messages that the broker acknowledged, or that were written to the socket where nothing is.
    pub(crate) acknowledged: Count,
    /// Messages that are refused for good.
    pub(crate) refused: Count,
    /// Requests that were taken.
    pub(crate) requests: Count,
    /// Requests that weren't, because too many were pending.
    pub(crate) requests_refused: Count,
}
