//! The trail's files: `records-N.jsonl` holds records from number N on, `checkpoints-N.txt` beside it the
//! checkpoints that were made meanwhile, the first of which is of the N records before.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::note::DASH;

/// One pair of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of its first record.
    pub(super) first: u64,
    folder: PathBuf,
}

impl Segment {
    pub(super) fn new(folder: &Path, first: u64) -> Self {
        Self { first, folder: folder.to_owned() }
    }

    pub(super) fn records(&self) -> PathBuf {
        self.folder.join(format!("records-{:020}.jsonl", self.first))
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.folder.join(format!("checkpoints-{:020}.txt", self.first))
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let size = |file: PathBuf| fs::metadata(file).map_or(0, |data| data.len());
        size(self.records()) + size(self.checkpoints())
    }
}

/// All there are, the oldest first.
pub(super) fn segments(folder: &Path) -> std::io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let first = name.to_str().and_then(|name| name.strip_prefix("records-")?.strip_suffix(".jsonl"));
        segments.extend(first.and_then(|first| first.parse().ok()).map(|first| Segment::new(folder, first)));
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// The notes of a text, one after the other, and how many bytes of it they are: what is behind is torn.
pub(super) fn notes(text: &str) -> (Vec<&str>, usize) {
    let (mut notes, mut begin, mut at, mut signed) = (Vec::new(), 0, 0, false);
    for line in text.split_inclusive('\n') {
        let is_signature = line.starts_with(DASH) && line.ends_with('\n');
        if signed && !is_signature {
            notes.push(&text[begin..at]);
            begin = at;
        }
        signed = is_signature;
        at += line.len();
    }
    if signed {
        notes.push(&text[begin..at]);
        begin = at;
    }
    (notes, begin)
}

/// The checkpoints that somebody has kept elsewhere, in the forms in which they come: notes one after the other,
/// or lines with the event `audit_checkpoint` as JSON, with its topic before it or without.
pub fn kept_checkpoints(text: &str) -> Vec<String> {
    let of_event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
        let inside = event.get("data").unwrap_or(&event).get("checkpoint")?.as_str()?;
        Some(inside.to_owned())
    };
    let of_events: Vec<_> = text.lines().filter_map(of_event).collect();
    if of_events.is_empty() { notes(text).0.into_iter().map(str::to_owned).collect() } else { of_events }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_found_in_whichever_form_they_were_kept() {
        let note = "a\n1\n\n— a x\n";
        assert_eq!(kept_checkpoints(note), [note]);
        let event = serde_json::json!({"event_type": "audit_checkpoint", "data": {"checkpoint": note}});
        assert_eq!(
            kept_checkpoints(&format!("bifrost/events/p/gateway/audit_checkpoint {event}\n{event}\n")),
            [note, note]
        );
        assert_eq!(kept_checkpoints("nothing\n"), Vec::<String>::new());
    }

    #[test]
    fn notes_are_told_apart_and_a_torn_one_is_left_over() {
        let one = "a\n1\n\n— a x\n";
        let two = "a\n2\n\n— a y\n— w z\n";
        assert_eq!(notes(""), (vec![], 0));
        assert_eq!(notes(one), (vec![one], one.len()));
        let all = format!("{one}{two}");
        assert_eq!(notes(&all), (vec![one, two], all.len()));
        for torn in ["a", "a\n3\n", "a\n3\n\n— a", "a\n3\n\n"] {
            assert_eq!(notes(&format!("{all}{torn}")), (vec![one, two], all.len()), "{torn:?}");
        }
    }
}
