//! Reads records back, the newest first.

use std::{fs, path::Path};

use bifrost_model::Timestamp;

use super::{
    entry::{Category, Outcome},
    folder::segments,
    record::Record,
    trail::{TrailError, at},
};

/// Which records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Only those with a smaller number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Only of this category.
    pub category: Option<Category>,
    /// Only with this result.
    pub result: Option<Outcome>,
    /// Only of this type.
    pub kind: Option<String>,
    /// Only by this account.
    pub account: Option<String>,
    /// Only from then on.
    pub from: Option<Timestamp>,
    /// Only before then.
    pub to: Option<Timestamp>,
}

impl Query {
    fn takes(&self, record: &Record) -> bool {
        let entry = &record.entry;
        self.before.is_none_or(|before| record.seq < before)
            && self.category.is_none_or(|category| category == entry.category)
            && self.result.is_none_or(|result| result == entry.result)
            && self.kind.as_deref().is_none_or(|kind| kind == &*entry.kind)
            && self.account.as_deref().is_none_or(|account| Some(account) == entry.source.account.as_deref())
            && self.from.is_none_or(|from| record.timestamp >= from)
            && self.to.is_none_or(|to| record.timestamp < to)
    }
}

/// Goes through the trail in this folder, the oldest record first, and hands each that is wanted on, with its line.
pub fn each(
    folder: &Path,
    query: &Query,
    mut take: impl FnMut(&str, &Record) -> std::io::Result<()>,
) -> Result<(), TrailError> {
    for segment in segments(folder).map_err(at(folder))? {
        let file = segment.records();
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        for line in text.lines() {
            if let Some(record) = Record::parse(line).filter(|record| query.takes(record)) {
                take(line, &record).map_err(at(Path::new("stdout")))?;
            }
        }
    }
    Ok(())
}

/// Looks through the trail in this folder; reads as many segments as it takes to find enough.
pub fn find(folder: &Path, query: &Query) -> Result<Vec<Record>, TrailError> {
    let mut found = Vec::new();
    for segment in segments(folder).map_err(at(folder))?.iter().rev() {
        if query.before.is_some_and(|before| segment.first >= before) {
            continue;
        }
        let file = segment.records();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            // Removed meanwhile: it was too old.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at(&file)(error)),
        };
        let records = text.lines().rev().filter_map(Record::parse).filter(|record| query.takes(record));
        found.extend(records.take(query.limit - found.len()));
        if found.len() >= query.limit {
            break;
        }
    }
    Ok(found)
}
