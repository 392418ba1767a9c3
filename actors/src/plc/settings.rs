//! What a user may say of a device and its tags.
//!
//! Only shapes and defaults; whether an address exists in a protocol is asked in [`super::compile`].

use std::{path::PathBuf, time::Duration};

use bifrost_drivers::modbus::ByteOrder;
use bifrost_model::{DataType, TagClass};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::tls::DeviceTlsSettings;

/// How a device is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Modbus/TCP.
    ModbusTcp,
    /// Modbus RTU on a serial port or, when the address is `host:port`, over TCP.
    ModbusRtu,
    /// Modbus/TCP Security.
    ModbusTls,
    /// OPC UA.
    Opcua,
    /// EtherNet/IP.
    EthernetIp,
}

impl Protocol {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ModbusTcp => "modbus-tcp",
            Self::ModbusRtu => "modbus-rtu",
            Self::ModbusTls => "modbus-tls",
            Self::Opcua => "opcua",
            Self::EthernetIp => "ethernet-ip",
        }
    }
}

/// An exception from what `industrial_security.protocol_encryption` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plaintext {
    /// This device is spoken to in plain.
    Allowed,
}

/// One device: a PLC, or one unit behind a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSettings {
    /// Unique within the gateway.
    pub id: String,
    /// For people; the id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// `host:port`, or a serial port such as `/dev/ttyUSB0?baud=9600&parity=even`.
    pub address: String,
    /// Modbus unit, 0 to 255.
    #[serde(default = "defaults::unit_id")]
    pub unit_id: u8,
    /// Whose device it is.
    #[serde(default = "defaults::tenant")]
    pub tenant: String,
    /// How often its tags are read.
    #[serde(default = "defaults::poll_interval", with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How long to wait for an answer.
    #[serde(default = "defaults::timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// How long to wait for a connection.
    #[serde(default = "defaults::connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Most registers asked for at once, 1 to 125.
    #[serde(default = "defaults::max_registers")]
    pub max_registers_per_request: u16,
    /// Most coils or discrete inputs asked for at once, 1 to 2000.
    #[serde(default = "defaults::max_bits")]
    pub max_bits_per_request: u16,
    /// Unused registers read to save a request.
    #[serde(default = "defaults::max_gap")]
    pub max_gap: u16,
    /// Pause between connecting and the first request.
    #[serde(default, with = "humantime_serde")]
    pub pause_after_connect: Duration,
    /// Pause between an answer and the next request on the connection.
    #[serde(default, with = "humantime_serde")]
    pub pause_between_requests: Duration,
    /// RTU: how long a unit that didn't answer in time is left alone, so that its late answer can't be taken
    /// for another's; absent: three times `timeout`.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub late_reply_wait: Option<Duration>,
    /// How often a request is repeated when the device says that it is busy (exception 05 or 06).
    #[serde(default = "defaults::busy_retries")]
    pub busy_retries: u32,
    /// Wait before such a repetition.
    #[serde(default = "defaults::busy_delay", with = "humantime_serde")]
    pub busy_delay: Duration,
    /// When an address that the device refused is tried again for the first time.
    #[serde(default = "defaults::hole_retry", with = "humantime_serde")]
    pub hole_retry: Duration,
    /// Longest pause between attempts at a device that doesn't answer.
    #[serde(default = "defaults::retry_max", with = "humantime_serde")]
    pub retry_max: Duration,
    /// Age of the last good value at which a tag becomes STALE; absent: three poll intervals, at least 3 s.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub stale_after: Option<Duration>,
    /// Age of the last good value at which a tag becomes BAD; absent: ten poll intervals, at least 30 s.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub bad_after: Option<Duration>,
    /// How the connection is encrypted; for `modbus-tls`, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<DeviceTlsSettings>,
    /// Whether the device may be spoken to in plain although `industrial_security` asks for encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<Plaintext>,
    /// What is read.
    #[serde(default)]
    pub tags: Vec<TagSettings>,
    /// More tags from a CSV file with the same columns, relative to the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags_file: Option<PathBuf>,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagSettings {
    /// Unique within the device.
    pub id: String,
    /// For people; the id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Modicon (`40001`) or explicit (`holding:0`), with `.N` for a bit.
    #[serde(deserialize_with = "text_or_number")]
    pub address: String,
    /// As stored in the device; absent: `bool` for bits, `uint16` for registers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<DataType>,
    /// Order of the bytes of a value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub byte_order: ByteOrder,
    /// Raw value times this …
    #[serde(default = "defaults::scale", skip_serializing_if = "defaults::is_scale")]
    pub scale: f64,
    /// … plus this is the value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offset: f64,
    /// Engineering unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Publish when moved by at least this; absent: every scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadband: Option<f64>,
    /// Instead of the device's.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<Duration>,
    /// Whether a command may write it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub writable: bool,
    /// Smallest value that may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest value that may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// How it is carried on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub class: TagClass,
    /// Whether its values stay out of the audit trail.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret: bool,
}

/// What is default isn't written: lists of tags are long.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// YAML reads `40001` without quotes as a number.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        _ => Err(de::Error::custom("an address is a text such as \"40001\" or holding:0")),
    }
}

mod defaults {
    use std::time::Duration;

    pub(super) fn unit_id() -> u8 {
        1
    }
    pub(super) fn tenant() -> String {
        "default".to_owned()
    }
    pub(super) fn poll_interval() -> Duration {
        Duration::from_secs(1)
    }
    pub(super) fn timeout() -> Duration {
        Duration::from_secs(1)
    }
    pub(super) fn connect_timeout() -> Duration {
        Duration::from_secs(3)
    }
    pub(super) fn max_registers() -> u16 {
        125
    }
    pub(super) fn max_bits() -> u16 {
        2000
    }
    pub(super) fn max_gap() -> u16 {
        8
    }
    pub(super) fn busy_retries() -> u32 {
        3
    }
    pub(super) fn busy_delay() -> Duration {
        Duration::from_millis(100)
    }
    pub(super) fn hole_retry() -> Duration {
        Duration::from_mins(10)
    }
    pub(super) fn retry_max() -> Duration {
        Duration::from_secs(5)
    }
    pub(super) fn scale() -> f64 {
        1.0
    }
    #[expect(clippy::trivially_copy_pass_by_ref, clippy::float_cmp, reason = "serde's signature; a setting")]
    pub(super) fn is_scale(scale: &f64) -> bool {
        *scale == self::scale()
    }
}
