//! Certificates while the gateway runs: how long each lasts, files that are replaced, and renewal in time.
//!
//! How they are made and loaded is `bifrost_security`'s.

mod actor;
mod inventory;
mod renewal;
mod settings;
mod watch;

pub use inventory::{CertificateRow, CertificateState};
pub use settings::{IssuerSettings, RotatorSettings};

pub(crate) use actor::{Parts, Shown, spec};
pub(crate) use inventory::Use;
