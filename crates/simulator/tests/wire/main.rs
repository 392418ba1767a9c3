//! The simulator seen from outside, through real sockets and pseudo terminals.

#[cfg(test)]
#[path = "../../../../tests/harness/certificates.rs"]
#[expect(dead_code, reason = "shared with tests that need other parts of it")]
mod certificates;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod third_party;
#[cfg(test)]
mod tls;
