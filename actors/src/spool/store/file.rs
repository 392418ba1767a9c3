//! One segment's file: a small `SQLite` database with one row per block, and one that notes what is settled.
//!
//! Pages of 1 KiB and a log that is written back early: a commit writes few bytes, see
//! `docs/decisions/0008-spool-store.md`. Nothing here knows of other segments.

use std::path::{Path, PathBuf};

use bifrost_model::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, Statement, params};
use serde::{Deserialize, Serialize};

use super::{
    block::{self, Block, Index},
    error::{Trouble, trouble},
    folder, released,
};
use crate::broker::Outgoing;

/// Of what is written here; raise it with every change of tables or rows.
const FORMAT: i64 = 1;

/// The page size is fixed when the file is made. Without shared memory: one connection per file at a time.
const SETUP: &str = "PRAGMA page_size = 1024; PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL;
    PRAGMA cache_size = -128; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 512;
    PRAGMA journal_size_limit = 1048576;";

/// `index_sum` is over the columns before it, `payload_sum` over the payload.
const TABLES: &str = "BEGIN;
    CREATE TABLE block (id INTEGER PRIMARY KEY, oldest INTEGER, newest INTEGER, messages INTEGER,
        held INTEGER, ranges BLOB, index_sum INTEGER, payload_sum INTEGER, payload BLOB);
    CREATE TABLE state (id INTEGER PRIMARY KEY, body BLOB, sum INTEGER);
    PRAGMA user_version = 1;
    COMMIT;";

const INDEX: &str = "SELECT oldest, newest, messages, held, ranges, index_sum FROM block WHERE id = ?1";
const PAYLOAD: &str = "SELECT payload_sum, payload FROM block WHERE id = ?1";
const INSERT: &str = "INSERT INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const NOTE: &str = "INSERT OR REPLACE INTO state VALUES (1, ?1, ?2)";

/// What is noted of a segment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Nothing was appended later, so that the figures below hold.
    pub(super) sealed: bool,
    pub(super) damaged: bool,
    pub(super) released: released::Written,
    /// The id behind the last block.
    pub(super) next: u64,
    /// Of what isn't released.
    pub(super) messages: u64,
    pub(super) values: u64,
    pub(super) oldest: i64,
    pub(super) newest: i64,
}

/// An open segment.
#[derive(Debug)]
pub(super) struct SegmentFile {
    path: PathBuf,
    connection: Connection,
}

impl SegmentFile {
    /// Makes a file that isn't there. One that can't be finished is removed.
    pub(super) fn create(path: &Path) -> Result<Self, Trouble> {
        let made = Self::make(path);
        if made.is_err() {
            let _ = folder::remove(path);
        }
        made
    }

    fn make(path: &Path) -> Result<Self, Trouble> {
        let this = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        // The tables come before the log: a file that is cut short while it is made has no bytes at all.
        this.run(TABLES)?;
        this.run("PRAGMA journal_mode = WAL")?;
        folder::sync(path.parent().unwrap_or(path))?;
        Ok(this)
    }

    /// Opens what is there.
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        let this = Self::connect(path, OpenFlags::empty())?;
        let format = this.connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        match this.say(format)? {
            FORMAT => Ok(this),
            other => Err(Trouble::Damaged(format!("its format is {other}; this version reads {FORMAT}"))),
        }
    }

    fn connect(path: &Path, more: OpenFlags) -> Result<Self, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let opened = Connection::open_with_flags(path, flags);
        let connection = opened.map_err(|error| trouble(path, &error))?;
        let this = Self { path: path.to_owned(), connection };
        this.run(SETUP)?;
        Ok(this)
    }

    fn run(&self, sql: &str) -> Result<(), Trouble> {
        self.say(self.connection.execute_batch(sql))
    }

    fn say<T>(&self, result: rusqlite::Result<T>) -> Result<T, Trouble> {
        result.map_err(|error| trouble(&self.path, &error))
    }

    /// One durable commit; what is noted comes with it.
    pub(super) fn insert(&mut self, id: u64, block: &Block, note: Option<&State>) -> Result<(), Trouble> {
        let Block { index, payload } = block;
        let mut insert = || {
            let transaction = self.connection.transaction()?;
            let row = params![
                id.cast_signed(),
                index.oldest.as_micros(),
                index.newest.as_micros(),
                index.messages.cast_signed(),
                index.values.cast_signed(),
                index.ranges,
                index.checksum(id),
                crc32fast::hash(payload),
                payload
            ];
            transaction.execute(INSERT, row)?;
            note.map_or(Ok(()), |state| write_state(&transaction, state))?;
            transaction.commit()
        };
        let inserted = insert();
        self.say(inserted)
    }

    /// Notes what is settled.
    pub(super) fn note(&mut self, state: &State) -> Result<(), Trouble> {
        self.say(write_state(&self.connection, state))
    }

    /// What was noted; nothing when it can't be read, since all of it can be learned from the blocks.
    pub(super) fn state(&self) -> Result<Option<State>, Trouble> {
        let row = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?));
        let read = self.connection.query_row("SELECT body, sum FROM state WHERE id = 1", [], row);
        let whole = self.say(read.optional())?.filter(|(body, sum)| crc32fast::hash(body) == *sum);
        Ok(whole.and_then(|(body, _)| postcard::from_bytes(&body).ok()))
    }

    /// The ids of the last blocks, the last first: none of them can be trusted before its index was read.
    pub(super) fn last(&self) -> Result<Vec<u64>, Trouble> {
        let last = || {
            let mut statement = self.connection.prepare("SELECT id FROM block ORDER BY id DESC LIMIT 16")?;
            let ids = statement.query_map([], |row| row.get::<_, i64>(0))?;
            ids.map(|id| id.map(i64::cast_unsigned)).collect()
        };
        self.say(last())
    }

    /// Tells what is known of each of these blocks, `Err` with a reason where it is damaged, until told to stop.
    pub(super) fn indexes(
        &self,
        ids: &[u64],
        mut tell: impl FnMut(u64, Result<Index, String>) -> bool,
    ) -> Result<(), Trouble> {
        let mut statement = self.say(self.connection.prepare(INDEX))?;
        for id in ids {
            let index = match self.index(&mut statement, *id) {
                Err(Trouble::Failed(error)) => return Err(error.into()),
                Err(Trouble::Damaged(reason)) => Err(reason),
                Ok(index) => Ok(index),
            };
            if !tell(*id, index) {
                break;
            }
        }
        Ok(())
    }

    fn index(&self, statement: &mut Statement<'_>, id: u64) -> Result<Index, Trouble> {
        let row = |row: &Row<'_>| {
            let index = Index {
                oldest: Timestamp::from_micros(row.get(0)?),
                newest: Timestamp::from_micros(row.get(1)?),
                messages: row.get::<_, i64>(2)?.cast_unsigned(),
                values: row.get::<_, i64>(3)?.cast_unsigned(),
                ranges: row.get(4)?,
            };
            Ok((index, row.get::<_, u32>(5)?))
        };
        let found = self.say(statement.query_row([id.cast_signed()], row).optional())?;
        let whole = found.filter(|(index, sum)| index.checksum(id) == *sum);
        whole.map(|(index, _)| index).ok_or_else(|| Trouble::Damaged(format!("block {id} has no good index")))
    }

    /// A block's messages.
    pub(super) fn messages(&self, id: u64) -> Result<Vec<Outgoing>, Trouble> {
        let row = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?));
        let found = self.say(self.connection.query_row(PAYLOAD, [id.cast_signed()], row).optional())?;
        let damaged = |what: &str| Trouble::Damaged(format!("block {id} can't be read: {what}"));
        let (sum, payload) = found.ok_or_else(|| damaged("it is missing"))?;
        if crc32fast::hash(&payload) != sum {
            return Err(damaged("it doesn't match its checksum"));
        }
        block::messages(&payload).map_err(|reason| damaged(&reason))
    }

    /// Writes the log back, so that it takes no space. Failing that costs nothing but the space.
    pub(super) fn write_back(&self) {
        let _ = self.run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

fn write_state(connection: &Connection, state: &State) -> rusqlite::Result<()> {
    let body = postcard::to_stdvec(state).unwrap_or_default();
    connection.execute(NOTE, params![body, crc32fast::hash(&body)]).map(drop)
}
