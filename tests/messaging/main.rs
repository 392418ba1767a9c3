//! Messages through real brokers: mosquitto, and both versions of nats-server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with tests that need other parts of it")]
mod harness;

#[path = "../harness/brokers/mod.rs"]
mod brokers;

mod account;
mod bench;
mod clock;
mod cluster;
mod commands;
mod delivery;
mod disk;
mod kill;
mod network;
mod outage;
mod plant;
mod refusal;
mod restarts;
mod selection;
mod starting;
