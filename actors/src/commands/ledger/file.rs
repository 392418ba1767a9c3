//! The ledger's table. Blocks.

use std::{path::Path, sync::Arc};

use bifrost_model::{CommandResult, CommandStatus, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::{
    commands::{Fate, Taken, status_name},
    database::{Database, touch},
};

/// `number` counts a device's commands; `run` names the process that took the command. `ended` is null until
/// there is a result.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS commands (
        device TEXT NOT NULL, command_id TEXT NOT NULL, number INTEGER NOT NULL, run INTEGER NOT NULL,
        taken INTEGER NOT NULL, ended INTEGER, status TEXT, error TEXT, read_back TEXT,
        PRIMARY KEY (device, command_id)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX IF NOT EXISTS by_number ON commands (device, number);";

/// What is to be noted.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// A command begins.
    Begin(Arc<str>, Arc<str>),
    /// A command has a result.
    End(Arc<str>, CommandResult),
}

/// The file as it is worked with.
pub(super) type LedgerFile = Database<Connection>;

/// The file at a path, not opened yet.
pub(super) fn at(path: &Path) -> LedgerFile {
    Database::new(path.to_owned(), SCHEMA, Ok)
}

/// How many commands are kept of each device, and which process this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) keep: usize,
    pub(super) run: i64,
}

/// Notes everything in one transaction; answers for each entry what was known of its id before.
pub(super) fn write(
    connection: &mut Connection,
    entries: &[Entry],
    rules: Rules,
) -> Result<Vec<Option<Taken>>, rusqlite::Error> {
    if entries.is_empty() {
        return touch(connection).map(|()| Vec::new());
    }
    let transaction = connection.transaction()?;
    let note = |entry: &Entry| match entry {
        Entry::Begin(device, id) => begin(&transaction, device, id, rules),
        Entry::End(device, result) => end(&transaction, device, result, rules).map(|()| None),
    };
    let known = entries.iter().map(note).collect::<Result<Vec<_>, _>>()?;
    transaction.commit()?;
    Ok(known)
}

fn begin(
    transaction: &Transaction<'_>,
    device: &str,
    id: &str,
    rules: Rules,
) -> Result<Option<Taken>, rusqlite::Error> {
    let known = "SELECT taken, run, ended, status, error, read_back FROM commands
                 WHERE device = ?1 AND command_id = ?2";
    let known =
        transaction.prepare(known)?.query_row([device, id], |row| taken(row, rules.run)).optional()?;
    if known.is_some() {
        return Ok(known);
    }
    let last = "SELECT coalesce(max(number), 0) FROM commands WHERE device = ?1";
    let last: i64 = transaction.prepare(last)?.query_row([device], |row| row.get(0))?;
    let forgotten = (last + 1).saturating_sub(i64::try_from(rules.keep).unwrap_or(i64::MAX));
    transaction
        .prepare("DELETE FROM commands WHERE device = ?1 AND number <= ?2")?
        .execute(params![device, forgotten])?;
    transaction
        .prepare("INSERT INTO commands (device, command_id, number, run, taken) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![device, id, last + 1, rules.run, Timestamp::now().as_micros()])?;
    Ok(None)
}

fn end(
    transaction: &Transaction<'_>,
    device: &str,
    result: &CommandResult,
    rules: Rules,
) -> Result<(), rusqlite::Error> {
    let Fate::Ended { status, error, read_back } = Fate::of(result) else { return Ok(()) };
    transaction
        .prepare(
            "UPDATE commands SET ended = ?4, status = ?5, error = ?6, read_back = ?7
             WHERE device = ?1 AND command_id = ?2 AND run = ?3 AND ended IS NULL",
        )?
        .execute(params![
            device,
            &*result.command_id,
            rules.run,
            result.timestamp.as_micros(),
            status_name(status),
            error,
            read_back
        ])?;
    Ok(())
}

fn taken(row: &Row<'_>, run: i64) -> Result<Taken, rusqlite::Error> {
    let at = Timestamp::from_micros(row.get(0)?);
    let (by, ended, status): (i64, Option<i64>, Option<String>) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let fate = match (ended, by == run) {
        (Some(_), _) => {
            let status = status_of(status.as_deref().unwrap_or_default());
            Fate::Ended { status, error: row.get(4)?, read_back: row.get(5)? }
        }
        (None, true) => Fate::Dropped,
        (None, false) => Fate::CutOff,
    };
    Ok(Taken { at, fate })
}

fn status_of(name: &str) -> CommandStatus {
    use CommandStatus as S;
    let all = [S::Ok, S::Rejected, S::Failed, S::Expired, S::Duplicate];
    all.into_iter().find(|status| status_name(*status) == name).unwrap_or(S::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ledger(LedgerFile, Rules);

    impl Ledger {
        fn at(path: &Path, keep: usize, run: i64) -> Self {
            Self(at(path), Rules { keep, run })
        }

        fn note(&mut self, entries: &[Entry]) -> Vec<Option<Fate>> {
            let known = self.0.with(|file| write(file, entries, self.1)).unwrap();
            known.into_iter().map(|known| known.map(|taken| taken.fate)).collect()
        }
    }

    fn first(device: &str, id: &str) -> Entry {
        Entry::Begin(device.into(), id.into())
    }

    fn ok(id: &str) -> CommandResult {
        CommandResult::ok(id.into(), None)
    }

    #[test]
    fn an_id_is_known_with_its_fate_whoever_opens_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.db");
        let mut ledger = Ledger::at(&path, 10, 1);
        let refused = CommandResult::not_ok("b".into(), CommandStatus::Failed, "exception 02");
        let entries = [first("d", "a"), first("d", "b"), Entry::End("d".into(), refused.clone())];
        assert_eq!(ledger.note(&entries), [None, None, None]);
        assert_eq!(ledger.note(&[first("d", "a")]), [Some(Fate::Dropped)]);
        drop(ledger);
        let mut later = Ledger::at(&path, 10, 2);
        let again = [first("d", "a"), first("d", "b"), first("other", "a")];
        assert_eq!(later.note(&again), [Some(Fate::CutOff), Some(Fate::of(&refused)), None]);
    }

    #[test]
    fn an_id_that_comes_twice_in_one_transaction_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::at(&folder.path().join("commands.db"), 10, 1);
        assert_eq!(ledger.note(&[first("d", "a"), first("d", "a")]), [None, Some(Fate::Dropped)]);
    }

    #[test]
    fn only_the_latest_of_each_device_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::at(&folder.path().join("commands.db"), 3, 1);
        ledger.note(&[first("other", "a")]);
        for n in 0..5 {
            assert_eq!(ledger.note(&[first("d", &n.to_string())]), [None]);
        }
        let known = ledger.note(&[first("d", "4"), first("d", "2"), first("other", "a"), first("d", "1")]);
        let known: Vec<_> = known.iter().map(Option::is_some).collect();
        assert_eq!(known, [true, true, true, false]);
    }

    #[test]
    fn a_result_of_another_process_or_of_nobody_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.db");
        Ledger::at(&path, 10, 1).note(&[first("d", "a")]);
        let mut later = Ledger::at(&path, 10, 2);
        later.note(&[Entry::End("d".into(), ok("a")), Entry::End("d".into(), ok("b"))]);
        assert_eq!(later.note(&[first("d", "a"), first("d", "b")]), [Some(Fate::CutOff), None]);
    }
}
