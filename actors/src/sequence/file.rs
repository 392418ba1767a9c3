//! The file with the reserved numbers: a header, then one slot of 256 bytes per device that ever was.
//!
//! A slot is written in place, so a full disk hinders only devices that are new. All integers are
//! little-endian.
//!
//! | bytes | slot |
//! |---|---|
//! | 0..8 | end of the reserved block (exclusive) |
//! | 8..16 | next number to use, noted after each scan without waiting for the disk |
//! | 16..20 | CRC-32 of bytes 0..8 and the id |
//! | 20..22 | length of the id |
//! | 22..150 | id, UTF-8 |

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bifrost_model::MAX_ID_LEN;
use thiserror::Error;

const SLOT: usize = 256;
const MAGIC: &[u8] = b"BIFROST SEQUENCE 1\n";
const BOOT_ID: std::ops::Range<usize> = 32..96;
const ID: usize = 22;

/// Why numbers can't be reserved.
#[derive(Debug, Error)]
pub enum SequenceError {
    /// The file can't be read or written.
    #[error("{path}: {source}; sequence numbers can't be reserved: check the disk and the rights")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// One device's place in the file.
#[derive(Debug)]
pub(crate) struct Slot {
    file: Arc<File>,
    offset: u64,
    next: AtomicU64,
}

impl Slot {
    /// Notes the next number to use. In memory it is certain, which serves a rebuilt actor; on disk it
    /// survives the process, and the machine once the system has written it.
    pub(crate) fn note(&self, next: u64) {
        self.next.store(next, Ordering::Release);
        // Failing here costs an exact name for skipped numbers, never a repetition.
        let _ = self.file.write_all_at(&next.to_le_bytes(), self.offset + 8);
    }

    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }
}

/// What a slot held when the file was opened.
pub(super) struct Found {
    pub(super) id: Arc<str>,
    pub(super) end: u64,
    pub(super) slot: Arc<Slot>,
}

/// The open file.
pub(super) struct SequenceFile {
    path: PathBuf,
    file: Arc<File>,
    slots: u64,
    /// Whether the noted numbers are those that were really used last: the machine hasn't been restarted.
    pub(super) exact: bool,
    /// Where new devices begin: 1, or far beyond anything used when a damaged file had to be set aside.
    pub(super) first: u64,
    /// Where a damaged file was moved to.
    pub(super) set_aside: Option<PathBuf>,
}

impl SequenceFile {
    /// Opens or creates the file. A damaged one is set aside, never deleted; since what it held isn't known,
    /// new numbers then begin at the milliseconds since 1970, beyond what any device can have used.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Found>), SequenceError> {
        let error = |source| SequenceError::Io { path: path.to_owned(), source };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(error(source)),
        };
        let slots = parse(&bytes);
        let mut set_aside = None;
        if slots.is_none() {
            let aside = path.with_extension(format!("damaged-{}", unix_millis() / 1000));
            std::fs::rename(path, &aside).map_err(error)?;
            set_aside = Some(aside);
        }
        let exact = bytes.get(BOOT_ID).is_some_and(|noted| noted == boot_id());
        let first = if set_aside.is_some() { unix_millis() } else { 1 };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = Arc::new(options.map_err(error)?);
        let slots = slots.unwrap_or_default();
        let this = Self { path: path.to_owned(), file, slots: slots.len() as u64, exact, first, set_aside };
        this.write_header().map_err(error)?;
        let found =
            (1..).zip(slots).map(|(index, (id, end, next))| Found { id, end, slot: this.slot(index, next) });
        let found = found.collect();
        Ok((this, found))
    }

    fn write_header(&self) -> io::Result<()> {
        let mut header = [0; SLOT];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        header[BOOT_ID].copy_from_slice(&boot_id());
        self.file.write_all_at(&header, 0)?;
        self.file.sync_all()
    }

    fn slot(&self, index: u64, next: u64) -> Arc<Slot> {
        let (file, next) = (Arc::clone(&self.file), AtomicU64::new(next));
        Arc::new(Slot { file, offset: index * SLOT as u64, next })
    }

    /// A place for a device that has none.
    pub(super) fn add(&mut self) -> Arc<Slot> {
        self.slots += 1;
        self.slot(self.slots, self.first)
    }

    /// What has to be done on a thread that may block.
    pub(super) fn writer(&self) -> Writer {
        Writer { path: self.path.clone(), file: Arc::clone(&self.file) }
    }
}

/// Writes reservations and waits for the disk.
pub(super) struct Writer {
    path: PathBuf,
    file: Arc<File>,
}

impl Writer {
    /// Reserves numbers up to each end; they may be used when this has returned.
    pub(super) fn reserve(&self, ends: &[(Arc<str>, Arc<Slot>, u64)]) -> Result<(), SequenceError> {
        let write = || {
            for (id, slot, end) in ends {
                self.file.write_all_at(&encode(id, *end, slot.next()), slot.offset)?;
            }
            self.file.sync_data()
        };
        write().map_err(|source| SequenceError::Io { path: self.path.clone(), source })
    }
}

fn encode(id: &str, end: u64, next: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    let id = &id.as_bytes()[..id.len().min(MAX_ID_LEN)];
    bytes[..8].copy_from_slice(&end.to_le_bytes());
    bytes[8..16].copy_from_slice(&next.to_le_bytes());
    bytes[16..20].copy_from_slice(&checksum(end, id).to_le_bytes());
    bytes[20] = u8::try_from(id.len()).unwrap_or(u8::MAX);
    bytes[ID..ID + id.len()].copy_from_slice(id);
    bytes
}

fn checksum(end: u64, id: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&end.to_le_bytes());
    hasher.update(id);
    hasher.finalize()
}

/// Every slot's id, end and next number; `None` when something is damaged. An empty file is a new one, and
/// a last slot that is cut short or all zero was being added when the machine stopped: never used.
fn parse(bytes: &[u8]) -> Option<Vec<(Arc<str>, u64, u64)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let slots = bytes[SLOT.min(bytes.len())..].chunks_exact(SLOT);
    slots.filter(|slot| slot.iter().any(|byte| *byte != 0)).map(decode).collect()
}

fn decode(slot: &[u8]) -> Option<(Arc<str>, u64, u64)> {
    let number = |at: usize| slot.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let (end, next) = (number(0)?, number(8)?);
    let id = slot.get(ID..ID + usize::from(*slot.get(20)?))?;
    let noted = u32::from_le_bytes(slot.get(16..20)?.try_into().ok()?);
    if noted != checksum(end, id) {
        return None;
    }
    Some((std::str::from_utf8(id).ok()?.into(), end, next.clamp(1, end.max(1))))
}

fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn boot_id() -> [u8; 64] {
    let mut id = [0; 64];
    let text = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let length = text.len().min(id.len());
    id[..length].copy_from_slice(&text[..length]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(file: &mut SequenceFile, id: &str, end: u64) -> Arc<Slot> {
        let slot = file.add();
        file.writer().reserve(&[(id.into(), Arc::clone(&slot), end)]).unwrap();
        slot
    }

    #[test]
    fn reservations_and_the_last_number_survive_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let (mut file, _) = SequenceFile::open(&path).unwrap();
        let slot = reserve(&mut file, "press-1", 10_001);
        reserve(&mut file, "press-2", 501);
        slot.note(4712);
        let (file, found) = SequenceFile::open(&path).unwrap();
        assert!(file.exact);
        let found: Vec<_> = found.iter().map(|slot| (&*slot.id, slot.end, slot.slot.next())).collect();
        assert_eq!(found, [("press-1", 10_001, 4712), ("press-2", 501, 1)]);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_numbers_go_on_beyond_all_that_can_have_been_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let (mut file, _) = SequenceFile::open(&path).unwrap();
        reserve(&mut file, "press-1", 10_001);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (mut file, found) = SequenceFile::open(&path).unwrap();
        assert!(found.is_empty());
        assert!(file.add().next() > 1_000_000_000_000);
        assert_eq!(std::fs::read(file.set_aside.unwrap()).unwrap(), bytes);
    }

    #[test]
    fn a_slot_that_was_cut_short_while_being_added_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let (mut file, _) = SequenceFile::open(&path).unwrap();
        reserve(&mut file, "press-1", 10_001);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(&[7; 100]);
        std::fs::write(&path, &bytes).unwrap();
        let (file, found) = SequenceFile::open(&path).unwrap();
        assert_eq!((found.len(), file.set_aside), (1, None));
    }

    #[test]
    fn an_unreadable_place_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = SequenceFile::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains(&*folder.path().to_string_lossy()), "{error}");
    }
}
