//! `messaging.dead_letters`: how much is kept.

use serde::{Deserialize, Serialize};

use crate::{
    broker::{Flaw, flaw, zero_numbers},
    size::ByteSize,
};

/// The section `messaging.dead_letters`; the oldest make room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterSettings {
    /// Most messages kept.
    pub max_messages: usize,
    /// Most bytes of their payloads.
    pub max_bytes: ByteSize,
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self { max_messages: 10_000, max_bytes: ByteSize(64 << 20) }
    }
}

impl DeadLetterSettings {
    /// What can't work.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = zero_numbers([("max_messages", self.max_messages)]);
        if self.max_bytes < ByteSize(1 << 20) {
            flaws.push(flaw("max_bytes", "must be at least 1MiB, such as 64MiB"));
        }
        flaws
    }
}
