//! `messaging`: brokers, and what is published where.
//!
//! Only read and checked: no session uses it in this version.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    Flaw, SpoolSettings, below, flaw,
    template::{IN_CLIENT_IDS, placeholders, subject, topic},
    zero_durations,
};

/// The section `messaging`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessagingSettings {
    /// What is kept while no broker takes it.
    pub spool: SpoolSettings,
    /// MQTT brokers; in a file one may stand without a list around it.
    #[serde(deserialize_with = "one_or_many")]
    pub mqtt: Vec<MqttSettings>,
    /// The NATS cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<NatsSettings>,
}

/// One MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// Whether it is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Its URL, such as `tls://mqtt.example.com:8883`.
    pub broker: String,
    /// Client id, with placeholders.
    #[serde(default = "client_id")]
    pub client_id: String,
    /// Quality of service of telemetry, 0 to 2.
    #[serde(default)]
    pub qos: u8,
    /// Quality of service by class of tag; those left out follow `qos` and the class's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_by_class: Option<QosByClass>,
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

/// How two ends of a connection trust each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Whether the connection is encrypted.
    pub enabled: bool,
    /// Certificates of the authorities that are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The gateway's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// The NATS cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// Whether it is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// URLs such as `tls://nats.example.com:4222`.
    pub servers: Vec<String>,
    /// Name of the group of gateways.
    #[serde(default = "cluster_id")]
    pub cluster_id: String,
    /// Name of this connection, with placeholders.
    #[serde(default = "client_id")]
    pub client_id: String,
    /// Where what is published.
    #[serde(default)]
    pub subjects: NatsSubjects,
    /// Persistence.
    #[serde(default)]
    pub jetstream: JetStreamSettings,
}

/// Where what is published, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSubjects {
    /// Values.
    pub telemetry: String,
    /// Where commands come from.
    pub commands: String,
    /// Events.
    pub events: String,
}

/// Persistence by JetStream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JetStreamSettings {
    /// Whether it is used.
    pub enabled: bool,
    /// Where the servers keep the streams.
    pub storage: Storage,
    /// How long they keep a message.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

/// Where JetStream keeps a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory.
    Memory,
}

/// A broker that is named is wanted.
fn yes() -> bool {
    true
}

fn client_id() -> String {
    "bifrost-{hostname}".to_owned()
}

fn cluster_id() -> String {
    "bifrost-cluster".to_owned()
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

impl Default for NatsSubjects {
    fn default() -> Self {
        Self {
            telemetry: "bifrost.telemetry.{site_id}.{device_id}".to_owned(),
            commands: "bifrost.commands.{site_id}.{device_id}".to_owned(),
            events: "bifrost.events.{site_id}.{device_id}".to_owned(),
        }
    }
}

impl Default for JetStreamSettings {
    fn default() -> Self {
        Self { enabled: false, storage: Storage::default(), retention: Duration::from_hours(7 * 24) }
    }
}

impl MessagingSettings {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let mut flaws: Vec<_> = below("spool", self.spool.flaws()).collect();
        for (key, broker) in self.brokers() {
            flaws.extend(below(&key, broker.flaws()));
        }
        flaws.extend(self.nats.iter().flat_map(|nats| below("nats", nats.flaws())));
        flaws
    }

    /// Brokers with their keys below the section: one has no number, since it mostly stands without a list.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = (String, &MqttSettings)> {
        let alone = self.mqtt.len() == 1;
        let key = move |n| if alone { "mqtt".to_owned() } else { format!("mqtt[{n}]") };
        self.mqtt.iter().enumerate().map(move |(n, broker)| (key(n), broker))
    }
}

impl MqttSettings {
    fn flaws(&self) -> Vec<Flaw> {
        let schemes = ["mqtt", "tcp", "mqtts", "ssl", "tls", "ws", "wss"];
        let classes = self.qos_by_class.unwrap_or_default();
        let qos = [
            ("qos", Some(self.qos)),
            ("qos_by_class.telemetry", classes.telemetry),
            ("qos_by_class.status", classes.status),
            ("qos_by_class.critical", classes.critical),
        ];
        let too_high = qos.into_iter().filter(|(_, qos)| qos.is_some_and(|qos| qos > 2));
        let mut flaws: Vec<_> = too_high.map(|(key, _)| flaw(key, "must be 0, 1 or 2")).collect();
        flaws.extend(url("broker", &self.broker, &schemes, "tls://mqtt.example.com:8883"));
        flaws.extend(placeholders("client_id", &self.client_id, IN_CLIENT_IDS));
        flaws.extend(self.topics.flaws());
        flaws.extend(below("tls", self.tls.flaws()));
        flaws
    }
}

impl MqttTopics {
    fn flaws(&self) -> Vec<Flaw> {
        let topics = [
            ("topics.telemetry", &self.telemetry),
            ("topics.commands", &self.commands),
            ("topics.alarms", &self.alarms),
            ("topics.events", &self.events),
            ("topics.diagnostics", &self.diagnostics),
        ];
        topics.into_iter().filter_map(|(key, text)| topic(key, text)).collect()
    }
}

impl TlsSettings {
    fn flaws(&self) -> Vec<Flaw> {
        let alone = match (&self.cert_file, &self.key_file) {
            (Some(_), None) => Some(flaw("key_file", "is missing; a certificate needs its private key")),
            (None, Some(_)) => Some(flaw("cert_file", "is missing; a private key needs its certificate")),
            _ => None,
        };
        alone.into_iter().collect()
    }
}

impl NatsSettings {
    fn flaws(&self) -> Vec<Flaw> {
        let schemes = ["nats", "tls", "ws", "wss"];
        let urls = self.servers.iter().enumerate();
        let urls = urls.filter_map(|(n, text)| {
            url(&format!("servers[{n}]"), text, &schemes, "tls://nats.example.com:4222")
        });
        let mut flaws: Vec<_> = urls.collect();
        if self.servers.is_empty() {
            flaws.push(flaw("servers", "is empty; write [\"tls://nats.example.com:4222\"]"));
        }
        if self.cluster_id.trim().is_empty() {
            flaws.push(flaw("cluster_id", "is empty; write a name or leave the key out"));
        }
        flaws.extend(placeholders("client_id", &self.client_id, IN_CLIENT_IDS));
        let subjects = [
            ("subjects.telemetry", &self.subjects.telemetry),
            ("subjects.commands", &self.subjects.commands),
            ("subjects.events", &self.subjects.events),
        ];
        flaws.extend(subjects.into_iter().filter_map(|(key, text)| subject(key, text)));
        flaws.extend(below("jetstream", zero_durations([("retention", self.jetstream.retention)])));
        flaws
    }
}

/// `scheme://host[:port]`; what stands in a URL isn't shown, since it may hold a password.
fn url(key: &str, text: &str, schemes: &[&str], example: &str) -> Option<Flaw> {
    let wrong = |problem: &str| Some(flaw(key, format!("{problem}; write a URL such as {example}")));
    let Some((scheme, rest)) = text.split_once("://") else { return wrong("has no scheme") };
    if !schemes.contains(&scheme) {
        return wrong(&format!("{scheme:?} is no scheme here (there are {})", schemes.join(", ")));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return wrong("holds a user or a password, which don't belong into a URL");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return wrong("names no host");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0).eq(&false)) {
        return wrong("has a port that is none");
    }
    None
}

/// A section, or a list of such.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MqttSettings>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<MqttSettings>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a broker or a list of brokers")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            MqttSettings::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut brokers = Vec::new();
            while let Some(broker) = seq.next_element()? {
                brokers.push(broker);
            }
            Ok(brokers)
        }
    }

    deserializer.deserialize_any(OneOrMany)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_scheme_and_a_host() {
        for (text, part) in [
            ("tls://mqtt.company.com:8883", None),
            ("tcp://[::1]:1883", None),
            ("wss://broker/mqtt", None),
            ("mqtt.company.com:8883", Some("no scheme")),
            ("http://mqtt", Some("\"http\" is no scheme")),
            ("tls://:8883", Some("names no host")),
            ("tls://host:port", Some("a port that is none")),
            ("tls://host:0", Some("a port that is none")),
            ("tls://me:hunter2@host", Some("a user or a password")),
        ] {
            let found = url("broker", text, &["tls", "tcp", "wss"], "tls://x:1").map(|(_, problem)| problem);
            assert_eq!(found.is_some(), part.is_some(), "{text}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(
                found.contains(part.unwrap_or_default()) && !found.contains("hunter2"),
                "{text}: {found}"
            );
        }
    }
}
