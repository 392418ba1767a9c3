//! `api`: bounds of REST and of the live feed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ByteSize, Flaw, flaw, zero_durations, zero_numbers};

/// The section `api`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// Largest body of a request.
    pub max_body: ByteSize,
    /// Most entries in one page of a list.
    pub page_limit: usize,
    /// Longest time that answering a request may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// WebSocket clients at a time; more are refused.
    pub websocket_max_clients: usize,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            max_body: ByteSize(1 << 20),
            page_limit: 1000,
            request_timeout: Duration::from_secs(30),
            websocket_max_clients: 100,
        }
    }
}

impl ApiSettings {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = zero_numbers([
            ("page_limit", self.page_limit),
            ("websocket_max_clients", self.websocket_max_clients),
        ]);
        flaws.extend(zero_durations([("request_timeout", self.request_timeout)]));
        if self.max_body < ByteSize(1024) {
            flaws.push(flaw("max_body", "must be at least 1KiB, or no device can be added"));
        }
        flaws
    }
}
