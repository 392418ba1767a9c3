//! The index: all that was ever issued, and what became of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use openssl::x509::X509Ref;
use serde::{Deserialize, Serialize};

use super::{certificate, error::PkiError, keys, profile::Profile, revocation::Reason, subject::Subject};
use crate::tls::{AltName, Peer};

/// One certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Serial number, lower case hexadecimal.
    pub serial: String,
    /// What it is for.
    pub profile: Profile,
    /// The name of its files.
    pub name: String,
    /// Whom it names.
    pub common_name: String,
    /// Names and addresses under which that is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<AltName>,
    /// Its role at a Modbus/TCP Security server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// SHA-256 of its DER form, lower case hexadecimal.
    pub fingerprint: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Whether it was revoked, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
    /// The serial number of the one that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}

/// That somebody revoked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Where a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is accepted.
    Valid,
    /// It is accepted until it expires, but there is a newer one.
    Superseded,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Status {
    /// As lists show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Record {
    /// Of a certificate that was just made.
    pub(super) fn of(
        certificate: &X509Ref,
        profile: Profile,
        name: &str,
        subject: &Subject,
    ) -> Result<Self, PkiError> {
        let peer = Peer::of(certificate)?;
        Ok(Self {
            serial: peer.serial,
            profile,
            name: name.to_owned(),
            common_name: subject.common_name.clone(),
            names: subject.names.clone(),
            role: subject.role.clone(),
            fingerprint: peer.fingerprint,
            not_before: certificate::not_before(certificate)?,
            not_after: certificate::not_after(certificate)?,
            revoked: None,
            superseded_by: None,
        })
    }

    /// Where it stands at this time.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.not_after < now {
            Status::Expired
        } else if self.superseded_by.is_some() {
            Status::Superseded
        } else {
            Status::Valid
        }
    }

    /// Where it stands now.
    pub fn status_now(&self) -> Status {
        self.status(Timestamp::now())
    }

    /// How long it is valid from now on; zero: no longer.
    pub fn remaining(&self) -> Duration {
        Duration::try_from(self.not_after.duration_since(Timestamp::now())).unwrap_or_default()
    }

    /// Whom it names, as a renewal needs it.
    pub(super) fn subject(&self) -> Subject {
        Subject { common_name: self.common_name.clone(), names: self.names.clone(), role: self.role.clone() }
    }
}

/// The index itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    /// Of this form.
    pub(super) version: u32,
    /// The number of each authority's newest revocation list.
    pub(super) crl_numbers: BTreeMap<Profile, u64>,
    pub(super) certificates: Vec<Record>,
}

impl Index {
    const VERSION: u32 = 1;

    pub(super) fn new() -> Self {
        Self { version: Self::VERSION, ..Self::default() }
    }

    pub(super) fn file(folder: &Path) -> PathBuf {
        folder.join("index.json")
    }

    pub(super) fn load(folder: &Path) -> Result<Self, PkiError> {
        let path = Self::file(folder);
        let text = std::fs::read(&path).map_err(PkiError::file(&path))?;
        let damaged = |reason: String| PkiError::Index { path: path.clone(), reason };
        let index: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if index.version != Self::VERSION {
            return Err(damaged(format!("version {} is newer than this program", index.version)));
        }
        Ok(index)
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), PkiError> {
        let path = Self::file(folder);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| PkiError::Index { path: path.clone(), reason: error.to_string() })?;
        keys::replace(&path, &text, 0o600)
    }

    /// The one certificate that a serial number or the name of files means. Of a name, the one that is valid.
    pub(super) fn find(&self, wanted: &str) -> Result<usize, PkiError> {
        let serial = wanted.replace(':', "").to_lowercase();
        if let Some(at) = self.certificates.iter().position(|record| record.serial == serial) {
            return Ok(at);
        }
        let now = Timestamp::now();
        let named = self.certificates.iter().enumerate().filter(|(_, record)| record.name == wanted);
        // What expired can still be renewed.
        let usable = named.filter(|(_, record)| {
            record.superseded_by.is_none() && matches!(record.status(now), Status::Valid | Status::Expired)
        });
        let found: Vec<_> = usable.map(|(at, _)| at).collect();
        match found.as_slice() {
            [at] => Ok(*at),
            [] => Err(PkiError::Unknown(wanted.to_owned())),
            _ => Err(PkiError::Ambiguous(wanted.to_owned())),
        }
    }

    /// Whether files of that name belong to a certificate that is in use.
    pub(super) fn has(&self, name: &str) -> bool {
        let now = Timestamp::now();
        self.certificates.iter().any(|record| record.name == name && record.status(now) == Status::Valid)
    }
}
