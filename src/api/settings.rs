//! What an operator may say of the HTTP interface.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::ByteSize;

/// Bounds and times of the HTTP interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// Threads that serve HTTP. One answers some ten thousand requests a second.
    pub workers: usize,
    /// Connections open at a time, per worker; more wait to be accepted. `gateway.performance.max_connections`.
    #[serde(skip)]
    pub max_connections: usize,
    /// WebSocket clients at a time.
    pub websocket_max_clients: usize,
    /// Largest body of a request.
    pub max_body: ByteSize,
    /// How long an idle connection is kept for another request; zero: not at all.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// How long a client may take to send a request's headers, and again for its body.
    /// `gateway.performance.read_timeout`.
    #[serde(skip)]
    pub client_request_timeout: Duration,
    /// How long an answer may take to be made. `gateway.performance.write_timeout`.
    #[serde(skip)]
    pub request_timeout: Duration,
    /// How long a TLS handshake may take. `gateway.performance.handshake_timeout`.
    #[serde(skip)]
    pub handshake_timeout: Duration,
    /// Whether every request is on record. `industrial_security.audit_all_operations`.
    #[serde(skip)]
    pub record_everything: bool,
    /// How long a device's actor may take to describe its device before the device counts as offline.
    #[serde(with = "humantime_serde")]
    pub observe_timeout: Duration,
    /// How long requests under way may take when the server stops.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// Entries of a page when the client names no `limit`.
    pub page_limit_default: usize,
    /// Largest `limit`.
    pub page_limit_max: usize,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            workers: 1,
            max_connections: 1000,
            websocket_max_clients: 100,
            max_body: ByteSize(1 << 20),
            keep_alive: Duration::from_secs(30),
            client_request_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(5),
            record_everything: false,
            observe_timeout: Duration::from_millis(500),
            shutdown_timeout: Duration::from_secs(5),
            page_limit_default: 100,
            page_limit_max: 1000,
        }
    }
}

impl ApiSettings {
    /// Every key with a value that can't work, and why.
    pub fn validate(&self) -> Vec<(&'static str, &'static str)> {
        let at_least_one = "must be at least 1";
        let some_time = "must be more than zero, such as 5s";
        let checks = [
            ("workers", self.workers == 0, at_least_one),
            ("max_body", self.max_body.0 < 1024, "must be at least 1KiB, or no device can be configured"),
            ("observe_timeout", self.observe_timeout.is_zero(), some_time),
            ("page_limit_default", self.page_limit_default == 0, at_least_one),
            (
                "page_limit_max",
                self.page_limit_max < self.page_limit_default,
                "must be at least page_limit_default",
            ),
        ];
        checks.into_iter().filter(|(_, wrong, _)| *wrong).map(|(key, _, problem)| (key, problem)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_work() {
        assert_eq!(ApiSettings::default().validate(), []);
    }

    #[test]
    fn every_value_that_cannot_work_is_named() {
        let settings = ApiSettings {
            workers: 0,
            max_body: ByteSize(10),
            observe_timeout: Duration::ZERO,
            page_limit_max: 1,
            ..ApiSettings::default()
        };
        let keys: Vec<_> = settings.validate().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["workers", "max_body", "observe_timeout", "page_limit_max"]);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<ApiSettings>(r#"{"max_bodies":1}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `max_bodies`"), "{error}");
    }
}
