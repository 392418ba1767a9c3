//! The audit trail while the gateway runs: takes entries from everybody, and writes them.
//!
//! What is written how is `bifrost_security`'s; who may read it is REST's.

mod actor;
mod clock;
mod handle;
mod settings;
mod writer;

pub use handle::Audit;
pub use settings::AuditSettings;

pub(crate) use actor::{Parts, spec};
