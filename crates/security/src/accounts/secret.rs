//! Secrets that are shown once and kept as digests: API tokens, and the tokens of sessions.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use openssl::{error::ErrorStack, rand::rand_bytes};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What a secret is for: the first part of its text, so that a leaked one can be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// An API token, `bft_…`
    Token,
    /// What a session is shown by, `bfs_…`
    Access,
    /// What a session is continued with, `bfr_…`
    Refresh,
}

impl Use {
    fn prefix(self) -> &'static str {
        match self {
            Self::Token => "bft_",
            Self::Access => "bfs_",
            Self::Refresh => "bfr_",
        }
    }
}

/// 256 random bits as text. Zeroised when dropped, not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// Characters of 256 bits in base64 without padding.
const CHARACTERS: usize = 43;

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(what_for: Use) -> Result<Self, ErrorStack> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand_bytes(&mut *bytes)?;
        let mut text = Zeroizing::new(what_for.prefix().to_owned());
        BASE64_URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
        Ok(Self(text))
    }

    /// One that somebody shows, and what it claims to be for; `None`: it has another form.
    pub fn parse(text: &str) -> Option<(Use, Self)> {
        let uses = [Use::Token, Use::Access, Use::Refresh];
        let what_for = uses.into_iter().find(|what_for| text.starts_with(what_for.prefix()))?;
        let rest = &text[what_for.prefix().len()..];
        let fits = rest.len() == CHARACTERS
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        fits.then(|| (what_for, Self(Zeroizing::new(text.to_owned()))))
    }

    /// The text, to be shown to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it. It has 256 bits: nobody guesses it, so nothing slow is needed.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a secret; written as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = openssl::bn::BigNum::from_hex_str(&text).and_then(|number| number.to_vec_padded(32));
        let bytes = bytes.ok().filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom("a digest is 64 hexadecimal digits"))
    }
}

/// A short random name, for what has to be named and isn't secret.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn random_id() -> Result<String, ErrorStack> {
    let mut bytes = [0; 9];
    rand_bytes(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_and_never_shown() {
        let secret = Secret::generate(Use::Token).unwrap();
        assert!(secret.reveal().starts_with("bft_"));
        assert_eq!(Secret::parse(secret.reveal()), Some((Use::Token, secret.clone())));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_ne!(secret.digest(), Secret::generate(Use::Token).unwrap().digest());
    }

    #[test]
    fn what_has_another_form_is_none() {
        for text in
            ["", "bft_", "bft_short", &format!("bfx_{}", "a".repeat(43)), &format!("bft_{}", "ä".repeat(43))]
        {
            assert_eq!(Secret::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_digest_survives_its_file() {
        let digest = Secret::generate(Use::Access).unwrap().digest();
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"00\"").is_err());
        assert!(serde_json::from_str::<Digest>(&format!("\"{}\"", "g".repeat(64))).is_err());
    }
}
