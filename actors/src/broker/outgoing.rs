//! One message on its way to a broker.

use std::sync::Arc;

use bifrost_model::{TagClass, Timestamp};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// How much a message matters: selects its quality of service, and when it goes to disk.
pub type Class = TagClass;

const COLON: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// What a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Values of tags.
    Telemetry,
    /// Something happened; the result of a command too.
    Event,
    /// An alarm came, went or was acknowledged.
    Alarm,
    /// Figures of the gateway and its devices: never kept on disk, since newer ones come.
    Diagnostics,
    /// What doesn't change from scan to scan: a device's tags, the gateway's birth. Never kept on disk,
    /// since it is told anew at each connection.
    Description,
}

/// One message on its way to a broker: made once per sink, shared behind an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The topic or subject, placeholders filled in and ids percent-encoded.
    pub topic: Arc<str>,
    /// A JSON object; what is replayed from disk has `"is_historical":true` added when it is sent.
    pub payload: Bytes,
    /// What it carries.
    pub kind: Kind,
    /// How much it matters; of several tags in one message the most.
    pub class: Class,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// The device it is of; empty: the gateway.
    pub device: Arc<str>,
    /// The scan it is of; 0: of none.
    pub seq: u64,
    /// How many values it carries.
    pub values: u32,
    /// Distinguishes messages of one scan of one device for [`Self::id`]: the tag's id, empty for a whole scan,
    /// and for values of it that were held back, what let them go.
    pub part: Arc<str>,
    /// When it was made.
    pub made: Timestamp,
    /// Whether it is sent after newer ones, because it waited on disk.
    pub historical: bool,
}

impl Outgoing {
    /// The same for every attempt to send it, and of no other message: what `JetStream` tells duplicates by.
    pub fn id(&self, gateway_id: &str) -> String {
        let device = &self.device;
        match (self.kind, self.seq, self.part.is_empty()) {
            (Kind::Telemetry, seq @ 1.., true) => format!("{gateway_id}-{device}-{seq}"),
            // What stands behind the last colon is the part's alone, whatever ids hold.
            (Kind::Telemetry, seq @ 1.., false) => {
                let part = utf8_percent_encode(&self.part, COLON);
                format!("{gateway_id}-{device}-{seq}:{part}")
            }
            _ => format!("{gateway_id}-{device}-{}:{}", self.made.as_micros(), self.part),
        }
    }

    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        self.payload.len() + self.topic.len() + 160
    }
}
