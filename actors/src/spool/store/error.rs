//! Why the store can't do what was asked, and what `SQLite`'s answers mean here.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

/// Why a spool's store can't be opened, written or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StoreError {
    /// The bound of the settings is reached, and new messages are to be refused; or one block is larger than it.
    #[error(
        "{folder} holds messaging.spool.max_bytes ({max_bytes} bytes); raise it, or let the broker catch up"
    )]
    Full {
        /// The spool's folder.
        folder: PathBuf,
        /// The bound.
        max_bytes: u64,
    },
    /// No space is left on the disk, or in the quota.
    #[error("the disk of {folder} is full; free space on it, messages are stored again then")]
    DiskFull {
        /// The spool's folder.
        folder: PathBuf,
    },
    /// Nothing can be written there.
    #[error("{folder} can't be written; mount it read-write and let this user write there")]
    ReadOnly {
        /// The spool's folder.
        folder: PathBuf,
    },
    /// Somebody else works with this folder.
    #[error("{folder} is in use by another spool; give each gateway a data_dir of its own")]
    InUse {
        /// The spool's folder.
        folder: PathBuf,
    },
    /// The system refuses.
    #[error("{path}: {reason}; check the disk and the rights")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl StoreError {
    /// Whether trying again later can help without anybody changing the settings or the rights.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::ReadOnly { .. })
    }

    /// What the system says of a file or folder within the spool's folder.
    pub(super) fn of(folder: &Path, path: &Path, error: &io::Error) -> Self {
        let folder = folder.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { folder },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly { folder },
            _ => Self::Io { path: path.to_owned(), reason: error.to_string() },
        }
    }
}

/// Why a segment can't be used: what it holds is damaged, or the disk or the system fails.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file isn't what was written, with what is wrong.
    Damaged(String),
    /// Nothing is wrong with the file as far as is known.
    Failed(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// What `SQLite`'s error means. A file that can't be written in a folder that can has a damaged header.
pub(super) fn trouble(path: &Path, error: &rusqlite::Error) -> Trouble {
    let rusqlite::Error::SqliteFailure(code, _) = error else { return Trouble::Damaged(error.to_string()) };
    let folder = path.parent().unwrap_or(path);
    let read = [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_CORRUPTFS];
    match code.code {
        ErrorCode::DiskFull => StoreError::DiskFull { folder: folder.to_owned() }.into(),
        ErrorCode::SystemIoFailure if read.contains(&code.extended_code) => {
            Trouble::Damaged(error.to_string())
        }
        ErrorCode::ReadOnly => probe(folder).err().map_or_else(
            || Trouble::Damaged("it can't be written although its folder can".to_owned()),
            Trouble::Failed,
        ),
        ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::PermissionDenied => {
            probe(folder).err().unwrap_or_else(|| io_error(path, error)).into()
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            StoreError::InUse { folder: folder.to_owned() }.into()
        }
        ErrorCode::OutOfMemory => io_error(path, error).into(),
        _ => Trouble::Damaged(error.to_string()),
    }
}

fn io_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), reason: error.to_string() }
}

/// Asks the system itself, which tells a full disk from a read-only one, whether files can be written here.
pub(super) fn probe(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join("probe");
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(&[0; 4096])?;
        file.sync_all()
    };
    let written = write().map_err(|error| StoreError::of(folder, &path, &error));
    let removed = std::fs::remove_file(&path).map_err(|error| StoreError::of(folder, &path, &error));
    written.and(removed)
}
