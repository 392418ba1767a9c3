//! Passwords: what is asked of them, and how they are kept (argon2id, RFC 9106).

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use openssl::rand::rand_bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// Nobody types more, and what is hashed for strangers has to have an end.
const MAX_LENGTH: usize = 1024;
/// Least memory, in KiB.
const MIN_MEMORY: u32 = 7 * 1024;
/// Least memory times iterations: what each of OWASP's equivalent settings comes to.
const MIN_WORK: u64 = 35 * 1024;

/// `security.passwords`: what is asked of passwords, and what a guess costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordSettings {
    /// Fewest characters of a new password.
    pub min_length: usize,
    /// Memory that one hash takes, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes over that memory.
    pub argon2_iterations: u32,
    /// Lanes.
    pub argon2_parallelism: u32,
}

impl Default for PasswordSettings {
    fn default() -> Self {
        Self { min_length: 12, argon2_memory_kib: 19 * 1024, argon2_iterations: 2, argon2_parallelism: 1 }
    }
}

impl PasswordSettings {
    /// Every key with a value that can't work or isn't safe, and why.
    pub fn flaws(&self) -> Vec<(String, String)> {
        let work = u64::from(self.argon2_memory_kib) * u64::from(self.argon2_iterations);
        let checks = [
            ("min_length", !(8..=128).contains(&self.min_length), "must be from 8 to 128"),
            (
                "argon2_memory_kib",
                !(MIN_MEMORY..=1 << 20).contains(&self.argon2_memory_kib),
                "must be from 7168 (7 MiB) to 1048576 (1 GiB)",
            ),
            (
                "argon2_iterations",
                work < MIN_WORK || self.argon2_iterations > 100,
                "must be at most 100, and times argon2_memory_kib at least 35840, or guessing is too cheap",
            ),
            ("argon2_parallelism", !(1..=16).contains(&self.argon2_parallelism), "must be from 1 to 16"),
        ];
        let wrong = checks.into_iter().filter(|(_, wrong, _)| *wrong);
        wrong.map(|(key, _, problem)| (key.to_owned(), problem.to_owned())).collect()
    }

    fn argon2(&self) -> Result<Argon2<'static>, PasswordError> {
        let params =
            Params::new(self.argon2_memory_kib, self.argon2_iterations, self.argon2_parallelism, None);
        let params = params.map_err(|error| PasswordError::Hash(error.to_string()))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// Why a password or its hash isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Too easy to guess.
    #[error("a password has at least {0} characters (security.passwords.min_length); use a longer one")]
    TooShort(usize),
    /// Longer than anybody types.
    #[error("a password has at most {MAX_LENGTH} bytes; use a shorter one")]
    TooLong,
    /// The same as the account.
    #[error("the password is the account's name; use another")]
    IsName,
    /// No argon2id in PHC form.
    #[error("the hash isn't argon2id in PHC form ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")]
    NoHash,
    /// It can't be hashed.
    #[error("the password can't be hashed: {0}")]
    Hash(String),
}

/// What is kept of a password, in PHC form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(String);

impl Hash {
    /// Of a new password, which has to be good enough.
    pub fn of(name: &str, password: &str, settings: &PasswordSettings) -> Result<Self, PasswordError> {
        if password.chars().count() < settings.min_length {
            return Err(PasswordError::TooShort(settings.min_length));
        }
        if password.len() > MAX_LENGTH {
            return Err(PasswordError::TooLong);
        }
        if password.eq_ignore_ascii_case(name) {
            return Err(PasswordError::IsName);
        }
        Self::compute(password, settings)
    }

    fn compute(password: &str, settings: &PasswordSettings) -> Result<Self, PasswordError> {
        let failed = |error: String| PasswordError::Hash(error);
        let mut salt = [0; 16];
        rand_bytes(&mut salt).map_err(|error| failed(error.to_string()))?;
        let hash = settings.argon2()?.hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| Self(hash.to_string())).map_err(|error| failed(error.to_string()))
    }

    /// One that no password has: checking it takes as long as checking any.
    pub fn of_nobody(settings: &PasswordSettings) -> Result<Self, PasswordError> {
        Self::compute(&one_time_password()?, settings)
    }

    /// Whether it is this password's. Takes its time, and a thread with it.
    pub fn is_of(&self, password: &str) -> bool {
        let parsed = PasswordHash::new(&self.0);
        password.len() <= MAX_LENGTH
            && parsed.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

impl TryFrom<String> for Hash {
    type Error = PasswordError;

    fn try_from(text: String) -> Result<Self, PasswordError> {
        let parsed = PasswordHash::new(&text).map_err(|_| PasswordError::NoHash)?;
        let complete = parsed.salt.is_some() && parsed.hash.is_some();
        let kind = parsed.algorithm == Algorithm::Argon2id.ident();
        if complete && kind && Params::try_from(&parsed).is_ok() {
            Ok(Self(text))
        } else {
            Err(PasswordError::NoHash)
        }
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

/// A password to be used once: 120 random bits.
pub fn one_time_password() -> Result<Zeroizing<String>, PasswordError> {
    let mut bytes = Zeroizing::new([0; 15]);
    rand_bytes(&mut *bytes).map_err(|error| PasswordError::Hash(error.to_string()))?;
    Ok(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> PasswordSettings {
        PasswordSettings { argon2_memory_kib: 7168, argon2_iterations: 5, ..PasswordSettings::default() }
    }

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let hash = Hash::of("ann", "correct horse", &cheap()).unwrap();
        assert!(hash.is_of("correct horse"));
        assert!(!hash.is_of("correct Horse") && !hash.is_of(""));
        let text = String::from(hash);
        assert!(text.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{text}");
        assert!(Hash::try_from(text).unwrap().is_of("correct horse"));
    }

    #[test]
    fn bad_passwords_are_refused_with_the_reason() {
        let refused = |name, password: &str| Hash::of(name, password, &cheap()).unwrap_err();
        assert_eq!(refused("ann", "short"), PasswordError::TooShort(12));
        assert_eq!(refused("administrator", "Administrator"), PasswordError::IsName);
        assert_eq!(refused("ann", &"a".repeat(1025)), PasswordError::TooLong);
    }

    #[test]
    fn what_is_no_argon2id_is_no_hash() {
        let pbkdf2 = "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA";
        for text in ["", "secret", pbkdf2, "$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHQ"] {
            assert_eq!(Hash::try_from(text.to_owned()), Err(PasswordError::NoHash), "{text}");
        }
    }

    #[test]
    fn settings_that_make_guessing_cheap_are_named() {
        assert_eq!(PasswordSettings::default().flaws(), []);
        assert_eq!(cheap().flaws(), []);
        let weak = PasswordSettings {
            min_length: 4,
            argon2_memory_kib: 1024,
            argon2_iterations: 1,
            argon2_parallelism: 0,
        };
        let keys: Vec<_> = weak.flaws().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["min_length", "argon2_memory_kib", "argon2_iterations", "argon2_parallelism"]);
    }
}
