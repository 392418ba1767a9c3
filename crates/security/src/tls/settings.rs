//! What a server is told, and why it can't be one.

use std::path::PathBuf;

use openssl::{error::ErrorStack, ssl::SslVersion};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::files::PemError;

/// A version of TLS. Older ones are no choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// 1.2, for those who have nothing newer.
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3.
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsVersion {
    pub(super) fn openssl(self) -> SslVersion {
        match self {
            Self::Tls12 => SslVersion::TLS1_2,
            Self::Tls13 => SslVersion::TLS1_3,
        }
    }
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    None,
    /// One is asked for, and checked if it is shown.
    Optional,
    /// Who shows none gets no connection.
    Required,
}

/// What a server is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// The own certificate, with those of its authorities behind it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities that the own certificate must come from; none: nobody checks.
    pub authorities: Option<PathBuf>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
    /// The only suites that are used; empty: all strong ones.
    pub cipher_suites: Vec<String>,
    /// Whether clients must show a certificate.
    pub client_auth: ClientAuth,
    /// Authorities that clients' certificates must come from.
    pub client_authorities: Option<PathBuf>,
    /// What these authorities have revoked.
    pub revocation_lists: Option<PathBuf>,
}

/// Why there can't be such a server.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A file is no good.
    #[error(transparent)]
    File(#[from] PemError),
    /// Suites that don't go together.
    #[error("the cipher suites {0}")]
    Suites(String),
    /// Clients can't be checked.
    #[error("client certificates are asked for, but no authority is named that they must come from")]
    NoClientAuthorities,
    /// OpenSSL refused.
    #[error("OpenSSL refused: {0}")]
    OpenSsl(#[from] ErrorStack),
}
