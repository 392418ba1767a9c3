//! What can be asked of a spool beside what its session says.

use std::sync::Arc;

use actix::{Message, Recipient};
use bifrost_model::Timestamp;
use serde::Serialize;

use super::losses::LastDrop;
use crate::broker::Requeue;

/// Asks for a report.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SpoolReport")]
pub struct ReportSpool;

/// What waits for one broker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpoolReport {
    /// The session's name.
    pub session: Arc<str>,
    /// What it is doing.
    pub state: SpoolState,
    /// Whether the session's connection is up.
    pub connected: bool,
    /// What waits.
    pub depth: Depth,
    /// Messages that were handed to the session and aren't acknowledged.
    pub in_flight: usize,
    /// When the oldest message on disk was made.
    pub oldest: Option<Timestamp>,
    /// What was lost since the gateway started.
    pub dropped: DroppedReport,
    /// Bytes written to disk for each value that was kept there, since the gateway started.
    pub written_bytes_per_value: Option<f64>,
    /// What isn't acknowledged, as ranges of `seq` per device.
    pub pending: Vec<PendingRange>,
    /// Whether there are more.
    pub pending_truncated: bool,
    /// What is being sent from disk.
    pub replay: ReplayReport,
    /// Why the disk doesn't take what it should.
    pub disk_error: Option<String>,
}

/// What a spool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpoolState {
    /// Messages go out as they come.
    Live,
    /// Live messages go out, and what waited on disk beside them.
    Replaying,
    /// Nothing is acknowledged: what comes goes to disk.
    Spooling,
    /// The connection isn't up, since too short a time for the disk.
    Waiting,
}

/// What waits, where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// In memory.
    pub memory_messages: usize,
    /// Of these.
    pub memory_bytes: usize,
    /// On disk.
    pub disk_messages: u64,
    /// In these.
    pub disk_values: u64,
    /// All files together.
    pub disk_bytes: u64,
}

/// What was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DroppedReport {
    /// Messages.
    pub messages: u64,
    /// Values in them.
    pub values: u64,
    /// The last time.
    pub last: Option<LastDrop>,
}

/// Scans of a device that aren't acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingRange {
    /// Which device.
    pub device_id: Arc<str>,
    /// From this number …
    pub from: u64,
    /// … to this.
    pub to: u64,
}

/// What is being sent from disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Whether anything is.
    pub active: bool,
    /// At most.
    pub values_per_second: usize,
}

/// The addresses of a spool beside those for its session.
#[derive(Debug, Clone)]
pub struct SpoolDesk {
    /// Reports.
    pub report: Recipient<ReportSpool>,
    /// Dead letters that are tried again.
    pub requeue: Recipient<Requeue>,
}
