//! What a PLC has seen so far.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

/// The functions that are counted each for itself.
const FUNCTIONS: [u8; 12] = [1, 2, 3, 4, 5, 6, 8, 15, 16, 22, 23, 43];

/// A PLC's counters since it was made; starts and stops don't reset them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlcStats {
    /// Connections that were accepted and served.
    pub connections_total: u64,
    /// Connections that are open now.
    pub connections_open: u64,
    /// Connections that were closed at once, being one too many.
    pub connections_refused: u64,
    /// Requests for one of its units that were read, answered or not.
    pub requests: u64,
    /// Answers that were made, late, spoilt and exceptions included.
    pub answers: u64,
    /// Answers that were exceptions.
    pub exceptions: u64,
    /// Requests by function code; 0 stands for all that it doesn't know.
    pub functions: BTreeMap<u8, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    answers: AtomicU64,
    exceptions: AtomicU64,
    functions: [AtomicU64; FUNCTIONS.len()],
    unknown: AtomicU64,
}

/// One open connection; it is closed when this is dropped.
pub(crate) struct OpenConnection<'a>(&'a Counters);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Relaxed);
    }
}

impl Counters {
    pub(crate) fn connection(&self) -> OpenConnection<'_> {
        self.accepted.fetch_add(1, Relaxed);
        OpenConnection(self)
    }

    pub(crate) fn open(&self) -> u64 {
        let closed = self.closed.load(Relaxed);
        self.accepted.load(Relaxed).saturating_sub(closed)
    }

    pub(crate) fn connection_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn request(&self, function: u8) {
        let known = FUNCTIONS.iter().position(|known| *known == function);
        known.map_or(&self.unknown, |index| &self.functions[index]).fetch_add(1, Relaxed);
    }

    pub(crate) fn answer(&self, is_exception: bool) {
        self.answers.fetch_add(1, Relaxed);
        if is_exception {
            self.exceptions.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> PlcStats {
        let counted = FUNCTIONS.into_iter().zip(&self.functions).chain([(0, &self.unknown)]);
        let functions: BTreeMap<u8, u64> = counted
            .map(|(code, count)| (code, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        PlcStats {
            connections_open: self.open(),
            connections_total: self.accepted.load(Relaxed),
            connections_refused: self.refused.load(Relaxed),
            requests: functions.values().sum(),
            answers: self.answers.load(Relaxed),
            exceptions: self.exceptions.load(Relaxed),
            functions,
        }
    }
}
