//! What devices say to the ledger.

use std::sync::Arc;

use actix::{Message, Recipient};
use bifrost_model::CommandResult;

use crate::{commands::Taken, supervision::Port};

/// Notes that a command begins; answers when that is on disk, with what is known of the id from before, or
/// why it couldn't be noted.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Option<Taken>, String>")]
pub(crate) struct Note {
    /// Whose command.
    pub(crate) device: Arc<str>,
    /// Its id.
    pub(crate) command_id: Arc<str>,
}

/// Notes a command's result; nobody waits for it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Conclude {
    /// Whose command.
    pub(crate) device: Arc<str>,
    /// What became of it.
    pub(crate) result: CommandResult,
}

/// The ledger's addresses.
#[derive(Debug, Clone)]
pub(crate) struct LedgerPorts {
    /// Commands that begin.
    pub(crate) note: Recipient<Note>,
    /// Commands that ended.
    pub(crate) conclude: Port<Conclude>,
}
