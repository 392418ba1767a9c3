//! The audit trail: what is recorded, how it is kept, and how it is checked.
//!
//! Records are lines of JSON, each signed, and leaves of one Merkle tree (RFC 6962). Checkpoints of the tree
//! (C2SP `tlog-checkpoint`, signed with Ed25519) are kept beside the records and wherever else somebody keeps
//! them: whoever has one can show that a trail was cut off, rolled back or written anew, even by somebody who
//! has stolen the key. Files alone; who records when is the actor's affair.

mod cef;
mod checkpoint;
mod entry;
mod folder;
pub mod merkle;
mod note;
mod opening;
mod proof;
mod query;
mod record;
mod sink;
mod trail;
mod verify;

pub use cef::cef;
pub use checkpoint::Checkpoint;
pub use entry::{Category, Channel, Entry, Outcome, Source};
pub use folder::kept_checkpoints;
pub use note::{NoteError, SigningKey, VerifierKey};
pub use opening::Finding;
pub use proof::{Proof, ProofError, prove};
pub use query::{Query, each, find};
pub use record::{LineError, Record};
pub use sink::{AuditError, AuditSink, Discard, Recorded};
pub use trail::{PUBLIC_KEY, Trail, TrailError, TrailSettings};
pub use verify::{Fault, Verification, verify};

#[cfg(test)]
mod tests;
