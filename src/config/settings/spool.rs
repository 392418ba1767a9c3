//! `messaging.spool`: what is kept while no broker takes it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ByteSize, Flaw, flaw, zero_durations};

/// The section `messaging.spool`.
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

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize(1 << 30),
            max_age: Duration::from_hours(7 * 24),
            on_full: OnFull::default(),
        }
    }
}

impl SpoolSettings {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = zero_durations([("max_age", self.max_age)]);
        if self.max_bytes < ByteSize(1 << 20) {
            flaws.push(flaw("max_bytes", "must be at least 1MiB, such as 1GiB"));
        }
        flaws
    }
}
