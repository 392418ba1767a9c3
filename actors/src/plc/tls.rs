//! What a user may say of the encrypted connection to a device: Modbus/TCP Security, in which both ends show a
//! certificate.

use std::path::PathBuf;

use bifrost_security::tls::{ClientTls, Fingerprint, MinVersion};
use serde::{Deserialize, Serialize};

/// The section `tls` of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceTlsSettings {
    /// Certificates of the authorities that the device's certificate may be signed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The gateway's certificate, which may carry its role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name in the device's certificate; absent: the host in `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The device's one certificate; makes up for `ca_file` and the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_sha256: Option<Fingerprint>,
    /// The oldest version of TLS.
    #[serde(skip_serializing_if = "is_default")]
    pub min_version: MinVersion,
    /// Revocation lists of the authorities in `ca_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_file: Option<PathBuf>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl DeviceTlsSettings {
    /// What can't work: the key, and what is wrong with it.
    pub(super) fn flaws(&self) -> Vec<(&'static str, &'static str)> {
        let mut flaws = Vec::new();
        if self.ca_file.is_none() && self.pinned_sha256.is_none() {
            flaws.push((
                "ca_file",
                "is missing; name the authority of the device's certificate, or pin the certificate in \
                 pinned_sha256",
            ));
        }
        let both = "is missing; Modbus/TCP Security wants both ends to show a certificate: give cert_file and \
                    key_file";
        flaws.extend(self.cert_file.is_none().then_some(("cert_file", both)));
        flaws.extend(self.key_file.is_none().then_some(("key_file", both)));
        if self.crl_file.is_some() && self.ca_file.is_none() {
            flaws.push((
                "crl_file",
                "needs ca_file: a revocation list is an authority's; name it, or remove this",
            ));
        }
        flaws
    }

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
            alpn: Vec::new(),
        }
    }
}
