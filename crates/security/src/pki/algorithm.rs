//! Which keys are made.

use std::{fmt, str::FromStr};

use openssl::{
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{HasPublic, PKey, PKeyRef, Private},
    rsa::Rsa,
};

use super::error::PkiError;

/// A kind of key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl KeyAlgorithm {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::Rsa4096];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "ECDSA-P256",
            Self::P384 => "ECDSA-P384",
            Self::Rsa4096 => "RSA-4096",
        }
    }

    /// A new key.
    pub fn generate(self) -> Result<PKey<Private>, ErrorStack> {
        match self {
            Self::P256 => on_curve(Nid::X9_62_PRIME256V1),
            Self::P384 => on_curve(Nid::SECP384R1),
            Self::Rsa4096 => PKey::from_rsa(Rsa::generate(4096)?),
        }
    }
}

fn on_curve(curve: Nid) -> Result<PKey<Private>, ErrorStack> {
    PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(curve)?)?)
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = String;

    /// `ECDSA-P256`, and shorter: `p256`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_uppercase().replace("ECDSA-", "").replace('-', "");
        let is_it = |known: &Self| known.as_str().replace("ECDSA-", "").replace('-', "") == wanted;
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(is_it).ok_or_else(|| format!("write one of {}", names()))
    }
}

/// The digest that goes with a key's strength.
pub(super) fn digest_for<T: HasPublic>(key: &PKeyRef<T>) -> MessageDigest {
    let is_p384 = key.ec_key().is_ok_and(|key| key.group().curve_name() == Some(Nid::SECP384R1));
    if is_p384 { MessageDigest::sha384() } else { MessageDigest::sha256() }
}

/// Whether a key that somebody else made is strong enough to be certified (IEC 62443-4-2 CR 1.9).
pub(super) fn check_strength<T: HasPublic>(key: &PKeyRef<T>) -> Result<(), PkiError> {
    if let Ok(key) = key.ec_key() {
        return match key.group().curve_name() {
            Some(Nid::X9_62_PRIME256V1 | Nid::SECP384R1 | Nid::SECP521R1) => Ok(()),
            curve => {
                let name = curve.and_then(|curve| curve.short_name().ok()).unwrap_or("an unnamed curve");
                Err(PkiError::WeakKey(format!("a key on {name}")))
            }
        };
    }
    match key.rsa() {
        Ok(_) if key.bits() >= 2048 => Ok(()),
        Ok(_) => Err(PkiError::WeakKey(format!("an RSA key of {} bits", key.bits()))),
        Err(_) => Err(PkiError::WeakKey("a key that is neither RSA nor ECDSA".to_owned())),
    }
}

impl KeyAlgorithm {
    /// The kind that comes nearest to a key's.
    pub(super) fn of<T: HasPublic>(key: &PKeyRef<T>) -> Self {
        match key.ec_key() {
            Ok(key) if key.group().curve_name() == Some(Nid::SECP384R1) => Self::P384,
            Ok(_) => Self::P256,
            Err(_) => Self::Rsa4096,
        }
    }
}
