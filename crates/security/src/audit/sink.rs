//! Who takes entries: the trail's actor when the gateway runs, a list in tests.

use std::fmt;

use futures_util::future::BoxFuture;
use thiserror::Error;

use super::entry::Entry;

/// Why an entry isn't on record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the audit trail can't be written: {0}")]
pub struct AuditError(pub String);

/// The outcome of recording.
pub type Recorded = Result<(), AuditError>;

/// Takes entries.
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Takes note without making anybody wait. For what has happened anyway: refusals, starts, stops.
    fn tell(&self, entry: Entry);

    /// Takes note, and answers when the entry is on disk. For what must not happen unrecorded: its caller does
    /// nothing when this fails.
    fn record(&self, entry: Entry) -> BoxFuture<'static, Recorded>;

    /// Whether entries can be recorded at the moment: what needs one is refused before it is begun if not.
    fn is_writable(&self) -> Recorded;
}

/// Takes nothing: for tools that change nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl AuditSink for Discard {
    fn tell(&self, _: Entry) {}

    fn record(&self, _: Entry) -> BoxFuture<'static, Recorded> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn is_writable(&self) -> Recorded {
        Ok(())
    }
}
