//! Bounds: memory when the disk fails, bytes on disk, age; and what is told of what got lost.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bifrost_actors::{
    router::{ListAlarms, ListEvents},
    size::ByteSize,
    spool::{OnFull, SpoolReport, SpoolSettings},
};
use bifrost_model::{AlarmState, Timestamp};
use serde_json::Value;

use crate::{
    Bench, Session,
    bench::{mixer, run_in},
    ms, secs, with_bench,
};

const MEMORY: u64 = 64 << 10;

fn small_memory() -> SpoolSettings {
    SpoolSettings { max_memory: ByteSize(MEMORY), ..SpoolSettings::default() }
}

/// A disk that takes nothing: a file where the folder was.
pub(crate) struct Broken {
    folder: PathBuf,
    away: PathBuf,
}

pub(crate) fn break_disk(folder: &Path) -> Broken {
    let (folder, away) = (folder.join("spool"), folder.join("away"));
    fs::rename(&folder, &away).unwrap();
    fs::write(&folder, "").unwrap();
    Broken { folder, away }
}

impl Broken {
    pub(crate) fn mend(&self) {
        fs::remove_file(&self.folder).unwrap();
        fs::rename(&self.away, &self.folder).unwrap();
    }
}

/// States that an alarm has had.
async fn alarms(bench: &Bench, kind: &str) -> Vec<AlarmState> {
    let listed = bench.plant.router().list_alarms.send(ListAlarms { active_only: false }).await.unwrap();
    listed.iter().filter(|alarm| alarm.alarm_type == kind).map(|alarm| alarm.state).collect()
}

/// The data of all events of losses, the oldest first.
async fn told(bench: &Bench) -> Vec<Value> {
    let listed = ListEvents { limit: 1000, ..ListEvents::default() };
    let listed = bench.plant.router().list_events.send(listed).await.unwrap();
    let lost = listed.iter().rev().filter(|event| event.item.event_type == "spool_dropped");
    lost.map(|event| event.item.data.clone()).collect()
}

/// Numbers that these events name.
fn named(told: &[Value]) -> BTreeSet<u64> {
    let ranges = told.iter().flat_map(|data| data["ranges"].as_array().unwrap());
    ranges.flat_map(|range| range["from"].as_u64().unwrap()..=range["to"].as_u64().unwrap()).collect()
}

/// Scans that aren't acknowledged.
fn pending(report: &SpoolReport) -> u64 {
    report.pending.iter().map(|range| range.to - range.from + 1).sum()
}

fn sum(told: &[Value], of: &str) -> u64 {
    told.iter().map(|data| data[of].as_u64().unwrap()).sum()
}

#[test]
fn memory_is_bounded_when_the_disk_fails_and_what_is_lost_is_named() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), small_memory(), async |bench| {
        let watcher = bench.plant.watch().await;
        let disk = break_disk(folder.path());
        for _ in 0..40 {
            bench.scans(&bench.press, 50).await;
            let depth = bench.spool.report().await.depth;
            assert!(depth.memory_bytes as u64 <= MEMORY + (1 << 10), "{depth:?}");
            tokio::time::sleep(ms(100)).await;
        }
        tokio::time::sleep(secs(10)).await;
        let report = bench.spool.report().await;
        assert!(report.disk_error.is_some() && report.dropped.messages > 1000, "{report:?}");
        assert!(report.dropped.last.as_ref().unwrap().reason.contains("memory is full"));
        assert_eq!(alarms(&bench, "spool_disk").await, [AlarmState::Active]);
        assert_eq!(alarms(&bench, "spool_dropping").await, [AlarmState::Active]);
        disk.mend();
        tokio::time::sleep(secs(40)).await;
        let report = bench.spool.report().await;
        // The events that tell of it carry no values.
        let (kept, dropped) = (report.depth.disk_values, report.dropped.values);
        assert!(kept > 100 && report.disk_error.is_none(), "{report:?}");
        assert_eq!((kept, dropped), (pending(&report), 2000 - kept));
        let lost = told(&bench).await;
        assert_eq!((sum(&lost, "messages"), sum(&lost, "values")), (report.dropped.messages, dropped));
        assert!(named(&lost).into_iter().eq(1..=dropped), "the oldest");
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert!(session.scans("press", true).into_iter().eq(dropped + 1..=2000));
        let once = [AlarmState::Active, AlarmState::Cleared];
        for kind in ["spool_disk", "spool_dropping"] {
            let states: Vec<_> = watcher
                .alarms()
                .iter()
                .filter(|alarm| alarm.alarm_type == kind)
                .map(|alarm| alarm.state)
                .collect();
            assert_eq!(states, once, "{kind}");
        }
    });
}

#[test]
fn what_is_to_be_on_disk_first_is_bounded_in_memory_too() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), small_memory(), async |bench| {
        let disk = break_disk(folder.path());
        for _ in 0..20 {
            bench.scans(&bench.press, 20).await;
            bench.scans(&bench.boiler, 20).await;
            let depth = bench.spool.report().await.depth;
            assert!(depth.memory_bytes as u64 <= MEMORY + (1 << 10), "{depth:?}");
            tokio::time::sleep(ms(100)).await;
        }
        tokio::time::sleep(secs(6)).await;
        let report = bench.spool.report().await;
        assert!(report.dropped.messages > 100);
        disk.mend();
        tokio::time::sleep(secs(6)).await;
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert_eq!(session.numbers().len() as u64 + report.dropped.values, 800);
    });
}

#[test]
fn a_disk_that_fails_holds_nothing_up_while_the_broker_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), small_memory(), async |bench| {
        let disk = break_disk(folder.path());
        let session = Session::taking(&bench.spool, 100);
        for n in 1..=100 {
            bench.scans(&bench.boiler, 50).await;
            tokio::time::sleep(ms(50)).await;
            assert!(session.numbers().len() + 50 >= n * 50, "{} of {}", session.numbers().len(), n * 50);
        }
        assert!(session.scans("boiler", false).into_iter().eq(1..=5000), "in order");
        let report = bench.spool.report().await;
        assert!(report.disk_error.is_some() && report.dropped.messages == 0, "{report:?}");
        assert_eq!(alarms(&bench, "spool_disk").await, [AlarmState::Active]);
        disk.mend();
        bench.scans(&bench.boiler, 1).await;
        tokio::time::sleep(secs(5)).await;
        bench.scans(&bench.boiler, 1).await;
        tokio::time::sleep(secs(1)).await;
        assert_eq!(alarms(&bench, "spool_disk").await, [AlarmState::Cleared]);
        assert_eq!(bench.spool.report().await.disk_error, None);
    });
}

fn full(on_full: OnFull) -> SpoolSettings {
    let (max_bytes, segment_bytes) = (ByteSize(1 << 20), ByteSize(64 << 10));
    SpoolSettings { max_bytes, segment_bytes, on_full, ..SpoolSettings::default() }
}

/// Fills a megabyte several times; answers how many scans that took.
async fn fill(bench: &mut Bench) -> u64 {
    bench.enlarge_press(200).await;
    for _ in 0..100 {
        bench.scans(&bench.press, 20).await;
        tokio::time::sleep(ms(100)).await;
        let bytes = bench.spool.report().await.depth.disk_bytes;
        assert!(bytes <= 1 << 20, "{bytes}");
    }
    tokio::time::sleep(secs(10)).await;
    2000
}

#[test]
fn a_full_spool_drops_the_oldest_and_names_them() {
    with_bench(full(OnFull::DropOldest), async |mut bench| {
        let all = fill(&mut bench).await;
        let report = bench.spool.report().await;
        let (dropped, kept) = (report.dropped.values / 200, report.depth.disk_values / 200);
        assert!(dropped > 100 && dropped + kept == all, "{report:?}");
        let lost = told(&bench).await;
        assert!(named(&lost).into_iter().eq(1..=dropped));
        assert_eq!(alarms(&bench, "spool_dropping").await, [AlarmState::Active]);
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(5)).await;
        assert!(session.scans("press", true).into_iter().eq(dropped + 1..=all));
        tokio::time::sleep(secs(30)).await;
        assert_eq!(alarms(&bench, "spool_dropping").await, [AlarmState::Cleared]);
    });
}

#[test]
fn a_full_spool_that_refuses_what_is_new_keeps_the_oldest_and_names_the_others() {
    with_bench(full(OnFull::RefuseNew), async |mut bench| {
        let all = fill(&mut bench).await;
        let report = bench.spool.report().await;
        let (kept, dropped) = (report.depth.disk_values / 200, report.dropped.values / 200);
        assert!(dropped > 100 && kept > 100, "{report:?}");
        assert_eq!(kept + dropped, all);
        assert_eq!(report.disk_error, None, "a full spool isn't a broken disk");
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(5)).await;
        let delivered: BTreeSet<_> = session.scans("press", true).into_iter().collect();
        assert_eq!(delivered.len() as u64, kept);
        assert!(delivered.iter().copied().take(100).eq(1..=100));
        let lost = named(&told(&bench).await);
        assert!(delivered.is_disjoint(&lost) && (delivered.len() + lost.len()) as u64 == all);
        bench.scans(&bench.press, 5).await;
        tokio::time::sleep(secs(1)).await;
        assert!(
            session.scans("press", false).into_iter().eq(all + 1..=all + 5),
            "it takes what is new again"
        );
    });
}

#[test]
fn a_full_spool_still_hands_on_what_the_broker_takes() {
    let modes =
        bifrost_actors::spool::Modes { telemetry: bifrost_actors::spool::Mode::Always, ..Default::default() };
    with_bench(SpoolSettings { modes, ..full(OnFull::RefuseNew) }, async |mut bench| {
        let all = fill(&mut bench).await;
        let session = Session::attach(&bench.spool, 100, |message| {
            (!message.historical).then_some(bifrost_actors::broker::Outcome::Delivered)
        });
        tokio::time::sleep(ms(100)).await;
        bench.scans(&bench.press, 5).await;
        tokio::time::sleep(ms(100)).await;
        assert!(session.scans("press", false).into_iter().eq(all + 1..=all + 5));
    });
}

#[test]
fn what_is_too_old_is_dropped_and_named() {
    with_bench(
        SpoolSettings { max_age: Duration::from_hours(1), ..SpoolSettings::default() },
        async |bench| {
            let long_ago = Timestamp::from_micros(Timestamp::now().as_micros() - 2 * 3_600_000_000);
            bench.scans_of(&bench.press, 20, long_ago).await;
            tokio::time::sleep(secs(3)).await;
            bench.scans(&bench.press, 10).await;
            tokio::time::sleep(secs(15)).await;
            let report = bench.spool.report().await;
            assert_eq!((report.depth.disk_values, report.dropped.values), (10, 20));
            assert!(report.dropped.last.unwrap().reason.contains("max_age"));
            assert!(named(&told(&bench).await).into_iter().eq(1..=20));
            let session = Session::taking(&bench.spool, 100);
            tokio::time::sleep(secs(1)).await;
            assert!(session.scans("press", true).into_iter().eq(21..=30));
        },
    );
}

#[test]
fn what_the_disk_did_not_take_at_once_keeps_its_place() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), SpoolSettings::default(), async |bench| {
        let mixer = mixer();
        bench.plant.register(&mixer.tags).await;
        let disk = break_disk(folder.path());
        bench.scans_with(&mixer, &[2, 1, 1]).await;
        bench.scans_with(&mixer, &[2, 1, 2]).await;
        tokio::time::sleep(ms(500)).await;
        assert!(bench.spool.report().await.disk_error.is_some());
        disk.mend();
        tokio::time::sleep(secs(5)).await;
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert!(session.scans("mixer", true).into_iter().eq(1..=6), "{:?}", session.numbers());
    });
}
