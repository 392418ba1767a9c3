//! `messaging.nats`: one NATS cluster, and what goes there.

use std::{path::PathBuf, time::Duration};

use bifrost_security::tls::MinVersion;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{
        CommandSettings, DownsampleSettings, FilterSettings, Flaw, Secret, TlsSettings, below, flaw,
        template::{IN_CLIENT_IDS, Purpose, placeholders, subject, url},
        zero_durations, zero_numbers,
    },
    size::ByteSize,
    spool::SpoolSettings,
};

/// One NATS cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// Names the session in paths, metrics and on disk; absent: `nats`, or `nats-2` and so on in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is used.
    #[serde(default = "defaults::yes")]
    pub enabled: bool,
    /// URLs such as `tls://nats.example.com:4222`, tried in turn.
    pub servers: Vec<String>,
    /// Name of the group of gateways.
    #[serde(default = "defaults::cluster_id")]
    pub cluster_id: String,
    /// Name of this connection, with placeholders.
    #[serde(default = "defaults::client_id")]
    pub client_id: String,
    /// User name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File that holds the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Environment variable that holds the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// File that holds a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Environment variable that holds a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// File that holds an NKEY seed (`SU…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nkey_file: Option<PathBuf>,
    /// File of credentials (`.creds`), as `nsc` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// Longest time that connecting may take.
    #[serde(default = "defaults::connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How often the server is asked whether it lives.
    #[serde(default = "defaults::ping_interval", with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long an acknowledgement may take before a message is sent again.
    #[serde(default = "defaults::ack_timeout", with = "humantime_serde")]
    pub ack_timeout: Duration,
    /// Most messages that wait for an acknowledgement at a time.
    #[serde(default = "defaults::window")]
    pub window: usize,
    /// Where what is published.
    #[serde(default)]
    pub subjects: NatsSubjects,
    /// Persistence.
    #[serde(default)]
    pub jetstream: JetStreamSettings,
    /// Whether values are encrypted; absent: as `industrial_security.encrypt_tag_data` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypt: Option<bool>,
    /// How the servers are trusted, and how they trust the gateway.
    #[serde(default)]
    pub tls: TlsSettings,
    /// Which tags are carried.
    #[serde(default)]
    pub filter: FilterSettings,
    /// How much of them is left out.
    #[serde(default)]
    pub downsample: DownsampleSettings,
    /// What may be asked of the gateway through these servers.
    #[serde(default)]
    pub commands: CommandSettings,
    /// How often figures are published; absent or 0: never.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub diagnostics_interval: Option<Duration>,
    /// Instead of `messaging.spool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolSettings>,
}

/// Where what is published, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSubjects {
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

/// Persistence by JetStream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JetStreamSettings {
    /// Whether it is used.
    pub enabled: bool,
    /// The stream that is made, or brought up to date; absent: one of this site's own, `BIFROST_` and its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Where the servers keep the stream.
    pub storage: Storage,
    /// How long they keep a message.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Most bytes that they keep; absent: as many as they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
    /// On how many servers.
    pub replicas: usize,
    /// How long they remember a message's id, to tell a repetition.
    #[serde(with = "humantime_serde")]
    pub duplicate_window: Duration,
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

mod defaults {
    use std::time::Duration;

    /// A broker that is named is wanted.
    pub(super) fn yes() -> bool {
        true
    }
    pub(super) fn client_id() -> String {
        "bifrost-{hostname}".to_owned()
    }
    pub(super) fn cluster_id() -> String {
        "bifrost-cluster".to_owned()
    }
    pub(super) fn connect_timeout() -> Duration {
        Duration::from_secs(10)
    }
    pub(super) fn ping_interval() -> Duration {
        Duration::from_secs(10)
    }
    pub(super) fn ack_timeout() -> Duration {
        Duration::from_secs(10)
    }
    pub(super) fn window() -> usize {
        512
    }
}

impl Default for NatsSubjects {
    fn default() -> Self {
        Self {
            telemetry: "bifrost.telemetry.{site_id}.{device_id}".to_owned(),
            commands: "bifrost.commands.{site_id}.{device_id}".to_owned(),
            alarms: "bifrost.alarms.{site_id}.{device_id}".to_owned(),
            events: "bifrost.events.{site_id}.{device_id}".to_owned(),
            diagnostics: "bifrost.diagnostics.{site_id}.{device_id}".to_owned(),
        }
    }
}

impl Default for JetStreamSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            stream: None,
            storage: Storage::default(),
            retention: Duration::from_hours(7 * 24),
            max_bytes: None,
            replicas: 1,
            duplicate_window: Duration::from_hours(1),
        }
    }
}

/// Schemes of a server's URL.
const SCHEMES: [&str; 2] = ["nats", "tls"];

impl NatsSettings {
    /// Where the user's password is.
    pub fn password(&self) -> Secret<'_> {
        Secret { file: self.password_file.as_ref(), env: self.password_env.as_ref() }
    }

    /// Where the token is.
    pub fn token(&self) -> Secret<'_> {
        Secret { file: self.token_file.as_ref(), env: self.token_env.as_ref() }
    }

    /// What can't work.
    pub fn flaws(&self) -> Vec<Flaw> {
        let urls = self.servers.iter().enumerate();
        let urls = urls.filter_map(|(n, text)| {
            url(&format!("servers[{n}]"), text, &SCHEMES, "tls://nats.example.com:4222")
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
            (Purpose::Telemetry, "subjects.telemetry", &self.subjects.telemetry),
            (Purpose::Commands, "subjects.commands", &self.subjects.commands),
            (Purpose::Alarms, "subjects.alarms", &self.subjects.alarms),
            (Purpose::Events, "subjects.events", &self.subjects.events),
            (Purpose::Diagnostics, "subjects.diagnostics", &self.subjects.diagnostics),
        ];
        flaws.extend(subjects.into_iter().filter_map(|(purpose, key, text)| subject(purpose, key, text)));
        flaws.extend(zero_durations([
            ("connect_timeout", self.connect_timeout),
            ("ping_interval", self.ping_interval),
            ("ack_timeout", self.ack_timeout),
        ]));
        flaws.extend(zero_numbers([
            ("window", self.window),
            ("commands.max_pending", self.commands.max_pending),
        ]));
        flaws.extend(self.login_flaws());
        flaws.extend(below("jetstream", self.jetstream.flaws()));
        flaws.extend(below("downsample", self.downsample.flaws()));
        let encrypted = self.tls.enabled || self.servers.iter().all(|url| url.starts_with("tls://"));
        flaws.extend(below("tls", self.tls.flaws(encrypted)));
        flaws.extend(below("tls", self.beyond_the_library()));
        flaws.extend(self.password().flaw("password_env"));
        flaws.extend(self.token().flaw("token_env"));
        flaws.extend(self.spool.iter().flat_map(|spool| below("spool", spool.flaws())));
        flaws
    }

    /// What MQTT and devices can be told of TLS, and NATS can't.
    fn beyond_the_library(&self) -> Vec<Flaw> {
        let tls = &self.tls;
        let asked = [
            ("server_name", tls.server_name.is_some(), "write the name in servers"),
            ("pinned_sha256", tls.pinned_sha256.is_some(), "name the server's authority in ca_file"),
            (
                "min_version",
                tls.min_version != MinVersion::default(),
                "sessions with NATS speak TLS 1.3 alone",
            ),
        ];
        let asked = asked.into_iter().filter(|(_, asked, _)| *asked);
        asked
            .map(|(key, _, instead)| flaw(key, format!("isn't available for NATS; remove it: {instead}")))
            .collect()
    }

    fn login_flaws(&self) -> Vec<Flaw> {
        let named = [
            ("username", self.username.is_some()),
            ("token_file", self.token_file.is_some() || self.token_env.is_some()),
            ("nkey_file", self.nkey_file.is_some()),
            ("credentials_file", self.credentials_file.is_some()),
        ];
        let mut named = named.into_iter().filter(|(_, is_named)| *is_named);
        let first = named.next();
        let more = named.map(|(key, _)| {
            flaw(key, format!("excludes {}; keep one way to log in", first.map_or("", |(first, _)| first)))
        });
        let mut flaws: Vec<_> = more.collect();
        let password = self.password_file.is_some() || self.password_env.is_some();
        if self.username.is_some() != password {
            let (key, problem) = if password {
                ("username", "is missing; a password needs its user")
            } else {
                ("password_file", "is missing; a user needs a password, or password_env")
            };
            flaws.push(flaw(key, problem));
        }
        flaws
    }
}

impl JetStreamSettings {
    fn flaws(&self) -> Vec<Flaw> {
        let mut flaws =
            zero_durations([("retention", self.retention), ("duplicate_window", self.duplicate_window)]);
        if !(1..=5).contains(&self.replicas) {
            flaws.push(flaw("replicas", "must be 1 to 5, and odd to survive the loss of servers"));
        }
        let bad = |name: &String| {
            name.is_empty() || name.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)))
        };
        if self.stream.as_ref().is_some_and(bad) {
            flaws.push(flaw("stream", "is no name of a stream: letters, digits, - and _"));
        }
        flaws
    }
}
