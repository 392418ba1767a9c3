//! What certificates say of themselves, for those who look after them.

use std::path::Path;

use bifrost_model::Timestamp;
use openssl::x509::X509Ref;
use serde::Serialize;

use super::{
    files::{Flaw, PemError, read_certificates, timestamp},
    peer::Peer,
};

/// What one says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateFacts {
    /// The subject's common name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// Who has issued it, as text.
    pub issuer: String,
    /// Serial number, lower case hexadecimal.
    pub serial: String,
    /// SHA-256 of its DER form, lower case hexadecimal.
    pub fingerprint: String,
    /// Not valid before.
    pub not_before: Timestamp,
    /// Not valid after.
    pub not_after: Timestamp,
}

/// What the certificates of a file say, in their order.
pub fn certificate_facts(file: &Path) -> Result<Vec<CertificateFacts>, PemError> {
    let facts = |certificate: &X509Ref| {
        let Peer { common_name, fingerprint, serial, .. } = Peer::of(certificate)?;
        let at = |time: jiff::Timestamp| Timestamp::from_micros(time.as_microsecond());
        let (not_before, not_after) =
            (at(timestamp(certificate.not_before())?), at(timestamp(certificate.not_after())?));
        let names = certificate.issuer_name().entries().filter_map(|entry| {
            let key = entry.object().nid().short_name().unwrap_or("?");
            Some(format!("{key}={}", entry.data().to_string().ok()?))
        });
        let issuer = names.collect::<Vec<_>>().join(", ");
        Ok::<_, openssl::error::ErrorStack>(CertificateFacts {
            common_name,
            issuer,
            serial,
            fingerprint,
            not_before,
            not_after,
        })
    };
    let read =
        |certificate: &openssl::x509::X509| facts(certificate).map_err(|error| Flaw::from(error).of(file));
    read_certificates(file)?.iter().map(read).collect()
}
