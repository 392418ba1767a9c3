//! Real processes for tests: the gateway's own binary, third-party Modbus servers, simulated PLCs, a client
//! of the live feed.
//!
//! Everything listens on loopback at ports that the system chose, and ends with the value that stands for it.
//! Conditions are awaited with a deadline, never slept for. Knows how things are started and asked; what they
//! should answer is the tests' affair.

mod feed;
mod gateway;
mod http;
pub(crate) mod identity;
mod modbus;
mod plc;
mod process;

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) use feed::{Feed, Recorder, assert_no_gap, chatty, feed_request, numbers};
pub(crate) use gateway::{Gateway, Site};
pub(crate) use http::{Answer, ask, ask_as};
pub(crate) use modbus::{Libmodbus, Mbpoll, Pymodbus, SerialLine, register};
pub(crate) use plc::{Plc, counting};
pub(crate) use process::Process;

/// How long a condition is awaited: far longer than anything takes on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Asks again and again until there is something, which must be within [`PATIENCE`].
#[track_caller]
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(15));
    }
}

/// [`until`] for a condition without a result.
#[track_caller]
pub(crate) fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}
