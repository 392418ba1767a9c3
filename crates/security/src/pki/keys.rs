//! Private keys on disk: PKCS#8, for nobody but their owner, encrypted where there is a passphrase.

use std::{
    fmt, fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use openssl::{
    pkey::{PKey, PKeyRef, Private},
    symm::Cipher,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::PkiError;
use crate::tls::{Flaw, PemError, read_key};

/// Shorter ones are found by trying.
const SHORTEST: usize = 12;

/// What a key is encrypted with. Never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Long enough to protect something.
    pub fn new(text: impl Into<String>) -> Result<Self, PkiError> {
        let text = Zeroizing::new(text.into());
        if text.chars().count() < SHORTEST { Err(PkiError::ShortPassphrase) } else { Ok(Self(text)) }
    }

    /// The first line of a file.
    pub fn read(path: &Path) -> Result<Self, PkiError> {
        let text = Zeroizing::new(fs::read_to_string(path).map_err(PkiError::file(path))?);
        Self::new(text.lines().next().unwrap_or_default())
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Where the key of the authority that signs comes from.
#[derive(Debug, Clone, Default)]
pub struct KeySource {
    /// Instead of the folder.
    pub file: Option<PathBuf>,
    /// Of that key, if it is encrypted.
    pub passphrase: Option<Passphrase>,
}

/// Reads a key, encrypted or not.
pub(super) fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<PKey<Private>, PkiError> {
    match read_key(path, passphrase.map(Passphrase::bytes)) {
        Err(PemError { flaw: Flaw::Encrypted, .. }) if passphrase.is_some() => {
            Err(PkiError::WrongPassphrase(path.to_path_buf()))
        }
        Err(PemError { flaw: Flaw::Encrypted, .. }) => Err(PkiError::PassphraseNeeded(path.to_path_buf())),
        read => Ok(read?),
    }
}

/// Writes a key, encrypted where there is a passphrase.
pub(super) fn write(
    path: &Path,
    key: &PKeyRef<Private>,
    passphrase: Option<&Passphrase>,
) -> Result<(), PkiError> {
    let mut pem = match passphrase {
        Some(passphrase) => {
            key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase.bytes())?
        }
        None => key.private_key_to_pem_pkcs8()?,
    };
    let written = replace(path, &pem, 0o600);
    pem.zeroize();
    written
}

/// Writes a file in one step: whoever reads it sees all of the old or all of the new.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), PkiError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let new = path.with_file_name(name);
    // What an interrupted command left; its mode would stay.
    if new.exists() {
        fs::remove_file(&new).map_err(PkiError::file(&new))?;
    }
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(PkiError::file(path))
}
