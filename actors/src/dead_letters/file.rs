//! The table of letters. Blocks.

use std::path::Path;

use bifrost_model::Timestamp;
use bytes::Bytes;
use rusqlite::{Connection, Error, OptionalExtension as _, Row, Transaction, params, types::Type};

use super::{
    messages::{Letter, ListLetters, NewLetter, What, Which},
    settings::DeadLetterSettings,
    stock::Stock,
};
use crate::database::{Database, touch};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, topic TEXT NOT NULL,
        reason TEXT NOT NULL, what BLOB NOT NULL, at INTEGER NOT NULL, payload BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS by_session ON letters (session, id);";

/// The file as it is worked with.
pub(super) type LetterFile = Database<Table>;

/// The file at a path, not opened yet.
pub(super) fn at(path: &Path) -> LetterFile {
    Database::new(path.to_owned(), SCHEMA, Table::new)
}

/// The table, and how much is in it.
pub(super) struct Table {
    connection: Connection,
    stock: Stock,
}

/// What burying came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Buried {
    /// Letters that made room.
    pub(super) made_room: u64,
    /// Letters that are larger than everything may be.
    pub(super) too_large: u64,
}

impl Table {
    fn new(connection: Connection) -> Result<Self, Error> {
        let mut stock = Stock::default();
        {
            let query = "SELECT session, count(*), sum(length(payload)) FROM letters GROUP BY session";
            let mut query = connection.prepare(query)?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let session: String = row.get(0)?;
                stock.add(&session, unsigned(row, 1)?, unsigned(row, 2)?);
            }
        }
        Ok(Self { connection, stock })
    }

    pub(super) fn stock(&self) -> &Stock {
        &self.stock
    }

    /// Keeps letters in one transaction; the oldest make room. Without letters: tells whether the disk takes
    /// anything.
    pub(super) fn bury(
        &mut self,
        letters: &[NewLetter],
        settings: &DeadLetterSettings,
    ) -> Result<Buried, Error> {
        if letters.is_empty() {
            return touch(&self.connection).map(|()| Buried::default());
        }
        let mut stock = self.stock.clone();
        let mut buried = Buried::default();
        let transaction = self.connection.transaction()?;
        for letter in letters {
            let bytes = letter.payload.len() as u64;
            if bytes > settings.max_bytes.0 {
                buried.too_large += 1;
                continue;
            }
            insert(&transaction, letter)?;
            stock.add(&letter.session, 1, bytes);
            while stock.is_over(settings) && remove_oldest(&transaction, &mut stock)? {
                buried.made_room += 1;
            }
        }
        transaction.commit()?;
        self.stock = stock;
        Ok(buried)
    }

    pub(super) fn list(&self, asked: &ListLetters) -> Result<Vec<Letter>, Error> {
        let query = "SELECT id, session, topic, reason, what, at, length(payload),
                            CASE WHEN length(payload) <= ?3 THEN payload END
                     FROM letters WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR session = ?2)
                     ORDER BY id DESC LIMIT ?4";
        let before = asked.before.map(signed);
        let (max, limit) = (signed(asked.max_payload as u64), signed(asked.limit as u64));
        let mut query = self.connection.prepare(query)?;
        query.query_map(params![before, asked.session, max, limit], letter)?.collect()
    }

    pub(super) fn get(&self, id: u64) -> Result<Option<Letter>, Error> {
        let query = "SELECT id, session, topic, reason, what, at, length(payload), payload
                     FROM letters WHERE id = ?1";
        self.connection.prepare(query)?.query_row([signed(id)], letter).optional()
    }

    pub(super) fn delete(&mut self, which: &Which) -> Result<u64, Error> {
        let mut stock = self.stock.clone();
        let transaction = self.connection.transaction()?;
        let returning = "RETURNING session, length(payload)";
        let deleted = match which {
            Which::One(id) => {
                let delete = format!("DELETE FROM letters WHERE id = ?1 {returning}");
                remove(&transaction, &delete, [signed(*id)], &mut stock)?
            }
            Which::Session(session) => {
                let delete = format!("DELETE FROM letters WHERE session = ?1 {returning}");
                remove(&transaction, &delete, [session], &mut stock)?
            }
            Which::All => remove(&transaction, &format!("DELETE FROM letters {returning}"), [], &mut stock)?,
        };
        transaction.commit()?;
        self.stock = stock;
        Ok(deleted)
    }
}

fn insert(transaction: &Transaction<'_>, letter: &NewLetter) -> Result<(), Error> {
    let what =
        postcard::to_stdvec(&letter.what).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
    let insert =
        "INSERT INTO letters (session, topic, reason, what, at, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare(insert)?.execute(params![
        &*letter.session,
        &*letter.topic,
        letter.reason,
        what,
        letter.at.as_micros(),
        &*letter.payload
    ])?;
    Ok(())
}

/// Answers whether there was one.
fn remove_oldest(transaction: &Transaction<'_>, stock: &mut Stock) -> Result<bool, Error> {
    let delete = "DELETE FROM letters WHERE id = (SELECT min(id) FROM letters)
                  RETURNING session, length(payload)";
    Ok(remove(transaction, delete, [], stock)? > 0)
}

fn remove(
    transaction: &Transaction<'_>,
    delete: &str,
    params: impl rusqlite::Params,
    stock: &mut Stock,
) -> Result<u64, Error> {
    let mut delete = transaction.prepare(delete)?;
    let mut rows = delete.query(params)?;
    let mut removed = 0;
    while let Some(row) = rows.next()? {
        stock.take(row.get_ref(0)?.as_str()?, unsigned(row, 1)?);
        removed += 1;
    }
    Ok(removed)
}

fn letter(row: &Row<'_>) -> Result<Letter, Error> {
    let unreadable = |error: postcard::Error| Error::FromSqlConversionFailure(4, Type::Blob, error.into());
    let what: What = postcard::from_bytes(row.get_ref(4)?.as_blob()?).map_err(unreadable)?;
    let (session, topic, payload): (String, String, Option<Vec<u8>>) =
        (row.get(1)?, row.get(2)?, row.get(7)?);
    Ok(Letter {
        id: unsigned(row, 0)?,
        session: session.into(),
        topic: topic.into(),
        reason: row.get(3)?,
        payload: payload.map(Bytes::from),
        payload_bytes: unsigned(row, 6)?,
        what,
        at: Timestamp::from_micros(row.get(5)?),
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Error> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bifrost_model::TagClass;

    use super::*;
    use crate::{
        broker::{Kind, Outgoing},
        commands::Protocol,
        dead_letters::Asked,
        size::ByteSize,
    };

    fn message(session: &str, payload: &str) -> NewLetter {
        let message = Outgoing {
            topic: "bifrost/telemetry/s/d".into(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            kind: Kind::Telemetry,
            class: TagClass::Critical,
            retain: true,
            device: "d".into(),
            seq: 7,
            values: 3,
            part: "".into(),
            made: Timestamp::from_micros(5),
            historical: true,
        };
        NewLetter::message(session.into(), "refused: 135", message)
    }

    fn asked(limit: usize, session: Option<&str>, before: Option<u64>) -> ListLetters {
        ListLetters { before, limit, session: session.map(str::to_owned), max_payload: 100 }
    }

    fn settings(max_messages: usize, max_bytes: u64) -> DeadLetterSettings {
        DeadLetterSettings { max_messages, max_bytes: ByteSize(max_bytes) }
    }

    fn ids(letters: &[Letter]) -> Vec<u64> {
        letters.iter().map(|letter| letter.id).collect()
    }

    #[test]
    fn a_letter_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters.db");
        let asked_for =
            Asked { protocol: Protocol::Nats, device_id: Some("d".to_owned()), verb: "write".to_owned() };
        let command =
            NewLetter::command("n".into(), "t".into(), "no JSON", Bytes::from_static(b"\xFF"), asked_for);
        let both = [message("m", "{}"), command];
        at(&path).with(|table| table.bury(&both, &settings(10, 1000))).unwrap();
        let mut again = at(&path);
        let found = again.with(|table| table.list(&asked(10, None, None))).unwrap();
        for (letter, new) in found.iter().rev().zip(both) {
            let back = NewLetter {
                session: Arc::clone(&letter.session),
                topic: Arc::clone(&letter.topic),
                reason: letter.reason.clone(),
                payload: letter.payload.clone().unwrap(),
                what: letter.what.clone(),
                at: letter.at,
            };
            assert_eq!(back, new);
        }
        let stock = again.with(|table| Ok(table.stock().clone())).unwrap();
        assert_eq!((found.len(), stock.messages, stock.bytes), (2, 2, 3));
    }

    #[test]
    fn letters_are_listed_newest_first_in_pages_by_session_and_without_large_payloads() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = at(&folder.path().join("letters.db"));
        let letters: Vec<_> = (0..6).map(|n| message(if n % 2 == 0 { "a" } else { "b" }, "{}")).collect();
        file.with(|table| table.bury(&letters, &settings(10, 1000))).unwrap();
        file.with(|table| table.bury(&[message("a", &"x".repeat(101))], &settings(10, 1000))).unwrap();
        let mut list = |asked: ListLetters| file.with(|table| table.list(&asked)).unwrap();
        assert_eq!(ids(&list(asked(3, None, None))), [7, 6, 5]);
        assert_eq!(ids(&list(asked(3, None, Some(5)))), [4, 3, 2]);
        assert_eq!(ids(&list(asked(9, Some("b"), None))), [6, 4, 2]);
        let large = &list(asked(1, None, None))[0];
        assert_eq!((&large.payload, large.payload_bytes), (&None, 101));
        let whole = file.with(|table| table.get(7)).unwrap().unwrap();
        assert_eq!(whole.payload.map(|payload| payload.len()), Some(101));
        assert_eq!(file.with(|table| table.get(99)).unwrap(), None);
    }

    #[test]
    fn the_oldest_make_room_for_number_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = at(&folder.path().join("letters.db"));
        let three: Vec<_> = (0..3).map(|_| message("a", &"x".repeat(40))).collect();
        let buried = file.with(|table| table.bury(&three, &settings(10, 100))).unwrap();
        assert_eq!(buried, Buried { made_room: 1, too_large: 0 });
        let many: Vec<_> = (0..4).map(|_| message("b", "x")).collect();
        let buried = file.with(|table| table.bury(&many, &settings(3, 100))).unwrap();
        assert_eq!(buried.made_room, 3);
        let huge = [message("b", &"x".repeat(101))];
        let buried = file.with(|table| table.bury(&huge, &settings(3, 100))).unwrap();
        assert_eq!(buried, Buried { made_room: 0, too_large: 1 });
        let left =
            file.with(|table| Ok((table.list(&asked(9, None, None))?, table.stock().clone()))).unwrap();
        assert_eq!((ids(&left.0), left.1.of(Some("a")), left.1.bytes), (vec![7, 6, 5], 0, 3));
    }

    #[test]
    fn what_is_deleted_is_counted_and_its_number_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = at(&folder.path().join("letters.db"));
        let letters = [message("a", "x"), message("b", "x"), message("b", "x")];
        file.with(|table| table.bury(&letters, &settings(10, 100))).unwrap();
        let mut delete = |which: Which| file.with(|table| table.delete(&which)).unwrap();
        assert_eq!((delete(Which::One(3)), delete(Which::One(3))), (1, 0));
        assert_eq!((delete(Which::Session("b".to_owned())), delete(Which::All)), (1, 1));
        file.with(|table| table.bury(&letters[..1], &settings(10, 100))).unwrap();
        let left =
            file.with(|table| Ok((table.list(&asked(9, None, None))?, table.stock().clone()))).unwrap();
        assert_eq!((ids(&left.0), left.1.messages, left.1.bytes), (vec![4], 1, 1));
    }
}
