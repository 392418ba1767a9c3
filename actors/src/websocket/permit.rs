//! What a client may hear, as long as it may.
//!
//! Asked again and again while the client is there: who decides is outside, and may change their mind.

use std::fmt;

use crate::router::Topics;

/// What a client may hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// `device_data`.
    pub tags: bool,
    /// `device_status`.
    pub devices: bool,
    /// `events` and `alarms`.
    pub events: bool,
}

impl Allowed {
    /// The first topic that is wanted and not allowed.
    pub(super) fn refuses(self, topics: Topics) -> Option<&'static str> {
        let checks = [
            ("device_data", topics.device_data, self.tags),
            ("device_status", topics.device_status, self.devices),
            ("events", topics.events, self.events),
            ("alarms", topics.alarms, self.events),
        ];
        checks.into_iter().find(|(_, wanted, allowed)| *wanted && !*allowed).map(|(topic, ..)| topic)
    }
}

/// Tells what a client may hear now; nothing when it has to go.
pub struct Permit(Box<dyn Fn() -> Option<Allowed>>);

impl Permit {
    /// From whoever decides.
    pub fn new(ask: impl Fn() -> Option<Allowed> + 'static) -> Self {
        Self(Box::new(ask))
    }

    /// What it may hear now.
    pub(super) fn now(&self) -> Option<Allowed> {
        (self.0)()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit(…)")
    }
}
