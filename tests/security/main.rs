//! What is encrypted, who is let in and what is proven, from end to end: the real binary, real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../harness/certificates.rs"]
#[expect(dead_code, reason = "shared with tests that need other parts of it")]
mod certificates;
#[path = "../harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with tests that need other parts of it")]
mod harness;

mod audit;
mod authority;
mod flood;
mod https;
mod identity;
mod modbus_tls;
mod pki;
mod rotation;
mod scanners;
