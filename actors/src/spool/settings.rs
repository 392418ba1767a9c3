//! `messaging.spool`: what is kept while no broker takes it, and what always is.

use std::time::Duration;

use bifrost_model::TagClass;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{Flaw, flaw, zero_durations, zero_numbers},
    size::ByteSize,
};

/// The section `messaging.spool`; holds for each broker by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolSettings {
    /// Most bytes on disk, per broker.
    pub max_bytes: ByteSize,
    /// Older messages are dropped.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// What happens at `max_bytes`.
    pub on_full: OnFull,
    /// When messages of each class go to disk.
    pub modes: Modes,
    /// Most bytes of messages that wait in memory, per broker.
    pub max_memory: ByteSize,
    /// Most bytes of messages that are handed to the broker and not acknowledged.
    pub max_in_flight: ByteSize,
    /// After so long without an acknowledgement, what waits goes to disk.
    #[serde(with = "humantime_serde")]
    pub stall_after: Duration,
    /// After an outage: values per second that are sent from disk beside the live ones.
    pub replay_rate: usize,
    /// A file on disk is closed and the next begun at about this size; the oldest is dropped as a whole.
    pub segment_bytes: ByteSize,
}

/// When messages of each class go to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Modes {
    /// Of telemetry.
    pub telemetry: Mode,
    /// Of status, and of events and alarms.
    pub status: Mode,
    /// Of critical tags.
    pub critical: Mode,
}

/// When a message goes to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// In memory while it is acknowledged soon; on disk as soon as acknowledgements stall, and on shutdown.
    OnOutage,
    /// On disk before it is sent.
    Always,
}

/// What happens when the spool is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// The oldest messages make room.
    #[default]
    DropOldest,
    /// New messages are refused.
    RefuseNew,
}

impl Default for Modes {
    fn default() -> Self {
        Self { telemetry: Mode::OnOutage, status: Mode::Always, critical: Mode::Always }
    }
}

impl Modes {
    /// That of a class.
    pub fn of(&self, class: TagClass) -> Mode {
        match class {
            TagClass::Telemetry => self.telemetry,
            TagClass::Status => self.status,
            TagClass::Critical => self.critical,
        }
    }
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize(1 << 30),
            max_age: Duration::from_hours(7 * 24),
            on_full: OnFull::default(),
            modes: Modes::default(),
            max_memory: ByteSize(16 << 20),
            max_in_flight: ByteSize(4 << 20),
            stall_after: Duration::from_secs(2),
            replay_rate: 250_000,
            segment_bytes: ByteSize(16 << 20),
        }
    }
}

impl SpoolSettings {
    /// What can't work.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = zero_durations([("max_age", self.max_age), ("stall_after", self.stall_after)]);
        flaws.extend(zero_numbers([("replay_rate", self.replay_rate)]));
        if self.max_bytes < ByteSize(1 << 20) {
            flaws.push(flaw("max_bytes", "must be at least 1MiB, such as 1GiB"));
        }
        if self.max_memory < ByteSize(64 << 10) {
            flaws.push(flaw("max_memory", "must be at least 64KiB, such as 16MiB"));
        }
        if self.max_in_flight < ByteSize(4 << 10) {
            flaws.push(flaw("max_in_flight", "must be at least 4KiB, such as 4MiB"));
        }
        if self.segment_bytes < ByteSize(64 << 10) {
            flaws.push(flaw("segment_bytes", "must be at least 64KiB, such as 16MiB"));
        }
        flaws
    }

    /// The size of a file: a quarter of everything at most, since the oldest is dropped as a whole.
    pub(crate) fn segment(&self) -> u64 {
        self.segment_bytes.0.min(self.max_bytes.0 / 4)
    }
}
