//! Reads a request (PKCS#10) that somebody else made: what it asks for is checked, and only what a profile has
//! is taken over.

use std::path::Path;

use openssl::{
    pkey::{PKey, Public},
    x509::{X509, X509Req, X509ReqRef},
};

use super::{algorithm, certificate, der, error::PkiError, subject::Subject};
use crate::tls::AltName;

const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";

/// A request whose signature was checked: whoever made it has the key.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whom it names.
    pub subject: Subject,
    /// Extensions that it asks for and that nobody gets, by their object identifiers.
    pub ignored: Vec<String>,
    pub(super) key: PKey<Public>,
}

impl Request {
    /// Reads one, in PEM or DER.
    pub fn read(path: &Path) -> Result<Self, PkiError> {
        let refused = |reason: String| PkiError::Request { path: path.to_path_buf(), reason };
        let bytes = std::fs::read(path).map_err(PkiError::file(path))?;
        let request = X509Req::from_pem(&bytes).or_else(|_| X509Req::from_der(&bytes));
        let request =
            request.map_err(|_| refused("holds no certificate request (CSR), PEM or DER".to_owned()))?;
        let key = request.public_key().map_err(|_| refused("its public key can't be read".to_owned()))?;
        if !request.verify(&key).unwrap_or(false) {
            return Err(refused("its signature doesn't match its key".to_owned()));
        }
        algorithm::check_strength(&key)?;
        let (subject, ignored) = wanted(&request).map_err(|reason| refused(reason.to_string()))?;
        Ok(Self { subject, ignored, key })
    }
}

fn wanted(request: &X509ReqRef) -> Result<(Subject, Vec<String>), PkiError> {
    let mut subject = Subject::named(certificate::common_name(request.subject_name()));
    let mut ignored = Vec::new();
    // A request without extensions is an empty list, or an error, by the version of OpenSSL.
    let Ok(extensions) = request.extensions() else { return Ok((subject, ignored)) };
    for extension in &extensions {
        let parsed = der::parse(extension)?;
        match parsed.oid.as_str() {
            SUBJECT_ALT_NAME if subject.names.is_empty() => subject.names = names(extension)?,
            SUBJECT_ALT_NAME => return Err(misuse("asks for alternative names twice")),
            der::MODBUS_ROLE if subject.role.is_some() => return Err(misuse("asks for two roles")),
            der::MODBUS_ROLE => match der::role_of(&parsed.value) {
                Some(role) => subject.role = Some(role),
                None => return Err(misuse("its role is no UTF8String")),
            },
            BASIC_CONSTRAINTS if der::asks_for_authority(&parsed.value) => {
                return Err(misuse("asks to become an authority, which no request gets"));
            }
            // The profile decides on these; others nobody here knows.
            _ => ignored.push(parsed.oid),
        }
    }
    Ok((subject, ignored))
}

/// OpenSSL takes names apart in certificates alone, so it gets one that is never signed.
fn names(extension: &openssl::x509::X509ExtensionRef) -> Result<Vec<AltName>, PkiError> {
    let mut carrier = X509::builder()?;
    carrier.append_extension2(extension)?;
    let names =
        carrier.build().subject_alt_names().ok_or_else(|| misuse("its alternative names can't be read"))?;
    names.iter().map(|name| crate::tls::alt_name(name).map_err(|reason| misuse(&reason))).collect()
}

fn misuse(reason: &str) -> PkiError {
    PkiError::Misuse(reason.to_owned())
}
