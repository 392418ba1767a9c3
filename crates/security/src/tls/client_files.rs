//! What a TLS client reads from files, and everything that can be wrong with it.
//!
//! OpenSSL says of a file that something failed; here it is said of which file and why. Nothing is kept: files
//! are read again for each connection, so that a renewed certificate is used by the next one.

use std::path::{Path, PathBuf};

use openssl::{
    asn1::Asn1Time,
    error::ErrorStack,
    pkey::{PKey, Private},
    x509::{X509, X509Ref},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// A file of a connection that can't be used. The key is relative to the section that names the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: {} {problem}", path.display())]
pub struct FileError {
    /// Which setting names it: `key_file`.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

/// A certificate with what leads to its authority, and its private key.
pub(super) struct Identity {
    pub(super) leaf: X509,
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
}

/// All certificates of a file, at least one.
pub(super) fn certificates(key: &'static str, path: &Path) -> Result<Vec<X509>, FileError> {
    let bytes = read(key, path)?;
    let problem = match X509::stack_from_pem(&bytes) {
        Ok(found) if !found.is_empty() => return Ok(found),
        _ if X509::from_der(&bytes).is_ok() => {
            "is in DER form; convert it: openssl x509 -inform der".to_owned()
        }
        _ if begins(&bytes).any(|line| line.contains("PRIVATE KEY")) && !has_certificate(&bytes) => {
            "holds a private key and no certificate; name the certificate here".to_owned()
        }
        Ok(_) => "holds no certificate in PEM form".to_owned(),
        Err(error) => format!("holds a certificate that can't be read: {}", words(&error)),
    };
    Err(bad(key, path, problem))
}

/// Authorities of which at least one can vouch for somebody now.
pub(super) fn authorities(key: &'static str, path: &Path) -> Result<Vec<X509>, FileError> {
    let found = certificates(key, path)?;
    match found.iter().map(|authority| out_of_date(authority)).collect::<Option<Vec<_>>>() {
        Some(problems) => Err(bad(key, path, problems.first().cloned().unwrap_or_default())),
        None => Ok(found),
    }
}

/// A certificate that is in date, and the key that belongs to it.
pub(super) fn identity(cert: &Path, key: &Path) -> Result<Identity, FileError> {
    let mut chain = certificates("cert_file", cert)?;
    let leaf = chain.remove(0);
    if let Some(problem) = out_of_date(&leaf) {
        return Err(bad("cert_file", cert, problem));
    }
    let private = private_key("key_file", key)?;
    let public = leaf.public_key().map_err(|error| bad("cert_file", cert, words(&error)))?;
    if !private.public_eq(&public) {
        let problem = format!("doesn't belong to the certificate in {}; name its own key", cert.display());
        return Err(bad("key_file", key, problem));
    }
    Ok(Identity { leaf, chain, key: private })
}

fn private_key(key: &'static str, path: &Path) -> Result<PKey<Private>, FileError> {
    let bytes = Zeroizing::new(read(key, path)?);
    let mut asked = false;
    let parsed = PKey::private_key_from_pem_callback(&bytes, |_| {
        asked = true;
        Err(ErrorStack::get())
    });
    let problem = match parsed {
        Ok(private) => return Ok(private),
        Err(_) if asked => {
            "is encrypted, and a pass phrase can't be given; decrypt it (openssl pkey) and protect the file"
                .to_owned()
        }
        Err(_) if PKey::private_key_from_der(&bytes).is_ok() => {
            "is in DER form; convert it: openssl pkey -inform der".to_owned()
        }
        Err(_) if begins(&bytes).any(|line| line.contains("OPENSSH")) => {
            "holds a key of OpenSSH; convert it: ssh-keygen -p -m PEM".to_owned()
        }
        Err(_) if has_certificate(&bytes) => {
            "holds a certificate and no private key; name the key here".to_owned()
        }
        Err(_) if !begins(&bytes).any(|line| line.contains("PRIVATE KEY")) => {
            "holds no private key in PEM form".to_owned()
        }
        Err(error) => format!("holds a private key that can't be read: {}", words(&error)),
    };
    Err(bad(key, path, problem))
}

/// Looks at a file of revocation lists, which OpenSSL then reads itself.
pub(super) fn revocations(key: &'static str, path: &Path) -> Result<(), FileError> {
    let bytes = read(key, path)?;
    if begins(&bytes).any(|line| line.contains("X509 CRL")) {
        Ok(())
    } else {
        Err(bad(key, path, "holds no revocation list (X509 CRL) in PEM form"))
    }
}

pub(super) fn bad(key: &'static str, path: &Path, problem: impl Into<String>) -> FileError {
    FileError { key, path: path.to_owned(), problem: problem.into() }
}

/// What OpenSSL says, without the places in its sources.
pub(super) fn words(error: &ErrorStack) -> String {
    let reasons: Vec<_> = error.errors().iter().filter_map(openssl::error::Error::reason).collect();
    if reasons.is_empty() { "OpenSSL doesn't say why".to_owned() } else { reasons.join(", ") }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|error| bad(key, path, format!("can't be read: {error}")))
}

fn begins(bytes: &[u8]) -> impl Iterator<Item = String> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"-----BEGIN"));
    lines.map(|line| String::from_utf8_lossy(line).into_owned())
}

fn has_certificate(bytes: &[u8]) -> bool {
    begins(bytes).any(|line| line.contains("CERTIFICATE"))
}

/// Why a certificate can't be used at this time.
pub(super) fn out_of_date(certificate: &X509Ref) -> Option<String> {
    let now = Asn1Time::days_from_now(0).ok()?;
    if certificate.not_after() < now {
        return Some(format!("expired on {}; renew it", certificate.not_after()));
    }
    if certificate.not_before() > now {
        let begin = certificate.not_before();
        return Some(format!("isn't valid before {begin}; check the clock of this machine"));
    }
    None
}
