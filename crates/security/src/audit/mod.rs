//! The audit trail: what is recorded, and who takes it.

mod entry;
mod sink;

pub use entry::{Category, Channel, Entry, Outcome, Source};
pub use sink::{AuditError, AuditSink, Discard, Recorded};
