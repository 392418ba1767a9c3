//! REST over a real socket, against a running gateway that reads a simulated PLC over real Modbus/TCP.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what the bench needs and doesn't get ends a test"
)]

mod actors;
mod bench;
mod config;
mod description;
mod devices;
mod discovery;
mod events;
#[path = "../harness/identity.rs"]
mod identity;
mod letters;
mod limits;
mod live;
mod operation;
mod tags;
