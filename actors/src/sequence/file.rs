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
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bifrost_model::MAX_ID_LEN;
use thiserror::Error;

use super::actor::Skipped;

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

/// One device's count: one for all incarnations of its actor and of the store, as long as the process lives.
#[derive(Debug)]
pub(crate) struct Numbers {
    next: AtomicU64,
    /// Up to where numbers were asked to be reserved.
    end: AtomicU64,
    users: AtomicUsize,
    skipped: Mutex<Option<Skipped>>,
}

impl Numbers {
    pub(super) fn new(next: u64, end: u64) -> Arc<Self> {
        let (next, end) = (AtomicU64::new(next), AtomicU64::new(end));
        Arc::new(Self { next, end, users: AtomicUsize::new(0), skipped: Mutex::default() })
    }

    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::SeqCst)
    }

    /// Nothing below the end of what was reserved before is used any more.
    pub(super) fn begin_at_end(&self, exact: bool) {
        let (from, end) = (self.next(), self.end());
        if from < end {
            let skipped = Skipped { from, to: end - 1, exact };
            *self.skipped.lock().unwrap_or_else(PoisonError::into_inner) = Some(skipped);
        }
        self.next.store(end, Ordering::SeqCst);
    }

    pub(super) fn raise_end(&self, end: u64) {
        self.end.fetch_max(end, Ordering::SeqCst);
    }

    /// Gives back what nobody uses; answers the new end, or nothing while there are users.
    pub(super) fn give_back(&self) -> Option<u64> {
        if self.users.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let end = self.next();
        self.end.store(end, Ordering::SeqCst);
        Some(end)
    }

    /// What a crash left unused, told once.
    pub(super) fn take_skipped(&self) -> Option<Skipped> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// One device's place in the file, and its count.
#[derive(Debug)]
pub(crate) struct Slot {
    file: Arc<File>,
    offset: u64,
    pub(super) numbers: Arc<Numbers>,
}

impl Slot {
    /// The next number, if it is below `end`. However many incarnations ask, each number is given once.
    pub(super) fn take(&self, end: u64) -> Option<u64> {
        let below = |next| (next < end).then_some(next + 1);
        let taken = self.numbers.next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, below).ok()?;
        self.note();
        Some(taken)
    }

    /// Notes the next number in the file, where it survives the process, and the machine once the system has
    /// written it. Writes again when the count has moved meanwhile, so that the latest is what stays.
    fn note(&self) {
        loop {
            let next = self.numbers.next();
            // Failing here costs an exact name for skipped numbers, never a repetition.
            let _ = self.file.write_all_at(&next.to_le_bytes(), self.offset + 8);
            if self.numbers.next() == next {
                return;
            }
        }
    }
}

/// Somebody counts with these numbers: they aren't given back meanwhile.
#[derive(Debug)]
pub(super) struct Lease(Arc<Numbers>);

impl Lease {
    pub(super) fn new(numbers: &Arc<Numbers>) -> Self {
        numbers.users.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(numbers))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a slot held when the file was opened.
pub(super) struct Found {
    pub(super) id: Arc<str>,
    pub(super) end: u64,
    pub(super) next: u64,
    index: u64,
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
        let found = parse(&bytes);
        let mut set_aside = None;
        if found.is_none() {
            let aside = path.with_extension(format!("damaged-{}", unix_millis() / 1000));
            std::fs::rename(path, &aside).map_err(error)?;
            set_aside = Some(aside);
        }
        let exact = bytes.get(BOOT_ID).is_some_and(|noted| noted == boot_id());
        let first = if set_aside.is_some() { unix_millis() } else { 1 };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = Arc::new(options.map_err(error)?);
        let slots = if set_aside.is_some() { 0 } else { (bytes.len() / SLOT).saturating_sub(1) as u64 };
        let this = Self { path: path.to_owned(), file, slots, exact, first, set_aside };
        this.write_header().map_err(error)?;
        // The name has to survive a loss of power too.
        if let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(error)?;
        }
        Ok((this, found.unwrap_or_default()))
    }

    fn write_header(&self) -> io::Result<()> {
        let mut header = [0; SLOT];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        header[BOOT_ID].copy_from_slice(&boot_id());
        self.file.write_all_at(&header, 0)?;
        self.file.sync_all()
    }

    /// The place of a device that was found.
    pub(super) fn slot(&self, found: &Found, numbers: Arc<Numbers>) -> Arc<Slot> {
        self.place(found.index, numbers)
    }

    /// A place for a device that has none.
    pub(super) fn add(&mut self, numbers: Arc<Numbers>) -> Arc<Slot> {
        self.slots += 1;
        self.place(self.slots, numbers)
    }

    fn place(&self, index: u64, numbers: Arc<Numbers>) -> Arc<Slot> {
        Arc::new(Slot { file: Arc::clone(&self.file), offset: index * SLOT as u64, numbers })
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
                self.file.write_all_at(&encode(id, *end, slot.numbers.next()), slot.offset)?;
                slot.note();
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
/// a slot that is all zero, or the last one cut short, was being added when the machine stopped: never used.
fn parse(bytes: &[u8]) -> Option<Vec<Found>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let slots = (1..).zip(bytes[SLOT.min(bytes.len())..].chunks_exact(SLOT));
    slots
        .filter(|(_, slot)| slot.iter().any(|byte| *byte != 0))
        .map(|(index, slot)| decode(slot, index))
        .collect()
}

fn decode(slot: &[u8], index: u64) -> Option<Found> {
    let number = |at: usize| slot.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let (end, next) = (number(0)?, number(8)?);
    let id = slot.get(ID..ID + usize::from(*slot.get(20)?))?;
    let noted = u32::from_le_bytes(slot.get(16..20)?.try_into().ok()?);
    if noted != checksum(end, id) {
        return None;
    }
    let id = std::str::from_utf8(id).ok()?.into();
    Some(Found { id, end, next: next.clamp(1, end.max(1)), index })
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
        let slot = file.add(Numbers::new(1, end));
        file.writer().reserve(&[(id.into(), Arc::clone(&slot), end)]).unwrap();
        slot
    }

    fn seen(found: &[Found]) -> Vec<(&str, u64, u64)> {
        found.iter().map(|slot| (&*slot.id, slot.end, slot.next)).collect()
    }

    #[test]
    fn reservations_and_the_last_number_survive_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let (mut file, _) = SequenceFile::open(&path).unwrap();
        let slot = reserve(&mut file, "press-1", 101);
        reserve(&mut file, "press-2", 501);
        let taken: Vec<_> = (0..47).filter_map(|_| slot.take(101)).collect();
        assert_eq!(taken, (1..48).collect::<Vec<_>>());
        let (file, found) = SequenceFile::open(&path).unwrap();
        assert!(file.exact);
        assert_eq!(seen(&found), [("press-1", 101, 48), ("press-2", 501, 1)]);
    }

    #[test]
    fn no_number_beyond_the_reservation_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = SequenceFile::open(&folder.path().join("sequence")).unwrap();
        let slot = reserve(&mut file, "press-1", 3);
        assert_eq!([slot.take(3), slot.take(3), slot.take(3)], [Some(1), Some(2), None]);
    }

    #[test]
    fn two_incarnations_that_count_at_the_same_time_never_give_the_same_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let (mut file, _) = SequenceFile::open(&path).unwrap();
        let slot = reserve(&mut file, "press-1", 4001);
        let count = |slot: Arc<Slot>| {
            std::thread::spawn(move || (0..2000).filter_map(|_| slot.take(4001)).collect::<Vec<_>>())
        };
        let threads = [count(Arc::clone(&slot)), count(slot)];
        let mut all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (1..4001).collect::<Vec<_>>());
        assert_eq!(seen(&SequenceFile::open(&path).unwrap().1), [("press-1", 4001, 4001)]);
    }

    #[test]
    fn a_place_that_was_never_written_moves_no_other_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let (mut file, _) = SequenceFile::open(&path).unwrap();
        reserve(&mut file, "press-1", 101);
        file.add(Numbers::new(1, 1));
        reserve(&mut file, "press-3", 301);
        let (mut file, found) = SequenceFile::open(&path).unwrap();
        assert_eq!(seen(&found), [("press-1", 101, 1), ("press-3", 301, 1)]);
        let slot = file.slot(&found[1], Numbers::new(301, 301));
        file.writer().reserve(&[("press-3".into(), slot, 601)]).unwrap();
        reserve(&mut file, "press-4", 401);
        let (_, found) = SequenceFile::open(&path).unwrap();
        assert_eq!(seen(&found), [("press-1", 101, 1), ("press-3", 601, 301), ("press-4", 401, 1)]);
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
        let (file, found) = SequenceFile::open(&path).unwrap();
        assert!(found.is_empty());
        assert!(file.first > 1_000_000_000_000);
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
