//! Who is at the other end, by its certificate.

use std::fmt::Write as _;

use openssl::{asn1::Asn1IntegerRef, error::ErrorStack, hash::MessageDigest, nid::Nid, x509::X509Ref};

/// A certificate that was shown and verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The subject's common name, if it has one.
    pub common_name: Option<String>,
    /// SHA-256 of the certificate's DER form, lower case hexadecimal.
    pub fingerprint: String,
    /// Serial number, lower case hexadecimal.
    pub serial: String,
    /// The issuer's name in DER form.
    pub issuer: Vec<u8>,
}

impl Peer {
    /// Of a certificate that the handshake has verified.
    pub fn of(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        let name = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next();
        let digest = certificate.digest(MessageDigest::sha256())?;
        Ok(Self {
            common_name: name.and_then(|name| name.data().to_string().ok()),
            fingerprint: hexadecimal(&digest),
            serial: serial(certificate.serial_number())?,
            issuer: certificate.issuer_name().to_der()?,
        })
    }
}

/// As peers and revocation lists write it alike.
pub(super) fn serial(number: &Asn1IntegerRef) -> Result<String, ErrorStack> {
    Ok(number.to_bn()?.to_hex_str()?.to_lowercase())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
