//! `SQLite` files of the gateway's own: a commit survives a loss of power, and a damaged file is set aside.
//!
//! Everything here blocks: it belongs on a thread for that, never on an actor's.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bifrost_model::{Event, Severity, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde_json::json;
use thiserror::Error;

use crate::router::EventSink;

/// Pause between attempts to write to a disk that didn't take it, while nobody else tries.
pub(crate) const RETRY: Duration = Duration::from_secs(5);
/// How long another connection to the same file is waited for.
const BUSY: Duration = Duration::from_secs(2);
/// What `PRAGMA user_version` says of files that this version can read.
const VERSION: i32 = 1;

/// Why a file can't be used.
#[derive(Debug, Error)]
pub(crate) enum DatabaseError {
    /// `SQLite` says no.
    #[error("{path}: {source}; check the disk, its space and the rights")]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// A newer version wrote it.
    #[error("{path}: was written by a newer version of the gateway (layout {found}, known is {VERSION})")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its layout.
        found: i32,
    },
    /// A damaged file stays where it is.
    #[error("{path}: is damaged and can't be moved away: {source}; move it yourself")]
    Aside {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DatabaseError {
    /// Of a statement on this file.
    pub(crate) fn of(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Sqlite { path, source }
    }

    /// Whether the file itself is the trouble, so that another in its place helps.
    fn is_damage(&self) -> bool {
        match self {
            Self::Newer { .. } => true,
            Self::Aside { .. } => false,
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
        }
    }
}

/// A file that may be open, and what it takes to open it.
pub(crate) struct Database<T> {
    path: PathBuf,
    open: Option<T>,
    attach: Box<dyn Fn(Connection) -> Result<T, rusqlite::Error> + Send>,
    schema: &'static str,
    /// Where damaged files were moved to, until somebody asks.
    aside: Vec<PathBuf>,
}

impl<T> Database<T> {
    /// A file that is opened at its first use. `schema` is carried out at each opening and must bear that;
    /// `attach` makes of the connection what is worked with.
    pub(crate) fn new(
        path: PathBuf,
        schema: &'static str,
        attach: impl Fn(Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Self {
        Self { path, open: None, attach: Box::new(attach), schema, aside: Vec::new() }
    }

    /// Works with the file, opening it first if need be. A damaged one is set aside and the work done again
    /// with an empty one.
    pub(crate) fn with<R>(
        &mut self,
        mut work: impl FnMut(&mut T) -> Result<R, rusqlite::Error>,
    ) -> Result<R, DatabaseError> {
        match self.attempt(&mut work) {
            Err(error) if error.is_damage() => {
                self.open = None;
                self.aside.push(set_aside(&self.path)?);
                self.attempt(&mut work)
            }
            outcome => outcome,
        }
    }

    fn attempt<R>(
        &mut self,
        work: &mut impl FnMut(&mut T) -> Result<R, rusqlite::Error>,
    ) -> Result<R, DatabaseError> {
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                let connection = connect(&self.path, self.schema)?;
                closed.insert((self.attach)(connection).map_err(DatabaseError::of(&self.path))?)
            }
        };
        work(open).map_err(DatabaseError::of(&self.path))
    }

    /// Where damaged files were moved to since this was last asked.
    pub(crate) fn take_aside(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.aside)
    }
}

fn connect(path: &Path, schema: &str) -> Result<Connection, DatabaseError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let error = || DatabaseError::of(path);
    let connection = Connection::open_with_flags(path, flags).map_err(error())?;
    connection.busy_timeout(BUSY).map_err(error())?;
    // FULL: a commit returns when it is on the disk, in the log beside the file.
    let prepare = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 256;";
    connection.execute_batch(prepare).map_err(error())?;
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(error())?;
    if found > VERSION {
        return Err(DatabaseError::Newer { path: path.to_owned(), found });
    }
    connection.execute_batch(schema).map_err(error())?;
    if found < VERSION {
        touch(&connection).map_err(error())?;
    }
    Ok(connection)
}

/// Writes what stands there already: tells whether the disk takes anything.
pub(crate) fn touch(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "user_version", VERSION)
}

/// Moves a damaged file and its log away, under a name that is free.
fn set_aside(path: &Path) -> Result<PathBuf, DatabaseError> {
    let error = |source| DatabaseError::Aside { path: path.to_owned(), source };
    let stamp = Timestamp::now().as_micros() / 1_000_000;
    let names = (0..1000).map(|n| with_suffix(path, &format!(".damaged-{}", stamp + n)));
    let is_free = |name: &PathBuf| !name.exists();
    let aside = names.into_iter().find(is_free).unwrap_or_else(|| with_suffix(path, ".damaged"));
    std::fs::rename(path, &aside).map_err(error)?;
    for part in ["-wal", "-shm"] {
        match std::fs::rename(with_suffix(path, part), with_suffix(&aside, part)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(error(source)),
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether a store can write, told by an alarm when that changes; outlives the store's incarnations.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    events: EventSink,
    /// Names the alarm, and events with `_damaged` behind it.
    kind: &'static str,
    /// What of, and what follows while it can't: begins the alarm's message.
    consequence: &'static str,
    raised: Arc<AtomicBool>,
}

impl Condition {
    /// Of a store that is well so far.
    pub(crate) fn new(events: EventSink, kind: &'static str, consequence: &'static str) -> Self {
        Self { events, kind, consequence, raised: Arc::default() }
    }

    /// Whether the last attempt failed.
    pub(crate) fn is_bad(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// Takes an attempt's outcome in.
    pub(crate) fn judge(&self, outcome: Result<(), &str>) {
        let was_bad = self.raised.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error) if !was_bad => {
                let message = format!("{}: {error}", self.consequence);
                self.events.raise(self.kind, self.kind, Severity::Error, "", &message);
            }
            Ok(()) if was_bad => self.events.clear(self.kind, self.kind, "", "it can be written again"),
            _ => {}
        }
    }

    /// Damaged files were moved away.
    pub(crate) fn tell_aside(&self, event_type: &'static str, aside: &[PathBuf]) {
        for path in aside {
            let shown = path.display().to_string();
            let message =
                format!("the file was damaged and moved to {shown}; what it held is not known any more");
            let event = Event::new("", event_type, Severity::Error, message);
            self.events.record(event.with(json!({ "set_aside": shown })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL);";

    fn database(path: &Path) -> Database<Connection> {
        Database::new(path.to_owned(), SCHEMA, Ok)
    }

    fn add(database: &mut Database<Connection>, text: &str) -> Result<usize, DatabaseError> {
        database.with(|connection| connection.execute("INSERT INTO notes VALUES (?1)", [text]))
    }

    fn count(database: &mut Database<Connection>) -> i64 {
        let query = "SELECT count(*) FROM notes";
        database.with(|connection| connection.query_row(query, [], |row| row.get(0))).unwrap()
    }

    #[test]
    fn what_was_committed_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        add(&mut database(&path), "one").unwrap();
        let mut again = database(&path);
        assert_eq!((count(&mut again), again.take_aside()), (1, vec![]));
    }

    #[test]
    fn what_is_no_database_is_set_aside_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let garbage = vec![7; 5000];
        std::fs::write(&path, &garbage).unwrap();
        let mut database = database(&path);
        add(&mut database, "one").unwrap();
        let aside = database.take_aside();
        assert_eq!((aside.len(), count(&mut database)), (1, 1));
        assert_eq!(std::fs::read(&aside[0]).unwrap(), garbage);
    }

    #[test]
    fn damage_that_shows_later_is_set_aside_too_and_the_work_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut first = database(&path);
        let fill =
            "INSERT INTO notes WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 2000)
                    SELECT printf('%0100d', i) FROM n";
        first.with(|connection| connection.execute(fill, [])).unwrap();
        drop(first);
        let mut bytes = std::fs::read(&path).unwrap();
        let (from, to) = (4096 * 2, bytes.len());
        bytes[from..to].fill(0xAB);
        std::fs::write(&path, &bytes).unwrap();
        let mut database = database(&path);
        add(&mut database, "one").unwrap();
        assert_eq!((database.take_aside().len(), count(&mut database)), (1, 1));
    }

    #[test]
    fn a_file_of_a_newer_version_is_set_aside_and_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(newer);
        let mut database = database(&path);
        add(&mut database, "one").unwrap();
        assert_eq!(database.take_aside().len(), 1);
    }

    #[test]
    fn a_full_disk_is_an_error_and_no_damage_and_what_was_committed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = database(&folder.path().join("a.db"));
        add(&mut database, "one").unwrap();
        let limit = |pages: u32| {
            move |connection: &mut Connection| connection.pragma_update(None, "max_page_count", pages)
        };
        database.with(limit(3)).unwrap();
        let large = "x".repeat(100_000);
        let error = add(&mut database, &large).unwrap_err();
        assert!(!error.is_damage() && error.to_string().contains("full"), "{error}");
        assert_eq!(count(&mut database), 1);
        database.with(limit(1000)).unwrap();
        add(&mut database, &large).unwrap();
        assert_eq!((count(&mut database), database.take_aside().len()), (2, 0));
    }

    #[test]
    fn what_cannot_be_opened_is_an_error_that_names_the_file_and_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a.db");
        let mut database = database(&path);
        let error = add(&mut database, "one").unwrap_err().to_string();
        assert!(error.contains("missing/a.db") && error.contains("check the disk"), "{error}");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        add(&mut database, "one").unwrap();
    }
}
