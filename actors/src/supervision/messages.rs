//! What every supervised actor understands, and what the tree tells of itself.

use actix::{Message, Recipient};
use bifrost_model::Timestamp;
use serde::Serialize;

use super::policy::ChildKind;

/// Are you alive? An actor that doesn't answer within its limit hangs, and is rebuilt.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Finish what you hold and stop.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// What do you see of yourself?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Observation")]
pub struct Observe;

/// A serialisable snapshot of an actor's state.
#[derive(Debug, Clone, PartialEq, Serialize, actix::MessageResponse)]
pub struct Observation(pub serde_json::Value);

/// The addresses by which the tree reaches a child.
#[derive(Debug, Clone)]
pub struct ControlPorts {
    /// For the watchdog.
    pub ping: Recipient<Ping>,
    /// To end it.
    pub stop: Recipient<Stop>,
    /// To look at it.
    pub observe: Recipient<Observe>,
}

/// What a child is doing, from its supervisor's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChildState {
    /// Built and answering, or being built for the first time.
    Running,
    /// Ended, waiting to be rebuilt or being rebuilt.
    Backoff,
    /// Ended by hand.
    Stopped,
    /// Failed too often; rebuilt only slowly, or not at all.
    Failed,
}

/// One node of the tree with all that is below it.
#[derive(Debug, Clone, Serialize)]
pub struct NodeSnapshot {
    /// From the root, percent-encoded names joined by slashes.
    pub path: String,
    /// Which row of the policy table applies.
    pub kind: ChildKind,
    /// What it is doing.
    pub state: ChildState,
    /// How often it was rebuilt.
    pub restarts: u64,
    /// Why it ended last.
    pub last_error: Option<String>,
    /// When it came to this state.
    pub since: Timestamp,
    /// What its mailbox holds at most, and what it didn't take; `None` for a branch.
    pub mailbox: Option<MailboxSnapshot>,
    /// What the actor sees of itself, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
    /// In start order.
    pub children: Vec<NodeSnapshot>,
}

/// A mailbox's bound, and what was dropped because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MailboxSnapshot {
    /// Most messages that wait.
    pub capacity: usize,
    /// Messages that found it full, since the node was added.
    pub dropped: u64,
}
