//! Revokes certificates, and keeps the lists of what is revoked.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use openssl::pkey::{PKey, Private};
use serde::{Deserialize, Serialize};

use super::{
    crl,
    error::PkiError,
    folder::Folder,
    index::{Record, Revocation},
    keys::{self, KeySource},
    profile::Profile,
};

/// Why a certificate was revoked (RFC 5280, 5.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody says.
    #[default]
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Somebody else may have the key of the authority.
    CaCompromise,
    /// What it says is no longer true.
    AffiliationChanged,
    /// There is another one.
    Superseded,
    /// It isn't used any more.
    CessationOfOperation,
    /// It isn't allowed any more what it was.
    PrivilegeWithdrawn,
}

const REASONS: [(Reason, &str, u8); 7] = [
    (Reason::Unspecified, "unspecified", 0),
    (Reason::KeyCompromise, "key-compromise", 1),
    (Reason::CaCompromise, "ca-compromise", 2),
    (Reason::AffiliationChanged, "affiliation-changed", 3),
    (Reason::Superseded, "superseded", 4),
    (Reason::CessationOfOperation, "cessation-of-operation", 5),
    (Reason::PrivilegeWithdrawn, "privilege-withdrawn", 9),
];

impl Reason {
    fn row(self) -> (&'static str, u8) {
        let row = REASONS.iter().find(|(reason, ..)| *reason == self);
        row.map_or(("unspecified", 0), |(_, name, code)| (name, *code))
    }

    /// As the list has it.
    pub(super) fn code(self) -> u8 {
        self.row().1
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().0)
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = REASONS.iter().find(|(_, name, _)| *name == text).map(|(reason, ..)| *reason);
        let names = || REASONS.map(|(_, name, _)| name).join(", ");
        found.ok_or_else(|| format!("write one of {}", names()))
    }
}

impl Folder {
    /// Revokes a certificate, by serial number or by the name of its files, and renews its authority's list.
    pub fn revoke(&mut self, wanted: &str, reason: Reason, source: &KeySource) -> Result<Record, PkiError> {
        let at = self.index.find(wanted)?;
        let record = &self.index.certificates[at];
        if record.profile == Profile::Root {
            return Err(PkiError::RootRevoked);
        }
        if record.revoked.is_some() {
            return Err(PkiError::Revoked(record.serial.clone()));
        }
        let authority = record.profile.issuer();
        let (_, key) = self.signer(authority, source)?;
        self.index.certificates[at].revoked = Some(Revocation { at: Timestamp::now(), reason });
        self.refresh_list(authority, &key)?;
        self.bundle_lists()?;
        Ok(self.index.certificates[at].clone())
    }

    /// Renews the lists of every authority whose key is at hand; answers which those were.
    pub fn renew_lists(&mut self, source: &KeySource) -> Result<Vec<Profile>, PkiError> {
        let mut renewed = Vec::new();
        for authority in [Profile::Root, Profile::GatewayCa, Profile::DeviceCa] {
            let key = match self.signer(authority, &self.key_for(authority, source)?) {
                Ok((_, key)) => key,
                // Kept elsewhere, or locked: its list is renewed when somebody brings it.
                Err(PkiError::NoKey { .. } | PkiError::PassphraseNeeded(_)) => continue,
                Err(error) => return Err(error),
            };
            self.refresh_list(authority, &key)?;
            renewed.push(authority);
        }
        self.bundle_lists()?;
        Ok(renewed)
    }

    /// A key that was brought is one authority's; the others' are where they always are.
    fn key_for(&self, authority: Profile, source: &KeySource) -> Result<KeySource, PkiError> {
        let Some(file) = &source.file else { return Ok(source.clone()) };
        let key = keys::read(file, source.passphrase.as_ref())?;
        let is_its = self.authority(authority)?.public_key()?.public_eq(&key);
        let file = is_its.then(|| file.clone());
        Ok(KeySource { file, passphrase: source.passphrase.clone() })
    }

    /// The lists of a new folder.
    pub(super) fn refresh_lists(&mut self, keys: &[(Profile, &PKey<Private>)]) -> Result<(), PkiError> {
        for (authority, key) in keys {
            self.refresh_list(*authority, key)?;
        }
        for authority in [Profile::GatewayCa, Profile::DeviceCa] {
            let (_, key) = self.signer(authority, &KeySource::default())?;
            self.refresh_list(authority, &key)?;
        }
        self.bundle_lists()
    }

    /// Makes one list from the index. The index is on disk before the list is.
    fn refresh_list(&mut self, authority: Profile, key: &PKey<Private>) -> Result<(), PkiError> {
        let number = self.index.crl_numbers.get(&authority).copied().unwrap_or(0) + 1;
        let revoked = self.index.certificates.iter().filter(|record| record.profile.issuer() == authority);
        let revoked = revoked.filter_map(|record| record.revoked.as_ref().map(|why| (record, why)));
        let list = crl::make(authority, &*self.authority(authority)?, key, number, revoked)?;
        self.index.crl_numbers.insert(authority, number);
        self.index.save(&self.path)?;
        keys::replace(&self.list_file(authority), &list.to_pem()?, 0o644)
    }

    fn bundle_lists(&self) -> Result<(), PkiError> {
        let mut bundle = Vec::new();
        for authority in [Profile::Root, Profile::GatewayCa, Profile::DeviceCa] {
            let path = self.list_file(authority);
            if path.exists() {
                bundle.extend(std::fs::read(&path).map_err(PkiError::file(&path))?);
            }
        }
        keys::replace(&self.lists_file(), &bundle, 0o644)
    }

    fn list_file(&self, authority: Profile) -> std::path::PathBuf {
        self.path.join("crl").join(format!("{authority}.pem"))
    }
}
