//! Probes, failing actors and scripted devices for tests, under virtual time.
//!
//! A [`Universe`] is one test's tree; a [`Plant`] adds the router, the sequence store and devices with
//! scripted drivers to it. Nothing here is part of the running gateway.

#![expect(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test's tool fails the test when it can't do its work"
)]

mod fake_spool;
mod mqtt;
mod plant;
mod probe;
mod script;
mod spool;
mod universe;
mod watcher;

pub use fake_spool::FakeSpool;
pub use mqtt::{MqttParts, STATUS_TOPIC, mqtt_session, outgoing};
pub use plant::{FakeDevice, Plant, adopt, device_settings, everything_of};
pub use probe::{Birthplace, Probe, Trick};
pub use script::{Mode, Script, WriteOutcome};
pub use spool::{FATAL, SpoolUnderTest};
pub use universe::{Universe, in_virtual_time, until};
pub use watcher::Watcher;
