//! One actor per device: it knows when to read, what a reading is worth, and in which order commands go.
//!
//! How to read is the driver's knowledge, and the connection is the [link](crate::link)'s. Settings are
//! compiled once ([`compile`]); pure rules have files of their own: [`schedule`] for time, [`quality`] for
//! trust, `commands` for writes.

mod actor;
mod commands;
mod compile;
mod messages;
pub mod quality;
mod scan;
pub mod schedule;
mod settings;
mod stats;
mod tls;
mod turns;
mod write;

pub(crate) use actor::{Parts, Shared, modbus, spec};
pub use compile::{CompiledDevice, Group, RuleBook, SettingsProblem, TagRules, compile};
pub use messages::{
    DeviceObservation, DevicePorts, DeviceState, DeviceStats, DeviceStatus, ForgetLearned, ObserveDevice,
    PointReading, ReadPoint, ReadTags, WriteTag,
};
pub use settings::{DeviceSettings, Plaintext, Protocol, TagSettings};
pub use tls::DeviceTlsSettings;
pub(crate) use write::command_limit;
