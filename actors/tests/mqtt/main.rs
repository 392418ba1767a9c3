//! The MQTT session against a real mosquitto, and against scripted servers for what mosquitto doesn't do.
//!
//! Real time throughout: the client library has threads and clocks of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

mod bench;
mod broker;
#[path = "../../../tests/harness/certificates.rs"]
#[expect(dead_code, reason = "shared with tests that need other parts of it")]
mod certificates;
mod commands;
mod connecting;
mod delivery;
mod liveness;
mod observer;
mod scripted;
mod status;
mod tls;
mod websocket;
