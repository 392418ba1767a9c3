//! How much of the trail is kept, and how often it is signed.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::size::ByteSize;

/// The section `security.audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// Where the trail is; absent: `audit` in `gateway.data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Longest time until what was recorded is covered by a checkpoint.
    #[serde(with = "humantime_serde")]
    pub checkpoint_interval: Duration,
    /// Most records until then.
    pub checkpoint_records: u64,
    /// A file elsewhere to which each checkpoint is appended as well, such as on another machine's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_file: Option<PathBuf>,
    /// Size at which a new segment is begun.
    pub segment_bytes: ByteSize,
    /// Room for the trail; beyond, the oldest segments go, and the trail says so.
    pub max_bytes: ByteSize,
    /// Age beyond which segments go; absent: they stay while there is room.
    #[serde(with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// Share of `max_bytes` in percent from which on an alarm warns.
    pub warn_percent: u8,
    /// Entries that wait for the disk; beyond, they are lost, counted, and told in the trail.
    pub queue: usize,
    /// Whether a write to a device waits until it is on record; else it is recorded with its result.
    pub record_writes_first: bool,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            folder: None,
            checkpoint_interval: Duration::from_mins(1),
            checkpoint_records: 1000,
            checkpoint_file: None,
            segment_bytes: ByteSize(16 << 20),
            max_bytes: ByteSize(1 << 30),
            max_age: None,
            warn_percent: 80,
            queue: 10_000,
            record_writes_first: false,
        }
    }
}

impl AuditSettings {
    /// Every key with a value that can't work, and why.
    pub fn validate(&self) -> Vec<(&'static str, &'static str)> {
        let some_time = "must be more than zero, such as 1m";
        let checks = [
            ("checkpoint_interval", self.checkpoint_interval.is_zero(), some_time),
            ("checkpoint_records", self.checkpoint_records == 0, "must be at least 1"),
            ("segment_bytes", self.segment_bytes.0 < 64 << 10, "must be at least 64KiB"),
            (
                "max_bytes",
                self.max_bytes.0 < self.segment_bytes.0.saturating_mul(4),
                "must be at least four times segment_bytes: whole segments go",
            ),
            ("max_age", self.max_age.is_some_and(|age| age.is_zero()), some_time),
            ("warn_percent", !(1..=100).contains(&self.warn_percent), "must be from 1 to 100"),
            ("queue", self.queue == 0, "must be at least 1"),
        ];
        checks.into_iter().filter(|(_, wrong, _)| *wrong).map(|(key, _, problem)| (key, problem)).collect()
    }
}
