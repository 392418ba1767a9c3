//! Orders to write a tag, and what became of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Value};

/// An order to write one tag.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Given by the sender, or made up for them; the same id is carried out once.
    pub command_id: Arc<str>,
    /// Which tag of the device.
    pub tag_id: Arc<str>,
    /// In engineering units.
    pub value: Value,
    /// Not to be carried out after this.
    pub expires_at: Option<Timestamp>,
    /// Whether to read the tag afterwards.
    pub read_back: bool,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandStatus {
    /// The device acknowledged it.
    Ok,
    /// Refused before anything was sent.
    Rejected,
    /// Sent or tried, and not acknowledged.
    Failed,
    /// Too late to be carried out.
    Expired,
    /// This id was seen before.
    Duplicate,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandResult {
    /// The command's id.
    pub command_id: Arc<str>,
    /// What became of it.
    pub status: CommandStatus,
    /// Why it isn't `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the device holds afterwards, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_back: Option<Value>,
    /// When it was decided.
    pub timestamp: Timestamp,
}

impl CommandResult {
    /// Acknowledged by the device.
    pub fn ok(command_id: Arc<str>, read_back: Option<Value>) -> Self {
        Self { command_id, status: CommandStatus::Ok, error: None, read_back, timestamp: Timestamp::now() }
    }

    /// Not carried out, or not to its end.
    pub fn not_ok(command_id: Arc<str>, status: CommandStatus, error: impl Into<String>) -> Self {
        Self { command_id, status, error: Some(error.into()), read_back: None, timestamp: Timestamp::now() }
    }
}
