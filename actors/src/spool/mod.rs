//! Store and forward, one for each broker session: what can't be sent now waits in memory, then on disk.

mod settings;

pub use settings::{Mode, Modes, OnFull, SpoolSettings};
