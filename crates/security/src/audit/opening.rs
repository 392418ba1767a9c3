//! Where a trail goes on: its last segment is read again, and what a crash has torn is set aside.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use bifrost_model::Timestamp;

use super::{
    checkpoint::Checkpoint,
    folder::{Segment, notes, segments},
    merkle::{Frontier, leaf_hash},
    note::VerifierKey,
    trail::{TrailError, at},
};

/// What was found when a trail was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The last line was half written when the process or the machine ended; it is kept in this file.
    Torn(PathBuf),
    /// The trail isn't what was signed; it is kept in this folder, and a new one was begun.
    SetAside {
        /// Where.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where it goes on.
#[derive(Debug)]
pub(super) struct End {
    pub(super) segment: Segment,
    pub(super) frontier: Frontier,
    pub(super) signed: u64,
    pub(super) last_note: String,
}

/// The end of the trail in this folder; `None` if there is none to go on with.
pub(super) fn examine(
    folder: &Path,
    key: &VerifierKey,
    now: Timestamp,
) -> Result<(Option<End>, Vec<Finding>), TrailError> {
    let Some(segment) = segments(folder).map_err(at(folder))?.pop() else { return Ok((None, Vec::new())) };
    let mut findings = Vec::new();
    findings.extend(mend(&segment, now)?.map(Finding::Torn));
    match read(segment, key)? {
        Ok(end) => Ok((Some(end), findings)),
        Err(reason) => {
            let folder = set_aside(folder, now)?;
            findings.push(Finding::SetAside { folder, reason });
            Ok((None, findings))
        }
    }
}

/// Puts aside what was half written: a line of the records, a checkpoint.
fn mend(segment: &Segment, now: Timestamp) -> Result<Option<PathBuf>, TrailError> {
    let file = segment.checkpoints();
    let text = read_text(&file)?;
    cut(&file, text.len(), notes(&text).1)?;
    let file = segment.records();
    let bytes = fs::read(&file).map_err(at(&file))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole == bytes.len() {
        return Ok(None);
    }
    let torn = file.with_file_name(format!("torn-{}.txt", now.as_micros()));
    let keep = |mut kept: fs::File| kept.write_all(&bytes[whole..]).and_then(|()| kept.sync_all());
    fs::File::create(&torn).and_then(keep).map_err(at(&torn))?;
    cut(&file, bytes.len(), whole)?;
    Ok(Some(torn))
}

fn read_text(file: &Path) -> Result<String, TrailError> {
    match fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(at(file)(error)),
    }
}

fn cut(file: &Path, length: usize, whole: usize) -> Result<(), TrailError> {
    if length == whole {
        return Ok(());
    }
    let cut = |file: fs::File| file.set_len(whole as u64).and_then(|()| file.sync_all());
    OpenOptions::new().write(true).open(file).and_then(cut).map_err(at(file))
}

/// The tree at the end of the last segment, or why it isn't what was signed.
fn read(segment: Segment, key: &VerifierKey) -> Result<Result<End, String>, TrailError> {
    let text = read_text(&segment.checkpoints())?;
    let (notes, _) = notes(&text);
    let mut checkpoints = Vec::new();
    for note in &notes {
        match Checkpoint::open(note, key) {
            Ok(checkpoint) => checkpoints.push(checkpoint),
            Err(error) => return Ok(Err(format!("{}: {error}", segment.checkpoints().display()))),
        }
    }
    let (Some(base), Some(last_note)) = (checkpoints.first(), notes.last()) else {
        return Ok(Err(format!("{} has no checkpoint", segment.checkpoints().display())));
    };
    let (mut frontier, last_note) = (base.frontier.clone(), (*last_note).to_owned());
    let mut expected = checkpoints.iter().peekable();
    let mut differs = None;
    let mut check = |frontier: &Frontier| {
        while let Some(checkpoint) = expected.next_if(|next| next.head.size <= frontier.size()) {
            if checkpoint.head.size < frontier.size() || checkpoint.head.root != frontier.root() {
                differs.get_or_insert(checkpoint.head.size);
            }
        }
    };
    check(&frontier);
    for line in read_text(&segment.records())?.lines() {
        frontier.append(leaf_hash(line.as_bytes()));
        check(&frontier);
    }
    let cut_off = expected.next().map(|next| next.head.size);
    let signed = checkpoints.last().map_or(0, |last| last.head.size);
    Ok(match (differs, cut_off) {
        (Some(size), _) => Err(format!("the first {size} records aren't those that were signed")),
        (None, Some(size)) => Err(format!("{size} records were signed, {} are there", frontier.size())),
        (None, None) => Ok(End { segment, frontier, signed, last_note }),
    })
}

/// Moves the trail's files out of the way.
fn set_aside(folder: &Path, now: Timestamp) -> Result<PathBuf, TrailError> {
    let aside = folder.join(format!("set-aside-{}", now.as_micros()));
    fs::create_dir(&aside).map_err(at(&aside))?;
    for segment in segments(folder).map_err(at(folder))? {
        for file in [segment.records(), segment.checkpoints()] {
            let Some(name) = file.file_name() else { continue };
            match fs::rename(&file, aside.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&file)(error)),
                _ => {}
            }
        }
    }
    Ok(aside)
}
