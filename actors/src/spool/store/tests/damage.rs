//! Files that are torn, cut short or changed.

use super::*;

#[test]
fn a_torn_commit_is_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    fill(&mut store, 0..3);
    let log = folder::log(&segments(folder.path())[0]);
    let before = fs::metadata(&log).unwrap().len();
    fill(&mut store, 3..4);
    let after = fs::metadata(&log).unwrap().len();
    for length in (before..after).step_by(500) {
        let killed = copy(folder.path());
        let log = killed.path().join(log.file_name().unwrap());
        fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length).unwrap();
        let mut again = open(killed.path());
        assert_eq!(numbers(&mut again), [0, 1, 2]);
        assert_eq!(again.append(&block(3)).unwrap().block, 4);
    }
}

#[test]
fn a_segment_that_was_being_made_when_the_power_failed_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let ids = fill(&mut store, 0..4);
    drop(store);
    fs::write(folder::path(folder.path(), 5), []).unwrap();
    let mut store = open(folder.path());
    assert!(store.append(&block(4)).unwrap().block > ids[3]);
    assert_eq!(numbers(&mut store), [0, 1, 2, 3, 4]);
    assert_eq!(damaged(folder.path()), [] as [PathBuf; 0]);
}

#[test]
fn a_truncated_segment_is_set_aside_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    fill(&mut open(folder.path()), 0..40);
    let all = segments(folder.path());
    for (index, path) in all.iter().enumerate() {
        let killed = copy(folder.path());
        let path = killed.path().join(path.file_name().unwrap());
        let length = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2 + 100).unwrap();
        let (mut store, aside) = Store::open(killed.path(), SMALL).unwrap();
        assert_eq!(aside.len(), 1, "{aside:?}");
        assert!(aside[0].lost.truncated && !aside[0].reason.is_empty());
        assert_eq!(fs::metadata(&aside[0].file).unwrap().len(), length / 2 + 100);
        assert_eq!(segments(killed.path()).len(), all.len() - 1);
        let left = numbers(&mut store);
        assert!(left.len() >= 30 && left.len() < 40, "{index}: {left:?}");
        assert!(store.append(&block(40)).unwrap().block > 40, "no id comes twice");
    }
}

/// Opens a copy of the folder with one byte changed, reads everything, and checks that nothing is wrong with
/// what was read, and that what is missing was told and is kept.
fn flip(folder: &Path, memory: &Path, name: &std::ffi::OsStr, offset: usize, mask: u8) {
    let at = format!("{} at {offset}", name.display());
    let killed = copy_below(folder, memory);
    let path = killed.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[offset] ^= mask;
    fs::write(&path, &bytes).unwrap();
    let (mut store, mut aside) = Store::open(killed.path(), SMALL).unwrap();
    let (blocks, more) = read_all(&mut store);
    aside.extend(more);
    let numbers: Vec<_> = blocks.iter().map(number).collect();
    assert!(numbers.is_sorted(), "{at}: {numbers:?}");
    if numbers.len() < 24 {
        assert!(numbers.len() >= 14, "{at}: other segments are read: {numbers:?}");
        assert!(!aside.is_empty() || numbers.len() == 23, "{at}: told, but for a torn last commit");
    }
    let appended = store.append(&block(24)).unwrap();
    assert!(appended.block >= 24, "{at}: no id comes twice: {appended:?}");
    assert_eq!(read_all(&mut store).0.last().map(number), Some(24), "{at}");
    let ids: Vec<_> = read_all(&mut store).0.iter().map(|block| block.id).collect();
    store.release(&ids).unwrap();
    for told in aside {
        assert!(told.file.exists() || folder::log(&told.file).exists(), "{at}: is kept: {told:?}");
    }
}

#[test]
fn a_changed_byte_anywhere_harms_nothing_but_what_it_hit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    fill(&mut store, 0..24);
    let killed = copy(folder.path());
    let memory = Mount::new("8m");
    drop(store);
    let files = [segments(killed.path()), named(killed.path(), |name| name.ends_with("-wal"))].concat();
    for path in files {
        let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let header = (0..length.min(100)).step_by(3);
        for offset in header.chain((100..length).step_by(1571)) {
            flip(killed.path(), memory.path(), path.file_name().unwrap(), offset, 1 << (offset % 8));
        }
    }
}

#[test]
fn a_damaged_block_is_named_and_the_rest_of_its_segment_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let ids = fill(&mut open(folder.path()), 0..20);
    let path = &segments(folder.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let payload = block(3)[0].payload.clone();
    let found = |part: &[u8]| bytes.windows(16).position(|window| window == part);
    // From its end: pages that lie full hold what was moved away.
    let at = payload.chunks_exact(16).rev().find_map(found).unwrap();
    bytes[at] ^= 1;
    fs::write(path, &bytes).unwrap();
    let mut store = open(folder.path());
    let (blocks, aside) = read_all(&mut store);
    assert_eq!(blocks.iter().map(number).collect::<Vec<_>>(), [vec![0, 1, 2], (4..20).collect()].concat());
    let lost =
        Dropped { messages: 2, values: 20, device_ranges: vec![("press-1".into(), 6, 7)], truncated: false };
    assert_eq!((aside.len(), &aside[0].lost), (1, &lost));
    assert!(aside[0].reason.contains("block 4"), "{aside:?}");
    assert_eq!(store.stats().messages, 38);
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(read_all(&mut store).1, [], "told once");
    store.release(&ids).unwrap();
    assert_eq!(fs::read(&aside[0].file).unwrap().len(), bytes.len(), "kept when all else is delivered");
    assert!(!path.exists());
}
