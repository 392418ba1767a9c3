//! The file of accounts: `security/accounts.json` in the data directory, for its owner alone.
//!
//! Replaced as a whole, so that a reader sees the old or the new one; changed under a lock, so that the gateway
//! and the command line don't overwrite each other.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::book::{Book, ChangeError};

/// Why accounts can't be read or kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The system refuses.
    #[error("the accounts in {file}: {source}; see that the gateway's user owns the folder")]
    Io {
        /// Which file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{file} holds no accounts: {source}; bring it back from a backup, or move it away to begin anew")]
    Damaged {
        /// Which file.
        file: String,
        /// Where it breaks off.
        source: serde_json::Error,
    },
    /// The change itself can't be.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Tells one state of the file from another; `None`: there is no file.
pub type Stamp = Option<(u64, i64, i64, u64)>;

/// Where accounts are kept.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// In this data directory.
    pub fn within(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("security") }
    }

    /// The file itself.
    pub fn file(&self) -> PathBuf {
        self.folder.join("accounts.json")
    }

    /// What it holds; nothing when there is no file.
    pub fn read(&self) -> Result<Book, StoreError> {
        let file = self.file();
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| StoreError::Damaged { file: file.display().to_string(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Book::default()),
            Err(error) => Err(failed(&file)(error)),
        }
    }

    /// Which state it is in.
    pub fn stamp(&self) -> Stamp {
        let data = fs::metadata(self.file()).ok()?;
        Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
    }

    /// Reads, changes and writes, with nobody in between; what fails changes nothing.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, ChangeError>,
    ) -> Result<(T, Book), StoreError> {
        self.make_folder().map_err(failed(&self.folder))?;
        let lock = self.folder.join("accounts.lock");
        // Held until it is dropped.
        let held = private(&lock).and_then(|file| file.lock().map(|()| file)).map_err(failed(&lock))?;
        let mut book = self.read()?;
        let answer = change(&mut book)?;
        self.write(&book).map_err(failed(&self.file()))?;
        self.give_to_owner().map_err(failed(&self.folder))?;
        drop(held);
        Ok((answer, book))
    }

    fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    fn write(&self, book: &Book) -> io::Result<()> {
        let (file, new) = (self.file(), self.folder.join("accounts.json.new"));
        // One that was left behind may have other rights.
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut writing = private(&new)?;
        writing.write_all(&serde_json::to_vec_pretty(book)?)?;
        writing.sync_all()?;
        fs::rename(&new, &file)?;
        File::open(&self.folder)?.sync_all()
    }

    /// The command line may run as root; the gateway has to be able to read what it wrote.
    fn give_to_owner(&self) -> io::Result<()> {
        let Some(data_dir) = self.folder.parent() else { return Ok(()) };
        let owner = fs::metadata(data_dir)?;
        for path in [&self.folder, &self.file(), &self.folder.join("accounts.lock")] {
            if fs::metadata(path)?.uid() != owner.uid() {
                chown(path, Some(owner.uid()), Some(owner.gid()))?;
            }
        }
        Ok(())
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn failed(file: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let file = file.display().to_string();
    move |source| StoreError::Io { file, source }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use super::{
        super::{
            book::Account,
            permission::{Roles, VIEWER},
        },
        *,
    };

    #[test]
    fn what_was_written_is_read_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::within(folder.path());
        assert_eq!((store.read().unwrap(), store.stamp()), (Book::default(), None));
        store.change(|book| book.add(Account::new("ann", VIEWER), &Roles::default())).unwrap();
        let first = store.stamp();
        assert_eq!(&*store.read().unwrap().accounts()[0].name, "ann");
        assert_eq!(fs::metadata(store.file()).unwrap().permissions().mode() & 0o777, 0o600);
        store.change(|book| book.add(Account::new("bob", VIEWER), &Roles::default())).unwrap();
        assert_ne!(store.stamp(), first);
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::within(folder.path());
        let failed = store.change(|book| {
            book.add(Account::new("ann", VIEWER), &Roles::default())?;
            book.revoke("nothing")
        });
        assert!(matches!(failed, Err(StoreError::Change(ChangeError::UnknownToken(_)))));
        assert_eq!(store.stamp(), None);
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::within(folder.path());
        thread::scope(|scope| {
            for n in 0..8 {
                let store = &store;
                let account = Account::new(&format!("user{n}"), VIEWER);
                scope.spawn(move || store.change(|book| book.add(account, &Roles::default())).unwrap());
            }
        });
        assert_eq!(store.read().unwrap().accounts().len(), 8);
    }

    #[test]
    fn a_damaged_file_is_told_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::within(folder.path());
        fs::create_dir(folder.path().join("security")).unwrap();
        fs::write(store.file(), "{\"accounts\": [").unwrap();
        let error = store.change(|_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("accounts.json") && error.contains("backup"), "{error}");
        assert_eq!(fs::read_to_string(store.file()).unwrap(), "{\"accounts\": [");
    }
}
