//! Settings that sessions of all kinds of brokers have.

use std::{path::PathBuf, time::Duration};

use bifrost_model::TagClass;
use bifrost_security::tls::{ClientTls, Fingerprint, MinVersion};
use serde::{Deserialize, Serialize};

use super::{Flaw, flaw};

/// Which tags a session carries and takes commands for; absent lists let everything pass. Texts may hold `*`
/// and `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterSettings {
    /// Device ids; events and alarms of other devices don't pass either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// Tag ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Classes of tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<TagClass>>,
    /// Tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
}

/// How much of what passes the filter is left out; tag by tag, and never a change of quality.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownsampleSettings {
    /// A number goes out when it has moved by at least this since the last that went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadband: Option<f64>,
    /// A number goes out when a straight line no longer comes within this of those left out (swinging door).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swinging_door: Option<f64>,
    /// Not more often than this.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<Duration>,
    /// At least this often, also when nothing moved; counted when a scan comes.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<Duration>,
}

impl DownsampleSettings {
    /// Whether nothing is left out.
    pub fn is_off(&self) -> bool {
        self.deadband.is_none() && self.swinging_door.is_none() && self.min_interval.is_none()
    }

    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let numbers = [("deadband", self.deadband), ("swinging_door", self.swinging_door)];
        let wrong = numbers.into_iter().filter(|(_, n)| n.is_some_and(|n| !(n >= 0.0 && n.is_finite())));
        let mut flaws: Vec<_> = wrong.map(|(key, _)| flaw(key, "must be 0 or more, such as 0.5")).collect();
        if self.deadband.is_some() && self.swinging_door.is_some() {
            flaws.push(flaw("swinging_door", "excludes deadband; keep one of both"));
        }
        if let (Some(min), Some(max)) = (self.min_interval, self.max_interval)
            && max < min
        {
            flaws.push(flaw("max_interval", "must be at least min_interval"));
        }
        flaws
    }
}

/// What may be asked of the gateway through this broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandSettings {
    /// Whether commands are taken: writes of tags that are `writable`, and reads.
    pub enabled: bool,
    /// Whether writes are.
    pub write: bool,
    /// Requests that are answered at a time; more are refused.
    pub max_pending: usize,
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self { enabled: true, write: true, max_pending: 256 }
    }
}

/// How two ends of a connection trust each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Whether the connection is encrypted; a URL that says so (`tls://`, `mqtts://`, …) is enough.
    pub enabled: bool,
    /// Certificates of the authorities that are trusted; absent: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The gateway's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Revocation lists of the authorities in `ca_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_file: Option<PathBuf>,
    /// The name in the broker's certificate; absent: the host in the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The broker's one certificate; makes up for `ca_file` and the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_sha256: Option<Fingerprint>,
    /// The oldest version of TLS.
    pub min_version: MinVersion,
    /// Protocols that are offered (ALPN).
    pub alpn: Vec<String>,
}

impl TlsSettings {
    /// What the connection is made from.
    pub fn client(&self) -> ClientTls {
        ClientTls {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            crl_file: self.crl_file.clone(),
            server_name: self.server_name.clone(),
            pinned_sha256: self.pinned_sha256,
            min_version: self.min_version,
            alpn: self.alpn.clone(),
        }
    }

    /// What can't work; `asked_for`: whether the connection is encrypted.
    pub(crate) fn flaws(&self, asked_for: bool) -> Vec<Flaw> {
        let named = [
            ("ca_file", self.ca_file.is_some()),
            ("cert_file", self.cert_file.is_some()),
            ("key_file", self.key_file.is_some()),
            ("crl_file", self.crl_file.is_some()),
            ("server_name", self.server_name.is_some()),
            ("pinned_sha256", self.pinned_sha256.is_some()),
            ("alpn", !self.alpn.is_empty()),
        ];
        if let Some((key, _)) = named.into_iter().find(|(_, given)| *given)
            && !asked_for
        {
            let problem =
                "is given, but the connection isn't encrypted; write tls:// in the URL, or tls.enabled: true";
            return vec![flaw(key, problem)];
        }
        let unnamed = |name: &String| name.is_empty() || name.len() > 255;
        if self.alpn.iter().any(unnamed) {
            return vec![flaw("alpn", "holds a name that has not 1 to 255 bytes, such as mqtt")];
        }
        if self.crl_file.is_some() && self.ca_file.is_none() {
            return vec![flaw("crl_file", "needs ca_file: a revocation list is an authority's")];
        }
        let alone = match (&self.cert_file, &self.key_file) {
            (Some(_), None) => Some(flaw("key_file", "is missing; a certificate needs its private key")),
            (None, Some(_)) => Some(flaw("cert_file", "is missing; a private key needs its certificate")),
            _ => None,
        };
        alone.into_iter().collect()
    }
}

/// Where a secret is found: in a file, or in the environment. Its value is read at each connection and
/// never kept in settings.
#[derive(Debug, Clone, Copy)]
pub struct Secret<'a> {
    /// The file, without the line break at its end.
    pub file: Option<&'a PathBuf>,
    /// The environment variable.
    pub env: Option<&'a String>,
}

impl Secret<'_> {
    /// Whether the environment variable is one. Who writes the secret itself there isn't shown it again.
    pub(crate) fn flaw(&self, key: &str) -> Option<Flaw> {
        let is_name = |name: &String| {
            let mut chars = name.chars();
            chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let problem = "is no name of an environment variable (the value isn't shown); the secret itself \
                       belongs into that variable, or into a file";
        (!self.env.is_none_or(is_name)).then(|| flaw(key, problem))
    }

    /// The secret, `None` where none is named, or why it can't be had.
    pub fn read(&self) -> Result<Option<String>, String> {
        if let Some(file) = self.file {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("{} can't be read: {error}", file.display()))?;
            return Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()));
        }
        let Some(name) = self.env else { return Ok(None) };
        std::env::var(name).map(Some).map_err(|_| format!("the environment variable {name} is not set"))
    }
}
