//! Certificates, HTTPS and who may come in: the binary against the tools that others test servers with.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with tests that need other parts of it")]
mod harness;

mod authority;
mod https;
mod pki;
mod scanners;
