//! Ports that nobody uses.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::LoadError;

/// Linux takes the ports of outgoing connections from 32768 on: below, none of the thousands made here can
/// take a port before its server does.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// A free port beyond that range, which a gateway takes at once.
pub(super) fn free() -> Result<u16, LoadError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(LoadError::at("a free port"))
}

/// The first of `count` free ports in a row.
pub(super) fn free_in_a_row(count: u16) -> Result<u16, LoadError> {
    let (mut first, mut next) = (RANGE.start, RANGE.start);
    while next < RANGE.end {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok();
        next += 1;
        if !free {
            first = next;
        } else if next - first == count {
            return Ok(first);
        }
    }
    Err(LoadError::Ports(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the search itself holds each port for a moment.
    #[test]
    fn ports_in_use_are_passed_over_and_more_than_there_are_is_an_error() {
        let first = free_in_a_row(3).unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 1)).unwrap();
        let second = free_in_a_row(3).unwrap();
        drop(taken);
        assert!(!(second..second + 3).contains(&(first + 1)), "{second} after {first}");
        assert!(matches!(free_in_a_row(60_000), Err(LoadError::Ports(60_000))));
    }
}
