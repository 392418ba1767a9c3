//! `gateway.tls`: how the gateway's own listener encrypts, and what it asks of clients.

use std::path::PathBuf;

use bifrost_security::tls::{ClientAuth, TlsVersion, check_suites};
use serde::{Deserialize, Serialize};

use super::{Flaw, flaw};

/// The section `gateway.tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
    /// The only suites that are used; empty: all strong ones.
    pub cipher_suites: Vec<String>,
    /// Whether clients must show a certificate.
    pub client_auth: ClientAuth,
    /// Authorities of clients' certificates; `security.certificates.ca_file` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
    /// What these authorities have revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_file: Option<PathBuf>,
}

impl TlsSection {
    /// What can't work.
    pub(super) fn flaws(&self) -> Vec<Flaw> {
        let suites = check_suites(self.min_version, &self.cipher_suites);
        let mut flaws: Vec<_> =
            suites.err().map(|problem| flaw("cipher_suites", problem)).into_iter().collect();
        if self.client_auth == ClientAuth::None {
            let files = [("client_ca_file", &self.client_ca_file), ("crl_file", &self.crl_file)];
            let given = files.into_iter().filter(|(_, file)| file.is_some());
            let problem = "is for clients' certificates, which client_auth: none doesn't ask for; set client_auth to \
                           optional or required, or remove it";
            flaws.extend(given.map(|(key, _)| flaw(key, problem)));
        }
        flaws
    }
}
