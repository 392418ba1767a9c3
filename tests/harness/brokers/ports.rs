//! Ports that a broker can keep over its restarts.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Linux takes the ports of outgoing connections from 32768 on: below, nobody takes a port while its broker
/// is away.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on, and that no other test of this process was given. Test programs that run
/// beside this one begin elsewhere.
pub(super) fn free() -> u16 {
    let begin = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    let candidates = (0..COUNT).map(|_| {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        FIRST + u16::try_from((u32::from(begin) * 37 + u32::from(turn)) % u32::from(COUNT)).unwrap()
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.into_iter().find(is_free).expect("a port is free")
}
