mod damage;
mod disk;

use std::{fs, process::Command, sync::Arc};

use bifrost_model::{TagClass, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::broker::Kind;

const KIB: u64 = 1024;
const BASE: i64 = 1_769_860_800_000_000;

/// Room for everything, in segments that hold a few blocks.
const SMALL: StoreSettings =
    StoreSettings { max_bytes: 64 << 20, segment_bytes: 64 * KIB, on_full: OnFull::DropOldest };

/// A message of a scan with a payload that can't be compressed.
fn message(device: &str, seq: u64, bytes: usize) -> Outgoing {
    let mut state = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let payload: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(bytes)
    .collect();
    Outgoing {
        topic: format!("bifrost/telemetry/plant-a/{device}").into(),
        payload: payload.into(),
        kind: Kind::Telemetry,
        class: TagClass::Telemetry,
        retain: false,
        device: device.into(),
        seq,
        values: 10,
        part: "".into(),
        made: Timestamp::from_micros(BASE + i64::try_from(seq).unwrap() * 1_000_000),
        historical: false,
    }
}

/// The `n`th block: two messages, of 8 KiB together.
fn block(n: u64) -> Vec<Arc<Outgoing>> {
    vec![Arc::new(message("press-1", 2 * n, 4096)), Arc::new(message("press-1", 2 * n + 1, 4096))]
}

fn plain(messages: &[Arc<Outgoing>]) -> Vec<Outgoing> {
    messages.iter().map(|message| (**message).clone()).collect()
}

fn open(folder: &Path) -> Store {
    open_with(folder, SMALL)
}

fn open_with(folder: &Path, settings: StoreSettings) -> Store {
    let (store, aside) = Store::open(folder, settings).unwrap();
    assert_eq!(aside, []);
    store
}

/// Appends the blocks with these numbers and answers their ids.
fn fill(store: &mut Store, numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.map(|n| store.append(&block(n)).unwrap().block).collect()
}

/// All blocks from the beginning, and what was told damaged.
fn read_all(store: &mut Store) -> (Vec<StoredBlock>, Vec<SetAside>) {
    let (mut blocks, mut aside, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        let read = store.read_after(after).unwrap();
        aside.extend(read.set_aside);
        let Some(block) = read.block else { return (blocks, aside) };
        assert!(block.id > after, "blocks come in order");
        after = block.id;
        blocks.push(block);
    }
}

/// The numbers of the blocks that are there; each must be as it was appended.
fn numbers(store: &mut Store) -> Vec<u64> {
    let (blocks, aside) = read_all(store);
    assert_eq!(aside, []);
    blocks.iter().map(number).collect()
}

fn number(stored: &StoredBlock) -> u64 {
    let n = stored.messages[0].seq / 2;
    assert_eq!(stored.messages, plain(&block(n)));
    n
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    named(folder, |name| name.ends_with("spool"))
}

fn damaged(folder: &Path) -> Vec<PathBuf> {
    named(folder, |name| name.contains(".damaged-"))
}

fn named(folder: &Path, like: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| like(path.file_name().unwrap().to_str().unwrap())).collect();
    paths.sort();
    paths
}

fn disk_usage(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// What the disk holds when the process is killed now.
fn copy(from: &Path) -> TempDir {
    copy_below(from, &std::env::temp_dir())
}

fn copy_below(from: &Path, parent: &Path) -> TempDir {
    let to = tempfile::tempdir_in(parent).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// A file system in memory, unmounted at the end.
struct Mount(TempDir);

impl Mount {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], folder.path());
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn mount(arguments: &[&str], folder: &Path) {
    let mounted = Command::new("mount").args(arguments).arg(folder).status();
    assert!(
        mounted.as_ref().is_ok_and(std::process::ExitStatus::success),
        "this test mounts a small tmpfs, which needs root and the right to mount: {mounted:?}"
    );
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn messages_come_back_as_they_were_and_in_order_over_several_segments() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let ids = fill(&mut store, 0..40);
    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    assert!(segments(folder.path()).len() > 3, "{:?}", segments(folder.path()));
    assert_eq!(numbers(&mut store), (0..40).collect::<Vec<_>>());
}

#[test]
fn every_property_of_a_message_survives() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let alarm = Outgoing {
        topic: "bifrost/alarms/plant-a/press-1/high".into(),
        payload: r#"{"alarm_id":"a-1"}"#.into(),
        kind: Kind::Alarm,
        class: TagClass::Critical,
        retain: true,
        part: "temperature".into(),
        seq: 0,
        made: Timestamp::from_micros(-1),
        historical: true,
        ..message("press-1", 7, 0)
    };
    let empty = Outgoing { device: "".into(), values: 0, ..message("press-2", u64::MAX >> 32, 0) };
    let messages = [Arc::new(alarm), Arc::new(empty), Arc::new(message("Überdruck", 1, 3))];
    store.append(&messages).unwrap();
    assert_eq!(read_all(&mut store).0[0].messages, plain(&messages));
}

#[test]
fn what_is_released_in_any_order_is_never_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let ids = fill(&mut store, 0..20);
    let before = segments(folder.path()).len();
    store.release(&[ids[19], ids[3], ids[0], 0, 999, ids[3]]).unwrap();
    assert_eq!(segments(folder.path()).len(), before);
    store.release(&ids[1..9]).unwrap();
    assert!(segments(folder.path()).len() < before, "a segment of which all is released is deleted");
    assert_eq!(numbers(&mut store), (9..19).collect::<Vec<_>>());
    let stats = store.stats();
    assert_eq!((stats.blocks, stats.messages, stats.values), (10, 20, 200));
    assert_eq!(stats.oldest, Some(message("", 18, 0).made));
    store.release(&ids).unwrap();
    let stats = store.stats();
    assert_eq!((stats.blocks, stats.messages, stats.values, stats.oldest), (0, 0, 0, None));
    assert_eq!(segments(folder.path()).len(), 1);
}

#[test]
fn a_store_goes_on_where_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let ids = fill(&mut store, 0..20);
    store.release(&[ids[4], ids[9], ids[19]]).unwrap();
    let stats = store.stats();
    drop(store);
    let mut store = open(folder.path());
    let again = store.stats();
    assert_eq!(
        (again.blocks, again.messages, again.values, again.oldest),
        (stats.blocks, stats.messages, stats.values, stats.oldest)
    );
    assert_eq!(fill(&mut store, 20..22), [21, 22]);
    let left: Vec<_> = (0..22).filter(|n| ![4, 9, 19].contains(n)).collect();
    assert_eq!(numbers(&mut store), left);
}

#[test]
fn after_a_kill_all_that_was_committed_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for n in 0..30 {
        let ids = fill(&mut store, n..n + 1);
        let killed = copy(folder.path());
        let mut again = open(killed.path());
        assert_eq!(numbers(&mut again), (0..=n).collect::<Vec<_>>());
        assert_eq!(again.append(&block(n + 1)).unwrap().block, ids[0] + 1);
    }
}

#[test]
fn after_a_kill_what_was_noted_stays_released() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let ids = fill(&mut store, 0..20);
    store.release(&[ids[1], ids[18]]).unwrap();
    assert_eq!(numbers(&mut open(copy(folder.path()).path())).len(), 20, "not noted yet");
    store.note().unwrap();
    store.release(&[ids[19]]).unwrap();
    let (killed, left) = (copy(folder.path()), [0].into_iter().chain(2..18));
    assert_eq!(numbers(&mut open(killed.path())), left.clone().chain([19]).collect::<Vec<_>>());
    store.append(&block(20)).unwrap();
    let killed = copy(folder.path());
    let noted: Vec<_> = left.chain([20]).collect();
    assert_eq!(numbers(&mut open(killed.path())), noted, "an append notes its segment's releases");
}

#[test]
fn the_oldest_make_room_and_are_named_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { max_bytes: 400 * KIB, ..SMALL };
    let mut store = open_with(folder.path(), settings);
    let mut dropped = Vec::new();
    let mut released = 0;
    for n in 0..200 {
        let appended = store.append(&block(n)).unwrap();
        dropped.extend(appended.dropped);
        assert!(disk_usage(folder.path()) <= settings.max_bytes + settings.segment_bytes);
        if n == 3 {
            store.release(&[appended.block]).unwrap();
            released = 1;
        }
    }
    let left = numbers(&mut store);
    assert!(left.len() > 20, "{left:?}");
    let gone = left[0];
    assert_eq!(left, (gone..200).collect::<Vec<_>>());
    assert_eq!(dropped.iter().map(|dropped| dropped.messages).sum::<u64>(), 2 * (gone - released));
    assert_eq!(dropped.iter().map(|dropped| dropped.values).sum::<u64>(), 20 * (gone - released));
    let mut ranges = Ranges::new(10);
    for (device, from, to) in dropped.iter().flat_map(|dropped| &dropped.device_ranges) {
        ranges.add(device, *from, *to);
    }
    assert_eq!(ranges.into_list(), [("press-1".into(), 1, 5), ("press-1".into(), 8, 2 * gone - 1)]);
    assert!(dropped.iter().all(|dropped| !dropped.truncated));
}

#[test]
fn a_full_store_refuses_and_takes_again_what_fits_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { max_bytes: 400 * KIB, on_full: OnFull::RefuseNew, ..SMALL };
    let mut store = open_with(folder.path(), settings);
    let mut ids = Vec::new();
    let error = loop {
        match store.append(&block(ids.len() as u64)) {
            Ok(appended) => ids.push(appended.block),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }) && error.may_pass(), "{error}");
    assert!(ids.len() > 20 && disk_usage(folder.path()) <= settings.max_bytes + settings.segment_bytes);
    assert_eq!(numbers(&mut store).len(), ids.len());
    store.release(&ids[..10]).unwrap();
    assert_eq!(store.append(&block(500)).unwrap().dropped, []);
    store.release(&ids).unwrap();
    for n in 0..100 {
        let id = store.append(&block(n)).unwrap().block;
        store.release(&[id]).unwrap();
    }
}

#[test]
fn a_block_that_never_fits_drops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_with(folder.path(), StoreSettings { max_bytes: 400 * KIB, ..SMALL });
    fill(&mut store, 0..10);
    let large = [Arc::new(message("press-1", 1, 500 << 10))];
    assert!(matches!(store.append(&large), Err(StoreError::Full { .. })));
    assert_eq!(numbers(&mut store).len(), 10);
}

#[test]
fn what_is_too_old_is_dropped_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let ids = fill(&mut store, 0..20);
    store.release(&[ids[2]]).unwrap();
    assert_eq!(store.expire(message("", 1, 0).made).unwrap(), []);
    let dropped = store.expire(message("", 22, 0).made).unwrap();
    assert_eq!(numbers(&mut store), (11..20).collect::<Vec<_>>());
    let ranges: Vec<_> = dropped.iter().flat_map(|dropped| dropped.device_ranges.clone()).collect();
    assert_eq!(
        dropped
            .iter()
            .map(|dropped| (dropped.messages, dropped.values))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (20, 200)
    );
    assert_eq!((ranges[0].clone(), ranges[1].1), (("press-1".into(), 1, 3), 6));
    assert_eq!(ranges.last().unwrap().2, 21);
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(numbers(&mut store).len(), 9, "dropped for good");
    store.expire(Timestamp::now()).unwrap();
    assert_eq!(store.stats().blocks, 0);
}

#[test]
fn what_is_pending_is_told_per_device_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let part = |part: &str, seq| Arc::new(Outgoing { part: part.into(), ..message("press-2", seq, 9) });
    let event = Arc::new(Outgoing { kind: Kind::Event, ..message("press-3", 0, 9) });
    let ids = fill(&mut store, 1..20);
    let parts = [part("a", 5), part("b", 5), event, part("a", 6)];
    let last = store.append(&parts).unwrap().block;
    store.append(&[part("b", 6), part("a", 9)]).unwrap();
    store.release(&[ids[4], ids[5]]).unwrap();
    let range = |device: &str, from, to| (Arc::<str>::from(device), from, to);
    let pending = store.pending(100).unwrap();
    let first = [range("press-1", 2, 9), range("press-1", 14, 39)];
    let second = [range("press-2", 5, 6), range("press-2", 9, 9)];
    assert_eq!(pending, Pending { ranges: [first.clone(), second].concat(), truncated: false });
    assert_eq!(store.pending(2).unwrap(), Pending { ranges: first.to_vec(), truncated: true });
    store.release(&[last]).unwrap();
    assert_eq!(store.pending(100).unwrap().ranges[2..], [range("press-2", 6, 6), range("press-2", 9, 9)]);
}

#[test]
fn ids_never_repeat_after_all_was_released_and_the_store_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..4 {
        let mut store = open(folder.path());
        let ids = fill(&mut store, 0..15);
        assert!(ids[0] > last, "{ids:?} after {last}");
        last = ids[14];
        store.release(&ids).unwrap();
        drop(store);
    }
}

#[test]
fn a_newer_format_is_kept_for_who_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    fill(&mut open(folder.path()), 0..3);
    let newer = rusqlite::Connection::open(&segments(folder.path())[0]).unwrap();
    newer.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(newer);
    let (mut store, aside) = Store::open(folder.path(), SMALL).unwrap();
    assert!(aside[0].reason.contains("format is 2") && aside[0].file.exists(), "{aside:?}");
    assert_eq!(numbers(&mut store), [] as [u64; 0]);
}

#[test]
fn written_figures_count_since_the_store_was_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let bytes = store.append(&block(1)).unwrap().bytes;
    let stats = store.stats();
    assert_eq!((stats.written_bytes, stats.written_values), (bytes, 20));
    assert!((8 * KIB..9 * KIB).contains(&bytes), "{bytes}");
    assert_eq!(stats.bytes, disk_usage(folder.path()));
    drop(store);
    assert_eq!(open(folder.path()).stats().written_values, 0);
}
