//! The gateway from end to end, as its users meet it: the real binary, real sockets, third-party servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod actors;
mod changes;
mod commands;
mod demo;
mod discovery;
mod faults;
mod feed;
mod late_replies;
mod learning;
mod ledger;
mod lifecycle;
mod many;
mod reading;
mod recovery;
mod sequence;
mod writing;
