//! Signed notes (C2SP `signed-note`): a text, and lines that say who vouches for it.
//!
//! Ed25519 alone, by OpenSSL. A key is named after what it signs for, so that notes of two gateways can't be
//! taken for each other.

use std::{fmt, fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use openssl::{
    error::ErrorStack,
    pkey::{Id, PKey, Private, Public},
    sign::{Signer, Verifier},
};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Signature type of Ed25519 (C2SP `signed-note`).
const ED25519: u8 = 1;
/// Begins a line with a signature.
pub(super) const DASH: &str = "— ";

/// What is wrong with a key or a note.
#[derive(Debug, Error)]
pub enum NoteError {
    /// A file can't be read or written.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// OpenSSL refuses.
    #[error("Ed25519: {0}")]
    Crypto(#[from] ErrorStack),
    /// No private key in it.
    #[error("{0} holds no Ed25519 private key in PEM form")]
    NoKey(String),
    /// Not a verifier key.
    #[error("{0:?} is no key; write NAME+HASH+BASE64 as `bifrost audit key` prints it")]
    BadKey(String),
    /// Not a note.
    #[error("this is no signed note: {0}")]
    Malformed(&'static str),
    /// Nobody who is known has signed it.
    #[error("no valid signature of {0}")]
    Unsigned(String),
}

/// A private key with its name.
pub struct SigningKey {
    name: String,
    key: PKey<Private>,
    verifier: VerifierKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A public key with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl SigningKey {
    /// A new one.
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        Self::of(name, PKey::generate_ed25519()?)
    }

    fn of(name: &str, key: PKey<Private>) -> Result<Self, NoteError> {
        let verifier = VerifierKey::of(name, &key.raw_public_key()?)?;
        Ok(Self { name: name.to_owned(), key, verifier })
    }

    /// The one in this file (PKCS#8 in PEM form), which is made where there is none: readable by its owner alone.
    pub fn load_or_generate(file: &Path, name: &str) -> Result<Self, NoteError> {
        let at = |source| NoteError::File { file: file.display().to_string(), source };
        match fs::read(file) {
            Ok(pem) => {
                let no_key = || NoteError::NoKey(file.display().to_string());
                let key = PKey::private_key_from_pem(&pem).map_err(|_| no_key())?;
                if key.id() == Id::ED25519 { Self::of(name, key) } else { Err(no_key()) }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::generate(name)?;
                let pem = zeroize::Zeroizing::new(made.key.private_key_to_pem_pkcs8()?);
                let open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
                let write = |mut file: fs::File| file.write_all(&pem).and_then(|()| file.sync_all());
                open.and_then(write).map_err(at)?;
                Ok(made)
            }
            Err(error) => Err(at(error)),
        }
    }

    /// Who can check what this signs.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// A signature of these bytes: 64 of them.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, NoteError> {
        Ok(Signer::new_without_digest(&self.key)?.sign_oneshot_to_vec(bytes)?)
    }

    /// A text that ends with a newline, signed.
    pub fn note(&self, text: &str) -> Result<String, NoteError> {
        Ok(format!("{text}\n{}", self.line(&self.sign(text.as_bytes())?)))
    }

    fn line(&self, signature: &[u8]) -> String {
        signature_line(&self.name, self.verifier.id, signature)
    }
}

/// A line of a note with a signature.
pub(super) fn signature_line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    format!("{DASH}{name} {}\n", BASE64_STANDARD.encode([id.as_slice(), signature].concat()))
}

impl VerifierKey {
    fn of(name: &str, public: &[u8]) -> Result<Self, NoteError> {
        let bad = || NoteError::BadKey(name.to_owned());
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') {
            return Err(bad());
        }
        let public = public.try_into().map_err(|_| bad())?;
        Ok(Self { name: name.to_owned(), id: key_id(name, ED25519, &public), public })
    }

    /// As it is written: `NAME+HASH+BASE64` (C2SP `signed-note`).
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let bad = || NoteError::BadKey(text.trim().to_owned());
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| bad())?;
        let Some((&ED25519, public)) = key.split_first() else { return Err(bad()) };
        let key = Self::of(name, public).map_err(|_| bad())?;
        if hex(&key.id) == id { Ok(key) } else { Err(bad()) }
    }

    /// What it signs for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the key has signed these bytes.
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let check = || -> Result<bool, ErrorStack> {
            let key: PKey<Public> = PKey::public_key_from_raw_bytes(&self.public, Id::ED25519)?;
            Verifier::new_without_digest(&key)?.verify_oneshot(signature, bytes)
        };
        check().unwrap_or(false)
    }

    /// The text of a note, if the key has signed it.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let (text, lines) = parts(note)?;
        let own = signatures(lines).filter(|(name, id, _)| *name == self.name && *id == self.id);
        let valid = own.into_iter().any(|(.., signature)| self.has_signed(text.as_bytes(), &signature));
        if valid { Ok(text) } else { Err(NoteError::Unsigned(self.name.clone())) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64_STANDARD.encode([&[ED25519], self.public.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.id))
    }
}

/// SHA-256(name ‖ newline ‖ type ‖ key), the first four bytes.
fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', kind]).chain_update(public).finalize();
    let mut id = [0; 4];
    id.copy_from_slice(&hash[..4]);
    id
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Into a String: can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text and signature lines of a note.
pub(super) fn parts(note: &str) -> Result<(&str, &str), NoteError> {
    let end = note.rfind("\n\n").ok_or(NoteError::Malformed("it has no empty line before signatures"))?;
    let (text, lines) = (&note[..=end], &note[end + 2..]);
    if lines.is_empty() || !lines.lines().all(|line| line.starts_with(DASH)) {
        return Err(NoteError::Malformed("it has no signatures, or something behind them"));
    }
    Ok((text, lines))
}

/// Name, key id and signature of each line that has them.
pub(super) fn signatures(lines: &str) -> impl Iterator<Item = (&str, [u8; 4], Vec<u8>)> {
    lines.lines().filter_map(|line| {
        let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(bytes).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        Some((name, *id, signature.to_vec()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::generate("bifrost/gw-1/audit").unwrap()
    }

    #[test]
    fn a_note_is_opened_by_its_key_alone() {
        let (key, other) = (key(), key());
        let note = key.note("one\ntwo\n").unwrap();
        assert!(note.starts_with("one\ntwo\n\n— bifrost/gw-1/audit "), "{note}");
        assert_eq!(key.verifier().open(&note).unwrap(), "one\ntwo\n");
        assert!(matches!(other.verifier().open(&note), Err(NoteError::Unsigned(_))));
        assert!(key.verifier().open(&note.replace("two", "too")).is_err());
        assert!(key.verifier().open("one\n").is_err() && key.verifier().open("one\n\n").is_err());
    }

    #[test]
    fn more_signatures_do_no_harm() {
        let (key, other) = (key(), SigningKey::generate("witness").unwrap());
        let note = key.note("one\n").unwrap();
        let line = other.line(&other.sign(b"one\n").unwrap());
        let both = format!("{note}{line}");
        assert_eq!(key.verifier().open(&both).unwrap(), "one\n");
        assert_eq!(other.verifier().open(&both).unwrap(), "one\n");
    }

    #[test]
    fn a_key_reads_as_it_was_written() {
        let key = key();
        let text = key.verifier().to_string();
        assert_eq!(VerifierKey::parse(&text).unwrap(), *key.verifier());
        for wrong in ["", "a+b", &text.replace("gw-1", "gw-2"), &format!("{text}AA"), "a+00000000+AQ=="] {
            assert!(VerifierKey::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.key");
        let made = SigningKey::load_or_generate(&file, "a").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::load_or_generate(&file, "a").unwrap().verifier(), made.verifier());
        fs::write(&file, "garbage").unwrap();
        assert!(matches!(SigningKey::load_or_generate(&file, "a"), Err(NoteError::NoKey(_))));
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }
}
