//! What happened, and what needs somebody's attention.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Value};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Something doesn't work.
    Error,
    /// Somebody must act.
    Critical,
}

/// Something that happened at a point in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The device it is about; empty when it is about the gateway.
    pub device_id: Arc<str>,
    /// What happened, as programs see it: `device_connected`, `seq_skipped`, …
    pub event_type: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What happened, as people see it.
    pub message: String,
    /// Particulars, by event type.
    pub data: serde_json::Value,
}

impl Event {
    /// An event of this moment, without particulars.
    pub fn new(
        device_id: impl Into<Arc<str>>,
        event_type: &'static str,
        severity: Severity,
        message: impl Into<String>,
    ) -> Self {
        Self {
            device_id: device_id.into(),
            event_type,
            severity,
            timestamp: Timestamp::now(),
            message: message.into(),
            data: serde_json::Value::Object(serde_json::Map::new()),
        }
    }

    /// With particulars.
    #[must_use]
    pub fn with(mut self, data: serde_json::Value) -> Self {
        self.data = data;
        self
    }
}

/// Whether the cause of an alarm persists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// The cause persists.
    Active,
    /// The cause is gone.
    Cleared,
}

/// A condition that needs attention until it is gone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alarm {
    /// Same cause, same id.
    pub alarm_id: String,
    /// The device it is about; empty when it is about the gateway.
    pub device_id: Arc<str>,
    /// What is wrong, as programs see it: `actor_failed`, …
    pub alarm_type: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Whether the cause persists.
    pub state: AlarmState,
    /// When it came to this state.
    pub timestamp: Timestamp,
    /// What is wrong, as people see it.
    pub message: String,
    /// The value that raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The limit it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Whether somebody has taken note.
    pub acknowledged: bool,
}
