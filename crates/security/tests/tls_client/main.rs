//! The client's side of TLS against a server that is good, bad, or none at all.

#[cfg(test)]
#[path = "../../../../tests/harness/certificates.rs"]
#[expect(dead_code, reason = "shared with tests that need other parts of it")]
mod certificates;
#[cfg(test)]
mod files;
#[cfg(test)]
mod handshakes;
