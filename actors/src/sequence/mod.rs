//! Sequence numbers that never repeat, whatever happens to the process or the machine.
//!
//! Numbers are reserved on disk in blocks before the first of them is used; the last number used is noted
//! beside, without waiting for the disk. After a clean stop counting goes on without a gap, after a crash at
//! the next block, and the numbers in between are named in an event.

mod actor;
mod file;

pub(crate) use actor::{Block, Extend, Open, SequencePorts, spec};
pub use file::SequenceError;
