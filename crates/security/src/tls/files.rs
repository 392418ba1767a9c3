//! Certificates and keys from files. Every error says which file, what is wrong with it, and what to do.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    error::ErrorStack,
    pkey::{PKey, PKeyRef, Private, Public},
    x509::{X509, X509Ref},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// A file that can't be used.
#[derive(Debug, Error)]
#[error("{}: {flaw}", .path.display())]
pub struct PemError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub flaw: Flaw,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum Flaw {
    /// The system doesn't let it be read.
    #[error("can't be read: {0}")]
    Unreadable(io::Error),
    /// There is no certificate in it.
    #[error("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// The certificate is in the wrong form.
    #[error("holds a certificate in DER form; convert it: openssl x509 -inform der -in FILE -out NEW.pem")]
    Der,
    /// Something begins like a certificate.
    #[error("a certificate in it is damaged")]
    Damaged,
    /// There is no key in it.
    #[error(
        "holds no private key in PEM form, but {0}; write it as PKCS#8: openssl pkcs8 -topk8 -nocrypt -in FILE"
    )]
    NoKey(&'static str),
    /// The key needs a passphrase.
    #[error(
        "the private key is encrypted; decrypt it (openssl pkcs8 -in FILE -out NEW.key) and protect the file"
    )]
    Encrypted,
    /// Something begins like a key.
    #[error("the private key in it is damaged, or of a kind that OpenSSL doesn't know")]
    BadKey,
    /// Key and certificate aren't a pair.
    #[error("the private key doesn't belong to the first certificate in {}", .0.display())]
    Mismatch(PathBuf),
    /// Its time is over.
    #[error("the certificate expired at {0}; renew it")]
    Expired(Timestamp),
    /// Its time is still to come.
    #[error("the certificate isn't valid before {0}; is this machine's clock right?")]
    NotYet(Timestamp),
    /// Nobody who is trusted has signed it.
    #[error("the certificate isn't signed by an authority in {} ({reason})", .authorities.display())]
    Untrusted {
        /// Who is trusted.
        authorities: PathBuf,
        /// What OpenSSL says.
        reason: String,
    },
    /// There is no revocation list in it.
    #[error("holds no revocation list in PEM form (-----BEGIN X509 CRL-----)")]
    NoList,
    /// A revocation list is somebody else's.
    #[error("the revocation list of {issuer} isn't signed by that authority")]
    ForeignList {
        /// Who is said to have made it.
        issuer: String,
    },
    /// OpenSSL refused.
    #[error("OpenSSL refused: {0}")]
    OpenSsl(#[from] ErrorStack),
}

impl Flaw {
    /// In this file.
    pub(crate) fn of(self, path: &Path) -> PemError {
        PemError { path: path.to_path_buf(), flaw: self }
    }
}

/// A certificate with those of its authorities behind it, and its key.
#[derive(Clone)]
pub struct Credentials {
    /// The own certificate first.
    pub chain: Vec<X509>,
    /// The key of the first.
    pub key: PKey<Private>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads both, and checks that they belong together and are valid today.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, PemError> {
        let chain = read_certificates(certificates)?;
        let own = read_key(key, None)?;
        let is_pair = |own: &PKeyRef<Private>| Ok(chain[0].public_key()?.public_eq(own));
        if !is_pair(&own).map_err(|error: ErrorStack| Flaw::from(error).of(certificates))? {
            return Err(Flaw::Mismatch(certificates.to_path_buf()).of(key));
        }
        check_time(&chain[0]).map_err(|flaw| flaw.of(certificates))?;
        Ok(Self { chain, key: own })
    }

    /// The own certificate.
    pub fn certificate(&self) -> &X509Ref {
        &self.chain[0]
    }
}

/// Whether a certificate is valid at this moment.
fn check_time(certificate: &X509Ref) -> Result<(), Flaw> {
    let now = Timestamp::now();
    let (from, until) = (timestamp(certificate.not_before())?, timestamp(certificate.not_after())?);
    if until < now {
        return Err(Flaw::Expired(until));
    }
    if from > now {
        return Err(Flaw::NotYet(from));
    }
    Ok(())
}

/// All certificates of a PEM file, at least one, in its order.
pub fn read_certificates(path: &Path) -> Result<Vec<X509>, PemError> {
    let bytes = fs::read(path).map_err(|error| Flaw::Unreadable(error).of(path))?;
    match X509::stack_from_pem(&bytes) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) if X509::from_der(&bytes).is_ok() => Err(Flaw::Der.of(path)),
        Ok(_) => Err(Flaw::NoCertificate.of(path)),
        Err(_) => Err(Flaw::Damaged.of(path)),
    }
}

/// What a file that holds no private key may hold instead, by how it begins.
const OTHERS: [(&str, &str); 5] = [
    ("-----BEGIN CERTIFICATE-----", "a certificate"),
    ("-----BEGIN PUBLIC KEY-----", "a public key"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", "a key in OpenSSH's form"),
    ("-----BEGIN CERTIFICATE REQUEST-----", "a certificate request"),
    ("-----BEGIN PGP", "a key in PGP's form"),
];

/// The private key of a PEM file. Never asks anybody for a passphrase.
pub(crate) fn read_key(path: &Path, passphrase: Option<&[u8]>) -> Result<PKey<Private>, PemError> {
    let bytes = fs::read(path).map_err(|error| Flaw::Unreadable(error).of(path))?;
    let bytes = Zeroizing::new(bytes);
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    if !text.contains("PRIVATE KEY-----") || text.contains("BEGIN OPENSSH PRIVATE KEY") {
        let other = OTHERS.iter().find(|(begin, _)| text.contains(begin)).map(|(_, what)| *what);
        let is_der = PKey::private_key_from_der(&bytes).is_ok();
        let what = other.unwrap_or(if is_der { "a key in DER form" } else { "something else" });
        return Err(Flaw::NoKey(what).of(path));
    }
    let is_encrypted =
        text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
    let key = match passphrase {
        Some(passphrase) if is_encrypted => PKey::private_key_from_pem_passphrase(&bytes, passphrase),
        _ if is_encrypted => return Err(Flaw::Encrypted.of(path)),
        _ => PKey::private_key_from_pem_callback(&bytes, |_| Err(ErrorStack::get())),
    };
    key.map_err(|_| if is_encrypted { Flaw::Encrypted } else { Flaw::BadKey }.of(path))
}

/// The public half of a key.
pub(crate) fn public(key: &PKeyRef<Private>) -> Result<PKey<Public>, ErrorStack> {
    PKey::public_key_from_der(&key.public_key_to_der()?)
}

/// A time of a certificate.
pub(crate) fn timestamp(time: &Asn1TimeRef) -> Result<Timestamp, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    // Beyond what a timestamp can say, years are all the same.
    Ok(Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX }))
}
