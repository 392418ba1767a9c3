//! What can go wrong with an own public key infrastructure.

use std::{io, path::PathBuf};

use openssl::error::ErrorStack;
use thiserror::Error;

use super::profile::Profile;
use crate::tls::PemError;

/// Why something wasn't done. Nothing was changed then, but where it is said.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A file can't be read or written.
    #[error("{}: {source}; check the path and its permissions", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate or key in a file is no good.
    #[error(transparent)]
    Content(#[from] PemError),
    /// There is no authority in the folder.
    #[error("{folder} holds no certificate authority; make one: bifrost pki init --dir {folder}", folder = .0.display())]
    NoAuthority(PathBuf),
    /// There is one already.
    #[error("{} holds a certificate authority already; choose another folder with --dir", .0.display())]
    Exists(PathBuf),
    /// Another process works on the folder.
    #[error("{} is in use by another command; try again when that has ended", .0.display())]
    InUse(PathBuf),
    /// The index can't be understood.
    #[error("{}: the index is damaged ({reason}); restore it from a backup", .path.display())]
    Index {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An authority's key isn't there.
    #[error(
        "the key of {authority} isn't at {}; if it is kept elsewhere, name it with --ca-key FILE",
        .path.display()
    )]
    NoKey {
        /// Whose.
        authority: Profile,
        /// Where it would be.
        path: PathBuf,
    },
    /// A key is encrypted, and no passphrase was given.
    #[error("{} is encrypted; give its passphrase with --passphrase-file FILE or BIFROST_PKI_PASSPHRASE", .0.display())]
    PassphraseNeeded(PathBuf),
    /// The passphrase isn't that of the key.
    #[error("{} can't be decrypted: the passphrase is wrong, or the file is damaged", .0.display())]
    WrongPassphrase(PathBuf),
    /// A passphrase that protects nothing.
    #[error("the passphrase is shorter than 12 characters; take a longer one")]
    ShortPassphrase,
    /// A key is another's than the authority's.
    #[error("{} isn't the key of {authority}", .path.display())]
    WrongKey {
        /// Whose it should be.
        authority: Profile,
        /// Which file.
        path: PathBuf,
    },
    /// A name that can't be.
    #[error("{0}; write another")]
    Subject(String),
    /// A server that nobody can reach.
    #[error("{0:?} is no host name; say under which names the server is reached: --san NAME, more than once")]
    NoNames(String),
    /// A role for somebody who is no device.
    #[error("a {0} certificate has no role; a device certificate has")]
    RoleWithout(Profile),
    /// A key that others made and that is too weak.
    #[error("{0} is too weak to be certified; take ECDSA P-256, or RSA with 2048 bits at least")]
    WeakKey(String),
    /// A request that isn't one, or asks for what nobody gets.
    #[error("{}: {reason}", .path.display())]
    Request {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A name of files that is taken.
    #[error("a valid certificate named {0:?} exists; renew it, revoke it, or choose another with --name")]
    NameTaken(String),
    /// A name of files that can't be.
    #[error("{0:?} can't be a file's name; write letters, digits, dots and dashes with --name")]
    FileName(String),
    /// No such certificate.
    #[error("there is no certificate {0:?}; bifrost pki list shows serial numbers and names")]
    Unknown(String),
    /// More than one certificate is meant.
    #[error("{0:?} is the name of several valid certificates; write the serial number of one")]
    Ambiguous(String),
    /// It was revoked before.
    #[error("certificate {0} is revoked already")]
    Revoked(String),
    /// A lifetime that can't be.
    #[error("{0}; choose another with --days")]
    Lifetime(String),
    /// The root has no one above it who could revoke it.
    #[error("a root can't be revoked: take it out of every ca_file that holds it")]
    RootRevoked,
    /// What isn't done that way.
    #[error("{0}")]
    Misuse(String),
    /// OpenSSL refused.
    #[error("OpenSSL refused: {0}")]
    OpenSsl(#[from] ErrorStack),
}

impl PkiError {
    /// At this path.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
