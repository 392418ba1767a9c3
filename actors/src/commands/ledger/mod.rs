//! Remembers command ids on disk, so that none is carried out twice, however the process ends.
//!
//! An id that its sender gave is noted before anything is sent to the device, and the result after it. What
//! arrives while the disk writes goes into the next transaction. While the disk takes nothing, commands with
//! an id are refused, since a repetition couldn't be told; those without one go on.

mod actor;
mod file;
mod messages;

pub(crate) use actor::{Parts, spec};
pub(crate) use messages::{Conclude, LedgerPorts, Note};
