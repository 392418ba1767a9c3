//! What can be said to a device's actor, and what it says of itself.

use std::sync::Arc;

use actix::{Message, Recipient};
use bifrost_drivers::{DeviceError, modbus::Point};
use bifrost_model::{Command, CommandResult, Timestamp};
use serde::Serialize;

use crate::{commands::Origin, router::LastTag};

/// Writes one tag. Always answered; a command that isn't carried out says why.
#[derive(Debug, Clone, Message)]
#[rtype(result = "CommandResult")]
pub struct WriteTag {
    /// What is to be written.
    pub command: Command,
    /// Whether its sender gave its id, and may send it again: such an id is remembered, over restarts too.
    pub given_id: bool,
    /// Whom the result's event names.
    pub origin: Origin,
}

/// Reads tags from the device now, outside the schedule.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<LastTag>, DeviceError>")]
pub struct ReadTags(pub Vec<u32>);

/// Reads a point that is no configured tag.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<PointReading, DeviceError>")]
pub struct ReadPoint(pub Point);

/// What a point that is no tag holds.
#[derive(Debug, Clone, PartialEq)]
pub struct PointReading {
    /// In engineering units.
    pub reading: bifrost_model::Reading,
    /// When it was read.
    pub timestamp: Timestamp,
}

/// Asks a device's actor for everything it knows of its device.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "DeviceObservation")]
pub struct ObserveDevice;

/// Forgets refused addresses and learned limits, so that they are tried again at once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ForgetLearned;

/// The addresses of a device's actor.
#[derive(Debug, Clone)]
pub struct DevicePorts {
    /// Writes.
    pub write: Recipient<WriteTag>,
    /// Reads now.
    pub read: Recipient<ReadTags>,
    /// Reads something else now.
    pub read_point: Recipient<ReadPoint>,
    /// Tells what it knows.
    pub observe: Recipient<ObserveDevice>,
    /// Forgets what it learned.
    pub forget: Recipient<ForgetLearned>,
}

/// Whether a device can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Not asked yet.
    Starting,
    /// The last scan was answered.
    Online,
    /// It answers, but not every request of the last scan.
    Degraded,
    /// It doesn't answer, or can't be reached.
    Offline,
}

/// Whether a device can be reached, since when, and why not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceStatus {
    /// Which device.
    pub device_id: Arc<str>,
    /// Derived from the last answer, never from an open socket alone.
    pub connected: bool,
    /// More precisely.
    pub state: DeviceState,
    /// When the device last answered.
    pub last_seen: Option<Timestamp>,
    /// What went wrong last; `None` while all is well.
    pub last_error: Option<String>,
    /// When this state began.
    pub since: Timestamp,
}

/// Counters of one device since its actor was last built.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DeviceStats {
    /// Requests sent, or tried.
    pub requests_total: u64,
    /// Requests that the device answered, refusals too.
    pub requests_successful: u64,
    /// Requests that brought no valid answer.
    pub requests_failed: u64,
    /// Refusals (exception answers) among the answered.
    pub requests_refused: u64,
    /// Mean time from a request's start to its answer, in milliseconds, waiting for the connection included.
    pub avg_response_time: f64,
    /// Slowest answer, in milliseconds.
    pub max_response_time: f64,
    /// Scans that came to their end.
    pub scans_total: u64,
    /// Scans that were cut off.
    pub scans_failed: u64,
    /// Scans left out because the one before was still running.
    pub overruns: u64,
    /// Tags read with a usable value.
    pub tags_read: u64,
    /// Tags read without.
    pub tag_failures: u64,
    /// Writes that the device acknowledged.
    pub writes_ok: u64,
    /// Writes refused, failed, expired or repeated.
    pub writes_not_ok: u64,
    /// Scans that the router's full mailbox didn't take.
    pub batches_dropped: u64,
    /// How late the last scan began, in milliseconds.
    pub last_scan_delay: f64,
    /// How late the latest scan began, in milliseconds.
    pub max_scan_delay: f64,
}

/// Everything that a device's actor knows of its device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceObservation {
    /// Whether it can be reached.
    pub status: DeviceStatus,
    /// Counters.
    pub stats: DeviceStats,
    /// What the driver learned, and how reads are planned now.
    pub learned: serde_json::Value,
    /// Next number that a published scan will have; `None` until numbers are reserved.
    pub next_seq: Option<u64>,
    /// Commands that wait for the device or are being carried out.
    pub writes_pending: usize,
}
