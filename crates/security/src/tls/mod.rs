//! TLS on both sides: what is loaded from files, and who the peer is.

mod client;
mod client_error;
mod client_files;
mod facts;
mod files;
mod fingerprint;
mod name;
mod peer;
mod server;
mod settings;
mod suites;
#[cfg(test)]
mod tests;
mod trust;

pub use client::{ClientError, ClientStream, ClientTls, Connector, MinVersion};
pub use client_error::HandshakeError;
pub use client_files::FileError;
pub use facts::{CertificateFacts, certificate_facts};
pub use files::{Credentials, Flaw, PemError, read_certificates};
pub use fingerprint::Fingerprint;
pub use name::AltName;
pub use peer::Peer;
pub use server::ServerIdentity;
pub use settings::{ClientAuth, ServerError, ServerSettings, TlsVersion};
pub use suites::{TLS12_SUITES, TLS13_SUITES, check_suites};
pub use trust::Trust;

pub(crate) use files::{public, read_key, timestamp};
pub(crate) use name::alt_name;
