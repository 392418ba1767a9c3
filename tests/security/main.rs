//! How the gateway is secured, from outside: the real binary over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[expect(dead_code, unused_imports, reason = "a harness for several binaries")]
#[path = "../harness/mod.rs"]
mod harness;

mod identity;
