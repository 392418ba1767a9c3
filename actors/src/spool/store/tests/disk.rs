//! Disks that are full, read-only, or somebody else's.

use super::*;

#[test]
fn a_full_disk_refuses_keeps_what_is_there_and_takes_again_when_there_is_space() {
    let disk = Mount::new("2m");
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 600 << 10]).unwrap();
    let folder = disk.path().join("spool");
    let mut store = open(&folder);
    let mut ids = Vec::new();
    for n in 0.. {
        match store.append(&block(n)) {
            Ok(appended) => ids.push(appended.block),
            Err(error) => {
                assert_eq!(error, StoreError::DiskFull { folder: folder.clone() });
                assert!(error.may_pass());
                break;
            }
        }
    }
    let count = ids.len() as u64;
    assert!(count > 80, "{count}");
    assert!(matches!(store.append(&block(count)), Err(StoreError::DiskFull { .. })));
    assert_eq!(numbers(&mut store), (0..count).collect::<Vec<_>>());
    drop(store);
    let mut store = open(&folder);
    assert_eq!(numbers(&mut store), (0..count).collect::<Vec<_>>());
    assert!(matches!(
        store.append(&[Arc::new(message("a", 1, 100 << 10))]),
        Err(StoreError::DiskFull { .. })
    ));
    fs::remove_file(&ballast).unwrap();
    assert_eq!(fill(&mut store, count..count + 20).len(), 20);
    assert_eq!(numbers(&mut store), (0..count + 20).collect::<Vec<_>>());
}

#[test]
fn on_a_full_disk_what_is_released_makes_room() {
    let disk = Mount::new("2m");
    let folder = disk.path().join("spool");
    let mut store = open(&folder);
    let mut ids = Vec::new();
    while let Ok(appended) = store.append(&block(ids.len() as u64)) {
        ids.push(appended.block);
    }
    store.release(&ids[..ids.len() / 2]).unwrap();
    assert_eq!(fill(&mut store, 1000..1020).len(), 20);
}

#[test]
fn a_read_only_folder_is_an_error_that_says_so() {
    let disk = Mount::new("2m");
    let folder = disk.path().join("spool");
    let mut store = open(&folder);
    fill(&mut store, 0..3);
    drop(store);
    mount(&["-o", "remount,ro"], disk.path());
    let error = Store::open(&folder, SMALL).unwrap_err();
    assert_eq!(error, StoreError::ReadOnly { folder: folder.clone() });
    assert!(error.to_string().contains("mount it read-write") && !error.may_pass());
    mount(&["-o", "remount,rw"], disk.path());
    assert_eq!(numbers(&mut open(&folder)), [0, 1, 2]);
}

#[test]
fn a_folder_belongs_to_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let error = Store::open(folder.path(), SMALL).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }) && error.may_pass(), "{error}");
    drop(store);
    open(folder.path());
}

#[test]
fn a_folder_that_can_not_be_made_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("spool"), SMALL).unwrap_err().to_string();
    assert!(error.contains("file/spool"), "{error}");
}
