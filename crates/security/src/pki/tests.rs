//! What a folder does when things go wrong; what OpenSSL thinks of its certificates is tested with the binary.

use std::path::Path;

use super::{
    Folder, KeyAlgorithm, KeySource, Order, Passphrase, PkiError, Profile, Reason, Setup, Status, Subject,
};

fn create(path: &Path) -> Folder {
    let setup = Setup { name: "Test".to_owned(), algorithm: KeyAlgorithm::P256, passphrase: None };
    Folder::create(path, &setup).unwrap()
}

fn client(name: &str) -> Order {
    let (subject, algorithm) = (Subject::named(name), KeyAlgorithm::P256);
    Order { profile: Profile::Client, subject, days: None, algorithm, name: None }
}

#[test]
fn only_one_command_at_a_time_works_on_a_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let first = create(temporary.path());
    assert!(matches!(Folder::open(temporary.path()), Err(PkiError::InUse(_))));
    drop(first);
    assert_eq!(Folder::open(temporary.path()).unwrap().records().len(), 3);
}

#[test]
fn serial_numbers_are_random_positive_and_of_128_bits() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = create(temporary.path());
    for n in 0..20 {
        folder.issue(&client(&format!("client-{n}")), &KeySource::default()).unwrap();
    }
    let serials: std::collections::HashSet<_> = folder.records().iter().map(|it| it.serial.clone()).collect();
    assert_eq!(serials.len(), 23);
    let is_positive = |serial: &String| serial.len() == 32 && serial.as_bytes()[0] < b'8';
    assert!(serials.iter().all(is_positive), "{serials:?}");
}

#[test]
fn a_renewal_supersedes_and_a_revocation_needs_the_serial_number_then() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = create(temporary.path());
    let source = KeySource::default();
    let first = folder.issue(&client("alice"), &source).unwrap().record;
    let key = std::fs::read(folder.issued_key_file("alice")).unwrap();
    let second = folder.renew("alice", Some(10), &source).unwrap().record;
    assert_ne!(std::fs::read(folder.issued_key_file("alice")).unwrap(), key);
    let status = |folder: &Folder, serial: &str| {
        folder.records().iter().find(|record| record.serial == serial).unwrap().status_now()
    };
    assert_eq!(status(&folder, &first.serial), Status::Superseded);
    assert_eq!(status(&folder, &second.serial), Status::Valid);
    assert!(second.remaining() <= std::time::Duration::from_hours(240));
    folder.revoke("alice", Reason::default(), &source).unwrap();
    assert_eq!(status(&folder, &second.serial), Status::Revoked);
    // The first still opens doors until it is revoked too.
    assert_eq!(status(&folder, &first.serial), Status::Superseded);
    folder.revoke(&first.serial, Reason::Superseded, &source).unwrap();
    assert!(matches!(folder.renew(&first.serial, None, &source), Err(PkiError::Revoked(_))));
    // What is on disk is what is known.
    drop(folder);
    let folder = Folder::open(temporary.path()).unwrap();
    assert_eq!(status(&folder, &first.serial), Status::Revoked);
}

#[test]
fn nothing_lives_longer_than_who_signed_it() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = create(temporary.path());
    let order = Order { days: Some(100_000), ..client("alice") };
    let issued = folder.issue(&order, &KeySource::default()).unwrap().record;
    let authority = folder.records().iter().find(|record| record.profile == Profile::GatewayCa).unwrap();
    assert_eq!(issued.not_after, authority.not_after);
}

#[test]
fn nobody_is_revoked_when_the_list_cannot_be_signed() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = create(temporary.path());
    folder.issue(&client("alice"), &KeySource::default()).unwrap();
    std::fs::remove_file(folder.key_file(Profile::GatewayCa)).unwrap();
    let refused = folder.revoke("alice", Reason::KeyCompromise, &KeySource::default());
    assert!(matches!(refused, Err(PkiError::NoKey { authority: Profile::GatewayCa, .. })));
    assert!(folder.records().iter().all(|record| record.revoked.is_none()));
}

#[test]
fn a_passphrase_is_long_and_never_shown() {
    assert!(matches!(Passphrase::new("short"), Err(PkiError::ShortPassphrase)));
    let passphrase = Passphrase::new("long enough to be one").unwrap();
    let source = KeySource { file: None, passphrase: Some(passphrase) };
    assert!(!format!("{source:?}").contains("long"));
}

#[test]
fn an_index_of_another_version_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    drop(create(temporary.path()));
    let file = temporary.path().join("index.json");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&file, text).unwrap();
    assert!(matches!(Folder::open(temporary.path()), Err(PkiError::Index { .. })));
}
