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

#[cfg(test)]
mod tests {
    use super::*;

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
