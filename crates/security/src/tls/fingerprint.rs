//! A certificate's fingerprint, as people compare it and configurations pin it.

use std::{fmt, str::FromStr};

use openssl::{hash::MessageDigest, x509::X509Ref};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// SHA-256 of a certificate's DER form. Read from 64 hexadecimal digits, with or without colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate; nothing if OpenSSL can't compute it.
    pub fn of(certificate: &X509Ref) -> Option<Self> {
        let digest = certificate.digest(MessageDigest::sha256()).ok()?;
        digest.as_ref().try_into().ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| Some(nibble(pair[0])? << 4 | nibble(pair[1])?);
        let bytes: Option<Vec<u8>> = digits.chunks(2).filter(|pair| pair.len() == 2).map(byte).collect();
        let bytes = bytes.filter(|_| digits.len() == 64).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            "must be 64 hexadecimal digits, as openssl x509 -noout -fingerprint -sha256 prints them"
                .to_owned()
        })
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_openssl_prints_them() {
        let bare = "0f".repeat(32);
        let printed = vec!["0F"; 32].join(":");
        assert_eq!(printed.parse::<Fingerprint>().unwrap().to_string(), bare);
        assert_eq!(bare.parse::<Fingerprint>().unwrap().to_string(), bare);
        for bad in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"é".repeat(32)] {
            assert!(bad.parse::<Fingerprint>().unwrap_err().contains("64 hexadecimal"), "{bad}");
        }
    }
}
