//! Trails that are written, harmed, and checked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bifrost_model::Timestamp;
use tempfile::TempDir;

use super::*;

const NAME: &str = "bifrost/gw-1/audit";
const ROOMY: TrailSettings = TrailSettings { segment_bytes: 1 << 20, max_bytes: 1 << 30, max_age: None };

struct Bench {
    folder: TempDir,
    trail: Trail,
    key: VerifierKey,
    notes: Vec<String>,
    clock: i64,
}

impl Bench {
    fn with(settings: TrailSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (trail, findings) = open(folder.path(), settings);
        assert_eq!(findings, []);
        let key = trail.key().verifier().clone();
        Self { folder, trail, key, notes: Vec::new(), clock: 0 }
    }

    /// So many records, with a checkpoint behind each `every` of them.
    fn records(&mut self, count: u64, every: u64) {
        for _ in 0..count {
            self.clock += 1_000_000;
            let now = Timestamp::from_micros(self.clock);
            let entry = Entry::new(Source::gateway(), Category::SystemEvent, "test", Outcome::Success);
            self.trail.append(vec![(entry.on(format!("record {}", self.trail.size())), now)]).unwrap();
            if self.trail.size().is_multiple_of(every) {
                self.notes.extend(self.trail.checkpoint(now).unwrap());
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn check(&self, outside: &[String]) -> Verification {
        verify(self.path(), &self.key, outside).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.path().join("records-00000000000000000000.jsonl")
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.file()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Writes these lines in place of those that are there, and says what is found then.
    fn tampered(&self, lines: &[String]) -> Fault {
        fs::write(self.file(), lines.join("\n") + "\n").unwrap();
        let found = self.check(&[]);
        found.fault.clone().unwrap_or_else(|| panic!("nothing was found: {found:?}"))
    }
}

fn open(folder: &Path, settings: TrailSettings) -> (Trail, Vec<Finding>) {
    let key = SigningKey::load_or_generate(&folder.join("audit.key"), NAME).unwrap();
    Trail::open(folder, key, settings, Timestamp::from_micros(7)).unwrap()
}

fn bench() -> Bench {
    let mut bench = Bench::with(ROOMY);
    bench.records(20, 5);
    bench
}

#[test]
fn a_trail_that_nobody_has_touched_is_whole() {
    let bench = bench();
    let found = bench.check(&bench.notes);
    assert_eq!((found.first, found.size, found.signed, found.fault), (0, 20, 20, None));
    assert_eq!((found.checkpoints, found.outside), (5, 4));
}

#[test]
fn what_no_checkpoint_covers_yet_is_told_apart() {
    let mut bench = bench();
    bench.records(3, 100);
    let found = bench.check(&[]);
    assert_eq!((found.size, found.signed, found.fault), (23, 20, None));
}

#[test]
fn an_edited_record_is_named() {
    let bench = bench();
    let mut lines = bench.lines();
    lines[7] = lines[7].replace("record 7", "record 8");
    let fault = bench.tampered(&lines);
    assert_eq!((fault.seq, fault.line, fault.file), (7, Some(8), Some(bench.file())));
    assert!(fault.reason.contains("changed or inserted"), "{}", fault.reason);
}

#[test]
fn a_deleted_record_is_named_whether_or_not_the_others_are_numbered_anew() {
    let bench = bench();
    let mut lines = bench.lines();
    lines.remove(7);
    let fault = bench.tampered(&lines);
    assert_eq!((fault.seq, fault.line), (7, Some(8)));
    assert!(fault.reason.contains("missing"), "{}", fault.reason);
    for line in &mut lines[7..] {
        let seq = Record::parse(line).unwrap().seq;
        *line = line.replace(&format!("\"seq\":{seq},"), &format!("\"seq\":{},", seq - 1));
    }
    assert_eq!(bench.tampered(&lines).seq, 7);
}

#[test]
fn an_inserted_record_is_named() {
    let bench = bench();
    let mut lines = bench.lines();
    lines.insert(7, lines[3].clone());
    assert_eq!(bench.tampered(&lines).seq, 7);
    lines[7] = lines[7].replace("\"seq\":3,", "\"seq\":7,");
    assert_eq!(bench.tampered(&lines).seq, 7);
}

#[test]
fn records_in_another_order_are_named() {
    let bench = bench();
    let mut lines = bench.lines();
    lines.swap(7, 12);
    assert_eq!(bench.tampered(&lines).seq, 7);
}

#[test]
fn a_trail_that_was_cut_off_behind_a_checkpoint_is_named() {
    let bench = bench();
    let lines = bench.lines();
    let fault = bench.tampered(&lines[..17]);
    assert_eq!(fault.seq, 17);
    assert!(fault.reason.contains("cut off: 20 records were signed, 17 are there"), "{}", fault.reason);
}

#[test]
fn a_trail_that_was_rolled_back_is_named_by_a_checkpoint_from_elsewhere_alone() {
    let mut bench = bench();
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(bench.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    bench.records(10, 5);
    let found = verify(copy.path(), &bench.key, &[]).unwrap();
    assert_eq!((found.size, found.fault), (20, None), "nothing in it says so");
    let fault = verify(copy.path(), &bench.key, &bench.notes).unwrap().fault.unwrap();
    assert_eq!(fault.seq, 20);
    assert!(fault.reason.contains("rolled back"), "{}", fault.reason);
}

#[test]
fn a_trail_that_was_written_anew_with_the_stolen_key_is_named_by_a_checkpoint_from_elsewhere() {
    let bench = bench();
    let stolen = fs::read(bench.path().join("audit.key")).unwrap();
    let mut forged = Bench::with(ROOMY);
    fs::write(forged.path().join("audit.key"), stolen).unwrap();
    for entry in fs::read_dir(forged.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "jsonl" || end == "txt") {
            fs::remove_file(path).unwrap();
        }
    }
    drop(forged.trail);
    (forged.trail, _) = open(forged.folder.path(), ROOMY);
    forged.clock = 5;
    forged.records(20, 5);
    assert_eq!(verify(forged.path(), &bench.key, &[]).unwrap().fault, None);
    let fault = verify(forged.path(), &bench.key, &bench.notes).unwrap().fault.unwrap();
    assert!(fault.reason.contains("checkpoint from elsewhere"), "{}", fault.reason);
}

#[test]
fn a_checkpoint_that_was_changed_or_is_anothers_is_refused() {
    let bench = bench();
    let other = SigningKey::generate(NAME).unwrap();
    let foreign = other.note("bifrost/gw-1/audit\n1\nAAAA\n").unwrap();
    let found = bench.check(&[foreign]);
    assert!(found.fault.unwrap().reason.contains("no valid signature"));
    let file = bench.path().join("checkpoints-00000000000000000000.txt");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\n5\n", "\n6\n", 1)).unwrap();
    assert!(bench.check(&[]).fault.is_some());
}

#[test]
fn segments_follow_each_other_and_a_missing_one_is_named() {
    let mut bench = Bench::with(TrailSettings { segment_bytes: 2000, ..ROOMY });
    bench.records(40, 5);
    let found = bench.check(&bench.notes);
    assert_eq!((found.first, found.size, found.fault), (0, 40, None));
    let mut files: Vec<_> = fs::read_dir(bench.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with("records-"));
    files.sort();
    assert!(files.len() > 3, "{files:?}");
    fs::remove_file(&files[1]).unwrap();
    let fault = bench.check(&[]).fault.unwrap();
    assert!(fault.reason.contains("missing"), "{fault}");
}

#[test]
fn what_is_too_much_goes_by_whole_segments_and_the_trail_says_so() {
    let mut bench = Bench::with(TrailSettings { segment_bytes: 2000, max_bytes: 12_000, max_age: None });
    bench.records(60, 5);
    let now = Timestamp::from_micros(bench.clock);
    let (from, to) = bench.trail.retain(now).unwrap().unwrap();
    assert!(from == 0 && to > 10 && bench.trail.bytes().unwrap() <= 14_000);
    let found = bench.check(&bench.notes);
    assert_eq!((found.first, &found.fault), (to + 1, &None));
    assert!(found.outside > 0 && found.outside_unchecked > 0, "{found:?}");
    assert_eq!(bench.trail.retain(now).unwrap(), None);
    bench.records(10, 5);
    let (trail, findings) = reopen(bench.trail, bench.folder.path());
    assert_eq!((trail.size(), findings), (71, vec![]));
    let first = verify(bench.folder.path(), &bench.key, &[]).unwrap().first;
    let oldest = bench.folder.path().join(format!("records-{first:020}.jsonl"));
    fs::remove_file(oldest).unwrap();
    let fault = verify(bench.folder.path(), &bench.key, &[]).unwrap().fault.unwrap();
    assert!(fault.reason.contains("no record says why"), "{fault}");
}

#[test]
fn what_is_too_old_goes() {
    let mut bench = Bench::with(TrailSettings { segment_bytes: 2000, max_age: Some(20_000_000), ..ROOMY });
    bench.records(60, 5);
    let (_, to) = bench.trail.retain(Timestamp::from_micros(bench.clock)).unwrap().unwrap();
    assert!((20..40).contains(&to), "{to}");
}

fn reopen(trail: Trail, folder: &Path) -> (Trail, Vec<Finding>) {
    drop(trail);
    open(folder, ROOMY)
}

#[test]
fn a_trail_goes_on_where_it_was_closed() {
    let mut bench = bench();
    bench.records(3, 100);
    let folder = bench.folder.path().to_owned();
    let (trail, findings) = reopen(bench.trail, &folder);
    assert_eq!((trail.size(), trail.unsigned(), findings), (23, 3, vec![]));
    bench.trail = trail;
    bench.records(4, 1);
    let found = verify(&folder, &bench.key, &bench.notes).unwrap();
    assert_eq!((found.size, found.signed, found.fault), (27, 27, None));
}

#[test]
fn a_line_that_was_half_written_is_set_aside_and_never_deleted() {
    let bench = bench();
    let file = bench.file();
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"seq\":20,\"time");
    fs::write(&file, text).unwrap();
    assert_eq!(bench.check(&[]).fault, None, "a crash is no tampering");
    let (trail, findings) = reopen(bench.trail, bench.folder.path());
    assert_eq!(trail.size(), 20);
    let [Finding::Torn(torn)] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(fs::read_to_string(torn).unwrap(), "{\"seq\":20,\"time");
}

#[test]
fn a_trail_that_is_not_what_was_signed_is_kept_aside_and_a_new_one_begun() {
    let bench = bench();
    let lines = bench.lines();
    fs::write(bench.file(), lines[..17].join("\n") + "\n").unwrap();
    let (trail, findings) = reopen(bench.trail, bench.folder.path());
    assert_eq!(trail.size(), 0);
    let [Finding::SetAside { folder, reason }] = &findings[..] else { panic!("{findings:?}") };
    assert!(reason.contains("20 records were signed, 17 are there"), "{reason}");
    assert_eq!(verify(folder, &bench.key, &[]).unwrap().fault.unwrap().seq, 17);
}

#[test]
fn a_trail_has_one_writer() {
    let bench = bench();
    let key = SigningKey::load_or_generate(&bench.path().join("audit.key"), NAME).unwrap();
    let second = Trail::open(bench.path(), key, ROOMY, Timestamp::from_micros(7));
    assert!(matches!(second, Err(TrailError::Locked(_))));
}

#[test]
fn every_record_can_be_proven_alone_even_when_older_ones_are_gone() {
    let mut bench = Bench::with(TrailSettings { segment_bytes: 2000, max_bytes: 12_000, max_age: None });
    bench.records(53, 5);
    bench.trail.retain(Timestamp::from_micros(bench.clock)).unwrap();
    let found = bench.check(&[]);
    for seq in found.first..found.signed {
        let proof = prove(bench.path(), &bench.key, seq).unwrap();
        let (record, checkpoint) = proof.check(&bench.key).unwrap();
        assert_eq!((record.seq, checkpoint.head.size), (seq, found.signed));
        let other = Proof { seq: seq + 1, ..proof.clone() };
        assert!(other.check(&bench.key).is_err());
        let forged = Proof { record: proof.record.replace("gateway", "gatewaz"), ..proof };
        assert!(forged.check(&bench.key).is_err());
    }
    assert!(matches!(prove(bench.path(), &bench.key, 0), Err(ProofError::OutOfReach { .. })));
}

#[test]
fn records_are_found_the_newest_first() {
    let mut bench = Bench::with(TrailSettings { segment_bytes: 2000, ..ROOMY });
    bench.records(40, 5);
    let seqs = |query| -> Vec<u64> { find(bench.path(), &query).unwrap().iter().map(|it| it.seq).collect() };
    assert_eq!(seqs(Query { limit: 3, ..Query::default() }), [39, 38, 37]);
    assert_eq!(seqs(Query { limit: 2, before: Some(20), ..Query::default() }), [19, 18]);
    let late = Timestamp::from_micros(39_000_000);
    assert_eq!(seqs(Query { limit: 9, from: Some(late), ..Query::default() }), [39, 38]);
    assert_eq!(seqs(Query { limit: 9, kind: Some("login".to_owned()), ..Query::default() }), [0u64; 0]);
}
