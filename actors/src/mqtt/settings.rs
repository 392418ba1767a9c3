//! `messaging.mqtt`: one MQTT broker, and what goes there.

use std::{path::PathBuf, time::Duration};

use bifrost_model::TagClass;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{
        CommandSettings, DownsampleSettings, FilterSettings, Flaw, Secret, TlsSettings, below, flaw,
        template::{IN_CLIENT_IDS, Purpose, placeholders, topic, url},
        zero_durations, zero_numbers,
    },
    size::ByteSize,
    spool::SpoolSettings,
};

/// One MQTT broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as people write them")]
pub struct MqttSettings {
    /// Names the session in paths, metrics and on disk; absent: `mqtt`, or `mqtt-2` and so on in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is used.
    #[serde(default = "defaults::yes")]
    pub enabled: bool,
    /// Its URL, such as `tls://mqtt.example.com:8883`.
    pub broker: String,
    /// URLs that are tried in turn when that one can't be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failover: Vec<String>,
    /// Client id, with placeholders.
    #[serde(default = "defaults::client_id")]
    pub client_id: String,
    /// User name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Environment variable that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// Version of the protocol.
    #[serde(default)]
    pub version: Version,
    /// How often the broker is asked whether it lives; without an answer for half as long again the
    /// connection is given up.
    #[serde(default = "defaults::keep_alive", with = "humantime_serde")]
    pub keep_alive: Duration,
    /// Longest time that connecting may take.
    #[serde(default = "defaults::connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// A connection on which nothing is acknowledged for so long, though something waits, is given up.
    #[serde(default = "defaults::ack_timeout", with = "humantime_serde")]
    pub ack_timeout: Duration,
    /// Most messages that wait for an acknowledgement at a time.
    #[serde(default = "defaults::window")]
    pub window: usize,
    /// Largest message that is sent; the broker's own limit holds besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packet_size: Option<ByteSize>,
    /// MQTT 5: the broker drops what it couldn't hand on within this time.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub message_expiry: Option<Duration>,
    /// MQTT 5: whether topics are sent once and then by number, as far as the broker allows.
    #[serde(default = "defaults::yes")]
    pub topic_aliases: bool,
    /// MQTT 5: whether messages carry `gateway_id`, `site_id`, and `device_id` as user properties.
    #[serde(default)]
    pub user_properties: bool,
    /// Quality of service of telemetry, 0 to 2.
    #[serde(default)]
    pub qos: u8,
    /// Quality of service by class of tag; those left out follow `qos` and the class's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_by_class: Option<QosByClass>,
    /// Highest quality of service that is used, for brokers that can't do more.
    #[serde(default = "defaults::max_qos")]
    pub max_qos: u8,
    /// Whether telemetry is retained.
    #[serde(default)]
    pub retain: bool,
    /// Whether values are encrypted; absent: as `industrial_security.encrypt_tag_data` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypt: Option<bool>,
    /// Where what is published.
    #[serde(default)]
    pub topics: MqttTopics,
    /// How the broker is trusted, and how it trusts the gateway.
    #[serde(default)]
    pub tls: TlsSettings,
    /// Which tags are carried.
    #[serde(default)]
    pub filter: FilterSettings,
    /// How much of them is left out.
    #[serde(default)]
    pub downsample: DownsampleSettings,
    /// What may be asked of the gateway through this broker.
    #[serde(default)]
    pub commands: CommandSettings,
    /// How often figures are published; absent or 0: never.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub diagnostics_interval: Option<Duration>,
    /// Instead of `messaging.spool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolSettings>,
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// 5 where the broker has it, otherwise 3.1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// 5.
    #[serde(rename = "5")]
    V5,
    /// 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// Quality of service by class of tag, 0 to 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QosByClass {
    /// Of telemetry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<u8>,
    /// Of status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// Of critical tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<u8>,
}

/// Where what is published, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttTopics {
    /// Values.
    pub telemetry: String,
    /// Where commands come from.
    pub commands: String,
    /// Alarms.
    pub alarms: String,
    /// Events.
    pub events: String,
    /// Figures of the gateway and its devices.
    pub diagnostics: String,
}

mod defaults {
    use std::time::Duration;

    /// A broker that is named is wanted.
    pub(super) fn yes() -> bool {
        true
    }
    pub(super) fn client_id() -> String {
        "bifrost-{hostname}".to_owned()
    }
    pub(super) fn keep_alive() -> Duration {
        Duration::from_secs(20)
    }
    pub(super) fn connect_timeout() -> Duration {
        Duration::from_secs(10)
    }
    pub(super) fn ack_timeout() -> Duration {
        Duration::from_secs(20)
    }
    pub(super) fn window() -> usize {
        500
    }
    pub(super) fn max_qos() -> u8 {
        2
    }
}

impl Default for MqttTopics {
    fn default() -> Self {
        Self {
            telemetry: "bifrost/telemetry/{site_id}/{device_id}".to_owned(),
            commands: "bifrost/commands/{site_id}/{device_id}".to_owned(),
            alarms: "bifrost/alarms/{site_id}/{device_id}".to_owned(),
            events: "bifrost/events/{site_id}/{device_id}".to_owned(),
            diagnostics: "bifrost/diagnostics/{site_id}/{device_id}".to_owned(),
        }
    }
}

/// Schemes of a broker's URL; the last five are encrypted or not as they say.
const SCHEMES: [&str; 7] = ["mqtt", "tcp", "mqtts", "ssl", "tls", "ws", "wss"];

impl MqttSettings {
    /// Quality of service of a class, the broker's own limit left aside.
    pub fn qos_of(&self, class: TagClass) -> u8 {
        let by_class = self.qos_by_class.unwrap_or_default();
        let qos = match class {
            TagClass::Telemetry => by_class.telemetry.unwrap_or(self.qos),
            TagClass::Status => by_class.status.unwrap_or(1),
            TagClass::Critical => by_class.critical.unwrap_or(2),
        };
        qos.min(self.max_qos)
    }

    /// The broker and those that stand in for it.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.broker.as_str()).chain(self.failover.iter().map(String::as_str))
    }

    /// Whether every connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        let says_so = |url: &str| {
            ["mqtts", "ssl", "tls", "wss"].iter().any(|scheme| url.starts_with(&format!("{scheme}://")))
        };
        self.tls.enabled || self.urls().all(says_so)
    }

    /// Where the password is.
    pub fn password(&self) -> Secret<'_> {
        Secret { file: self.password_file.as_ref(), env: self.password_env.as_ref() }
    }

    /// What can't work.
    pub fn flaws(&self) -> Vec<Flaw> {
        let classes = self.qos_by_class.unwrap_or_default();
        let qos = [
            ("qos", Some(self.qos)),
            ("max_qos", Some(self.max_qos)),
            ("qos_by_class.telemetry", classes.telemetry),
            ("qos_by_class.status", classes.status),
            ("qos_by_class.critical", classes.critical),
        ];
        let too_high = qos.into_iter().filter(|(_, qos)| qos.is_some_and(|qos| qos > 2));
        let mut flaws: Vec<_> = too_high.map(|(key, _)| flaw(key, "must be 0, 1 or 2")).collect();
        flaws.extend(url("broker", &self.broker, &SCHEMES, "tls://mqtt.example.com:8883"));
        let more = self.failover.iter().enumerate();
        flaws.extend(more.filter_map(|(n, text)| {
            url(&format!("failover[{n}]"), text, &SCHEMES, "tls://mqtt.example.com:8883")
        }));
        flaws.extend(placeholders("client_id", &self.client_id, IN_CLIENT_IDS));
        flaws.extend(self.topics.flaws());
        flaws.extend(zero_durations([
            ("keep_alive", self.keep_alive),
            ("connect_timeout", self.connect_timeout),
            ("ack_timeout", self.ack_timeout),
        ]));
        flaws.extend(zero_numbers([
            ("window", self.window),
            ("commands.max_pending", self.commands.max_pending),
        ]));
        if self.window > 65_000 {
            flaws.push(flaw("window", "must be at most 65000: MQTT has no more packet identifiers"));
        }
        if self.keep_alive > Duration::from_secs(65_535) {
            flaws.push(flaw("keep_alive", "must be at most 65535s"));
        }
        if self.password_file.is_some() && self.password_env.is_some() {
            flaws.push(flaw("password_env", "excludes password_file; keep one of both"));
        }
        flaws.extend(below("downsample", self.downsample.flaws()));
        flaws.extend(below("tls", self.tls.flaws(self.is_encrypted())));
        flaws.extend(self.password().flaw("password_env"));
        flaws.extend(self.spool.iter().flat_map(|spool| below("spool", spool.flaws())));
        flaws
    }
}

impl MqttTopics {
    fn flaws(&self) -> Vec<Flaw> {
        let topics = [
            (Purpose::Telemetry, "topics.telemetry", &self.telemetry),
            (Purpose::Commands, "topics.commands", &self.commands),
            (Purpose::Alarms, "topics.alarms", &self.alarms),
            (Purpose::Events, "topics.events", &self.events),
            (Purpose::Diagnostics, "topics.diagnostics", &self.diagnostics),
        ];
        topics.into_iter().filter_map(|(purpose, key, text)| topic(purpose, key, text)).collect()
    }
}
