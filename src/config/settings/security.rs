//! `security`: encryption, certificates, keys, the first account.
//!
//! `certificates` is what HTTPS shows; `encryption` and `key_management` are only read and checked in this version.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bifrost_actors::{audit::AuditSettings, certificate_rotator::IssuerSettings};
use bifrost_security::accounts::{
    ADMIN, AuthoritySettings, LockoutSettings, PasswordSettings, Permission, Permissions, SessionSettings,
};
use serde::{Deserialize, Serialize};

use super::{Flaw, below, flaw, zero_durations};
use crate::config::decode::nearest;

/// The section `security`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecuritySettings {
    /// How values are encrypted.
    pub encryption: EncryptionSettings,
    /// The gateway's certificate.
    pub certificates: CertificateSettings,
    /// Where keys live, and how long.
    pub key_management: KeyManagementSettings,
    /// The audit trail.
    pub audit: AuditSettings,
    /// First password of `admin`, read only while no account exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_password_file: Option<PathBuf>,
    /// Roles beside the usual ones, or instead of them.
    pub roles: BTreeMap<String, Permissions>,
    /// What is asked of passwords.
    pub passwords: PasswordSettings,
    /// How long who logged in stays so.
    pub sessions: SessionSettings,
    /// How often somebody may guess.
    pub lockout: LockoutSettings,
}

/// The section `security.encryption`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncryptionSettings {
    /// Whether values are encrypted.
    pub enabled: bool,
    /// How strictly.
    pub level: EncryptionLevel,
    /// With what.
    pub algorithms: Algorithms,
}

/// How strictly encryption is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncryptionLevel {
    /// The least.
    Basic,
    /// As most plants need it.
    #[default]
    Standard,
    /// Every value, everywhere.
    Industrial,
}

/// The section `security.encryption.algorithms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Algorithms {
    /// For values.
    pub symmetric: String,
    /// For certificates' keys.
    pub asymmetric: String,
    /// For digests.
    pub hash: String,
}

/// The section `security.certificates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateSettings {
    /// Certificates of the authorities that are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Who renews the gateway's certificate, with `auto_rotate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IssuerSettings>,
    /// The gateway's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Whether the gateway renews it.
    pub auto_rotate: bool,
    /// How often.
    #[serde(with = "humantime_serde")]
    pub rotation_interval: Duration,
}

/// The section `security.key_management`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyManagementSettings {
    /// Where keys live.
    pub provider: KeyProvider,
    /// URL of the Vault server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_address: Option<String>,
    /// Whether keys are replaced in time.
    pub key_rotation_enabled: bool,
    /// How often.
    #[serde(with = "humantime_serde")]
    pub key_rotation_interval: Duration,
    /// Whether backups of keys are encrypted.
    pub backup_encryption: bool,
}

/// Where keys live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyProvider {
    /// In the gateway's own keystore.
    #[default]
    Local,
    /// Vault, by `HashiCorp`.
    Vault,
    /// A hardware security module.
    Pkcs11,
    /// AWS KMS.
    AwsKms,
    /// Azure Key Vault.
    AzureKv,
}

const SYMMETRIC: [&str; 1] = ["AES-256-GCM"];
const ASYMMETRIC: [&str; 3] = ["RSA-4096", "ECDSA-P256", "ECDSA-P384"];
const HASHES: [&str; 3] = ["SHA-256", "SHA-384", "SHA-512"];

impl Default for Algorithms {
    fn default() -> Self {
        Self {
            symmetric: SYMMETRIC[0].to_owned(),
            asymmetric: ASYMMETRIC[0].to_owned(),
            hash: HASHES[0].to_owned(),
        }
    }
}

impl Default for CertificateSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            issuer: None,
            cert_file: None,
            key_file: None,
            auto_rotate: false,
            rotation_interval: Duration::from_hours(24),
        }
    }
}

impl Default for KeyManagementSettings {
    fn default() -> Self {
        Self {
            provider: KeyProvider::default(),
            vault_address: None,
            key_rotation_enabled: false,
            key_rotation_interval: Duration::from_hours(24),
            backup_encryption: false,
        }
    }
}

impl SecuritySettings {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let mut flaws: Vec<_> = below("encryption.algorithms", self.encryption.algorithms.flaws()).collect();
        flaws.extend(below("certificates", self.certificates.flaws()));
        flaws.extend(below("key_management", self.key_management.flaws()));
        let audit = self.audit.validate().into_iter().map(|(key, problem)| flaw(key, problem)).collect();
        flaws.extend(below("audit", audit));
        flaws.extend(below("passwords", self.passwords.flaws()));
        flaws.extend(below("sessions", self.sessions.flaws()));
        flaws.extend(below("lockout", self.lockout.flaws()));
        if self.roles.get(ADMIN).is_some_and(|admin| !admin.has(Permission::AccountsManage)) {
            flaws.push(flaw("roles.admin", "must have accounts:manage, or nobody could manage accounts"));
        }
        flaws
    }

    /// What identity is told.
    pub(crate) fn authority(&self) -> AuthoritySettings {
        AuthoritySettings {
            roles: self.roles.clone(),
            passwords: self.passwords.clone(),
            sessions: self.sessions.clone(),
            lockout: self.lockout.clone(),
        }
    }
}

impl Algorithms {
    fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        flaws.extend(one_of("symmetric", &self.symmetric, &SYMMETRIC));
        flaws.extend(one_of("asymmetric", &self.asymmetric, &ASYMMETRIC));
        flaws.extend(one_of("hash", &self.hash, &HASHES));
        flaws
    }
}

fn one_of(key: &str, text: &str, known: &[&str]) -> Option<Flaw> {
    if known.contains(&text) {
        return None;
    }
    let hint = nearest(text, known).map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    Some(flaw(key, format!("is {text:?}, but must be one of {}{hint}", known.join(", "))))
}

impl CertificateSettings {
    fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = zero_durations([("rotation_interval", self.rotation_interval)]);
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => {
                flaws.push(flaw("key_file", "is missing; a certificate needs its private key"));
            }
            (None, Some(_)) => {
                flaws.push(flaw("cert_file", "is missing; a private key needs its certificate"));
            }
            _ => {}
        }
        flaws
    }
}

impl KeyManagementSettings {
    fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = zero_durations([("key_rotation_interval", self.key_rotation_interval)]);
        let is_url = |url: &String| {
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        };
        let problem = match (&self.vault_address, self.provider) {
            (None, KeyProvider::Vault) => "is missing; write one such as https://vault.example.com",
            (Some(url), _) if !is_url(url) => {
                "is no URL without a user; write one such as https://vault.example.com"
            }
            _ => return flaws,
        };
        flaws.push(flaw("vault_address", problem));
        flaws
    }
}
