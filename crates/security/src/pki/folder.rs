//! The folder in which everything lives, and the lock on it.
//!
//! ```text
//! index.json                       all that was ever issued
//! root.pem  root.key               the anchor; the key encrypted, or kept elsewhere
//! gateway-ca.pem  gateway-ca.key   what it signs
//! device-ca.pem  device-ca.key
//! issued/NAME.pem  NAME.key        certificate with its authority's behind it; a request brings no key
//! crl/AUTHORITY.pem  crl.pem       revocation lists; the last holds all of them
//! ```

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use openssl::{
    pkey::{PKey, Private},
    x509::X509,
};

use super::{
    algorithm::KeyAlgorithm,
    certificate::{self, Signer, Template},
    error::PkiError,
    index::{Index, Record},
    keys::{self, KeySource, Passphrase},
    profile::Profile,
    subject::Subject,
};
use crate::tls::{public, read_certificates};

/// How a new folder is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What the authorities are called; ` Root CA` and so on follow.
    pub name: String,
    /// Of the authorities' keys.
    pub algorithm: KeyAlgorithm,
    /// Of the root's key; none: it lies there as it is.
    pub passphrase: Option<Passphrase>,
}

/// An own public key infrastructure, as long as nobody else works on it.
#[derive(Debug)]
pub struct Folder {
    pub(super) path: PathBuf,
    pub(super) index: Index,
    /// Held until this is dropped.
    _lock: File,
}

impl Folder {
    /// Makes the root and both authorities below it.
    pub fn create(path: &Path, setup: &Setup) -> Result<Self, PkiError> {
        for folder in [path.to_path_buf(), path.join("issued"), path.join("crl")] {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&folder).map_err(PkiError::file(&folder))?;
        }
        let lock = lock(path)?;
        if Index::file(path).exists() || path.join("root.pem").exists() {
            return Err(PkiError::Exists(path.to_path_buf()));
        }
        let mut folder = Self { path: path.to_path_buf(), index: Index::new(), _lock: lock };
        let root_key = setup.algorithm.generate()?;
        let subject = Subject::named(format!("{} Root CA", setup.name));
        let subject = subject.complete(Profile::Root)?;
        let template = Template {
            profile: Profile::Root,
            subject: &subject,
            key: &*public(&root_key)?,
            days: Profile::Root.days(),
        };
        let root = certificate::make(&template, Signer { certificate: None, key: &root_key })?;
        folder.keep_authority(Profile::Root, &subject, &root)?;
        let signer = Signer { certificate: Some(&root), key: &root_key };
        for (profile, what) in [(Profile::GatewayCa, "Gateway CA"), (Profile::DeviceCa, "Device CA")] {
            folder.add_authority(profile, &format!("{} {what}", setup.name), setup.algorithm, signer)?;
        }
        keys::write(&folder.key_file(Profile::Root), &root_key, setup.passphrase.as_ref())?;
        folder.refresh_lists(&[(Profile::Root, &root_key)])?;
        Ok(folder)
    }

    fn add_authority(
        &mut self,
        profile: Profile,
        name: &str,
        algorithm: KeyAlgorithm,
        signer: Signer<'_>,
    ) -> Result<(), PkiError> {
        let key = algorithm.generate()?;
        let subject = Subject::named(name).complete(profile)?;
        let template = Template { profile, subject: &subject, key: &*public(&key)?, days: profile.days() };
        let certificate = certificate::make(&template, signer)?;
        keys::write(&self.key_file(profile), &key, None)?;
        self.keep_authority(profile, &subject, &certificate)
    }

    fn keep_authority(
        &mut self,
        profile: Profile,
        subject: &Subject,
        certificate: &X509,
    ) -> Result<(), PkiError> {
        keys::replace(&self.certificate_file(profile), &certificate.to_pem()?, 0o644)?;
        self.index.certificates.push(Record::of(certificate, profile, profile.as_str(), subject)?);
        Ok(())
    }

    /// Opens what was made before, and keeps everybody else out.
    pub fn open(path: &Path) -> Result<Self, PkiError> {
        if !Index::file(path).exists() {
            return Err(PkiError::NoAuthority(path.to_path_buf()));
        }
        let lock = lock(path)?;
        Ok(Self { path: path.to_path_buf(), index: Index::load(path)?, _lock: lock })
    }

    /// All that was ever issued, the oldest first.
    pub fn records(&self) -> &[Record] {
        &self.index.certificates
    }

    /// The certificate file of an authority.
    pub fn certificate_file(&self, authority: Profile) -> PathBuf {
        self.path.join(format!("{authority}.pem"))
    }

    /// The file with all revocation lists.
    pub fn lists_file(&self) -> PathBuf {
        self.path.join("crl.pem")
    }

    /// The file of a certificate that is no authority's, with its authority's behind it.
    pub fn issued_file(&self, name: &str) -> PathBuf {
        self.path.join("issued").join(format!("{name}.pem"))
    }

    /// Where the key of such a certificate is, unless it was never here.
    pub fn issued_key_file(&self, name: &str) -> PathBuf {
        self.path.join("issued").join(format!("{name}.key"))
    }

    pub(super) fn key_file(&self, authority: Profile) -> PathBuf {
        self.path.join(format!("{authority}.key"))
    }

    /// An authority's certificate.
    pub(super) fn authority(&self, authority: Profile) -> Result<X509, PkiError> {
        Ok(read_certificates(&self.certificate_file(authority))?.swap_remove(0))
    }

    /// An authority's certificate and key: from the folder, or from where its keeper says.
    pub(super) fn signer(
        &self,
        authority: Profile,
        source: &KeySource,
    ) -> Result<(X509, PKey<Private>), PkiError> {
        let certificate = self.authority(authority)?;
        let path = source.file.clone().unwrap_or_else(|| self.key_file(authority));
        if source.file.is_none() && !path.exists() {
            return Err(PkiError::NoKey { authority, path });
        }
        let key = keys::read(&path, source.passphrase.as_ref())?;
        if !certificate.public_key()?.public_eq(&key) {
            return Err(PkiError::WrongKey { authority, path });
        }
        Ok((certificate, key))
    }
}

fn lock(folder: &Path) -> Result<File, PkiError> {
    let path = folder.join("lock");
    let file = File::options().create(true).append(true).open(&path).map_err(PkiError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PkiError::InUse(folder.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(PkiError::File { path, source }),
    }
}
