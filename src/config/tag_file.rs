//! `tags_file`: tags as a table, as spreadsheets write it.
//!
//! A header row of the keys of a tag in any order, a comma or a semicolon between cells, an empty cell where
//! the default is meant.

use std::path::Path;

use bifrost_actors::plc::TagSettings;
use csv::StringRecord;

use super::{
    Problem, decode,
    devices::{FoundTag, Origin, is_guessed},
    key::KeyPath,
    load,
    source::{Entry, Kind, Node},
};

/// Reads a tag file; `named_by` is the key that names it.
pub(super) fn read(file: &Path, named_by: &KeyPath, problems: &mut Vec<Problem>) -> Vec<FoundTag> {
    match load::read(file) {
        Ok(text) => tags(file, &text, problems),
        Err(refused) => {
            let unreadable = |problem: Problem| match problem.line {
                Some(_) => problem,
                None => Problem::of(named_by, format!("{} {}", file.display(), problem.reason)),
            };
            problems.extend(refused.into_iter().map(unreadable));
            Vec::new()
        }
    }
}

fn tags(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<FoundTag> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .flexible(true)
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let Some(Ok(header)) = records.next() else {
        problems.push(at(file, 1).problem("", "is empty; its first row names columns such as id,address"));
        return Vec::new();
    };
    let Some(columns) = columns(file, &header, problems) else { return Vec::new() };
    let mut found = Vec::new();
    for record in records {
        match record {
            Ok(record) => found.extend(tag(file, &columns, &record, problems)),
            Err(error) => {
                let line = error.position().map_or(1, csv::Position::line);
                problems.push(at(file, line).problem("", format!("can't be read: {error}")));
            }
        }
    }
    found
}

fn at(file: &Path, line: u64) -> Origin {
    Origin::TagFile(file.to_path_buf(), usize::try_from(line).unwrap_or(usize::MAX))
}

fn line(record: &StringRecord) -> u64 {
    record.position().map_or(1, csv::Position::line)
}

/// Whichever the header has more of.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |c: char| header.matches(c).count();
    if count(';') > count(',') { b';' } else { b',' }
}

/// The header's names; unknown ones are reported and left out. Nothing when no tag can be read.
fn columns(file: &Path, header: &StringRecord, problems: &mut Vec<Problem>) -> Option<Vec<Option<String>>> {
    let known = decode::known_keys::<TagSettings>();
    let here = at(file, line(header));
    let mut names: Vec<Option<String>> = Vec::new();
    for name in header {
        let problem = if names.iter().flatten().any(|other| other == name) {
            Some("is there twice; remove one of the columns".to_owned())
        } else if known.contains(&name) {
            None
        } else {
            Some(unknown_column(name, known))
        };
        names.push(problem.is_none().then(|| name.to_owned()));
        problems.extend(problem.map(|problem| here.problem(name, problem)));
    }
    let missing: Vec<_> =
        ["id", "address"].into_iter().filter(|key| !names.iter().flatten().any(|name| name == key)).collect();
    problems.extend(missing.iter().map(|key| here.problem(key, "is missing: a tag file needs this column")));
    missing.is_empty().then_some(names)
}

fn unknown_column(name: &str, known: &[&str]) -> String {
    match decode::nearest(name, known) {
        Some(meant) => format!("is no column here; did you mean {meant}?"),
        None => format!("is no column here; there are {}", known.join(", ")),
    }
}

fn tag(
    file: &Path,
    columns: &[Option<String>],
    record: &StringRecord,
    problems: &mut Vec<Problem>,
) -> Option<FoundTag> {
    if record.iter().all(str::is_empty) {
        return None;
    }
    let origin = at(file, line(record));
    if record.len() != columns.len() {
        let reason = format!(
            "has {} cells, but the header has {}; put a text with the divider in it in quotes",
            record.len(),
            columns.len()
        );
        problems.push(origin.problem("", reason));
        return None;
    }
    let cells = columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty());
    let entry = |(column, cell): (&Option<String>, &str)| {
        let value = Node::new(0, Kind::Plain(cell.to_owned()));
        Some(Entry { key: column.clone()?, line: 0, value })
    };
    let row = Node::new(0, Kind::Map(cells.filter_map(entry).collect()));
    let mut faults = Vec::new();
    let settings = decode::decode(&row, &KeyPath::default(), &mut faults);
    let guessed = is_guessed(&faults);
    problems.extend(faults.into_iter().map(|fault| origin.problem(&fault.key, fault.reason)));
    settings.map(|settings| FoundTag { settings, origin, guessed })
}
