//! The spool's folder: `<first block>.spool` with `-wal` beside it, `….damaged-N` for what was set aside, and
//! a lock that keeps two stores from one folder.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::error::StoreError;

const SUFFIX: &str = ".spool";
/// What may lie beside a segment.
const COMPANIONS: [&str; 2] = ["-wal", "-journal"];
/// More blocks than any segment can hold: where a segment's end isn't known, ids go on behind it.
const LEAP: u64 = 1 << 32;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The segments with their first block's id, oldest first.
    pub(super) segments: Vec<(u64, PathBuf)>,
    /// Ids below this may have been used by what is damaged.
    pub(super) floor: u64,
}

/// Makes the folder where it is missing, and keeps others out as long as the answer lives.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    fs::create_dir_all(folder).map_err(|error| StoreError::of(folder, folder, &error))?;
    let path = folder.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| StoreError::of(folder, &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::of(folder, &path, &error)),
    }
}

/// Lists the segments. One without a byte was being made when the machine stopped: it is removed.
pub(super) fn list(folder: &Path) -> Result<Found, StoreError> {
    let error = |error: &io::Error| StoreError::of(folder, folder, error);
    let mut found = Found::default();
    for entry in fs::read_dir(folder).map_err(|e| error(&e))? {
        let path = entry.map_err(|e| error(&e))?.path();
        let Some((first, rest)) = parse(&path) else { continue };
        if rest.contains(".damaged-") {
            found.floor = found.floor.max(beyond(first));
        } else if rest == SUFFIX && bytes(&path) == 0 {
            found.floor = found.floor.max(beyond(first));
            remove(&path).map_err(|e| error(&e))?;
        } else if rest == SUFFIX {
            found.segments.push((first, path));
        }
    }
    found.segments.sort_unstable();
    Ok(found)
}

/// Behind all that a segment can have held.
pub(super) fn beyond(first: u64) -> u64 {
    first.saturating_add(LEAP)
}

fn parse(path: &Path) -> Option<(u64, &str)> {
    let (digits, rest) = path.file_name()?.to_str()?.split_at_checked(20)?;
    Some((digits.parse().ok()?, rest)).filter(|_| rest.starts_with(SUFFIX))
}

/// Of the segment that begins with this block.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

fn with(path: &Path, more: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(more);
    name.into()
}

/// The write-ahead log beside a segment.
pub(super) fn log(path: &Path) -> PathBuf {
    with(path, "-wal")
}

/// A name for a damaged segment that nothing has yet.
pub(super) fn aside(path: &Path) -> PathBuf {
    let names = (1..).map(|n| with(path, &format!(".damaged-{n}")));
    let mut free = names.filter(|name| !name.exists() && !log(name).exists());
    free.next().unwrap_or_else(|| with(path, ".damaged"))
}

/// Renames a segment and what lies beside it.
pub(super) fn set_aside(path: &Path, to: &Path) -> io::Result<()> {
    for companion in COMPANIONS {
        ignore_missing(fs::rename(with(path, companion), with(to, companion)))?;
    }
    ignore_missing(fs::rename(path, to))
}

/// Removes a segment and what lies beside it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for companion in COMPANIONS {
        ignore_missing(fs::remove_file(with(path, companion)))?;
    }
    ignore_missing(fs::remove_file(path))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// What a segment and what lies beside it take on disk.
pub(super) fn bytes(path: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    length(path) + COMPANIONS.iter().map(|companion| length(&with(path, companion))).sum::<u64>()
}

/// Waits until the names in the folder are on disk.
pub(super) fn sync(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::of(folder, folder, &error))
}
