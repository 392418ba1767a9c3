//! Outages: what goes to disk and when, and how it comes back.

use std::path::Path;

use bifrost_actors::{
    broker::Outcome,
    size::ByteSize,
    spool::{Mode, Modes, SpoolSettings, SpoolState},
};

use crate::{
    Session,
    bench::{crash_in, mixer, run_in},
    ms, secs, settle, with_bench,
};

fn files(folder: &Path) -> usize {
    let listed = std::fs::read_dir(folder.join("spool")).unwrap();
    listed
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "spool"))
        .count()
}

#[test]
fn a_short_outage_is_bridged_in_memory_and_a_longer_one_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), SpoolSettings::default(), async |bench| {
        bench.scans(&bench.press, 5).await;
        tokio::time::sleep(ms(1500)).await;
        let report = bench.spool.report().await;
        assert_eq!((report.depth.memory_messages, report.depth.disk_messages), (5, 0));
        assert_eq!((report.state, report.pending.len()), (SpoolState::Waiting, 1));
        assert_eq!(files(folder.path()), 0);
        tokio::time::sleep(ms(1000)).await;
        let report = bench.spool.report().await;
        assert_eq!((report.depth.memory_messages, report.depth.disk_messages), (0, 5));
        assert_eq!((report.state, report.depth.disk_values), (SpoolState::Spooling, 5));
        assert_eq!((report.pending[0].from, report.pending[0].to), (1, 5));
        assert_eq!(files(folder.path()), 1);
        bench.scans(&bench.press, 2).await;
        tokio::time::sleep(ms(2500)).await;
        assert_eq!(bench.on_disk().await, 7, "what comes later follows within the same time");
    });
}

#[test]
fn after_an_outage_live_messages_go_first_and_the_backlog_follows_in_order_and_says_so() {
    with_bench(SpoolSettings::default(), async |bench| {
        for _ in 0..10 {
            bench.scans(&bench.press, 10).await;
            tokio::time::sleep(secs(1)).await;
        }
        tokio::time::sleep(secs(2)).await;
        assert_eq!(bench.on_disk().await, 100);
        bench.scans(&bench.press, 3).await;
        let session = Session::holding(&bench.spool, 1000);
        tokio::time::sleep(ms(500)).await;
        session.go_on();
        tokio::time::sleep(secs(2)).await;
        assert_eq!(session.scans("press", false), [101, 102, 103]);
        assert!(session.scans("press", true).into_iter().eq(1..=100));
        assert_eq!(session.numbers()[0], 101, "live first");
        let report = bench.spool.report().await;
        assert_eq!((report.depth.disk_messages, report.state), (0, SpoolState::Live));
        assert!(!report.replay.active && report.pending.is_empty());
    });
}

#[test]
fn the_backlog_comes_at_the_rate_of_the_settings_and_holds_up_nothing_that_is_live() {
    let settings = SpoolSettings { replay_rate: 100, ..SpoolSettings::default() };
    with_bench(settings, async |bench| {
        bench.scans(&bench.press, 1000).await;
        tokio::time::sleep(secs(3)).await;
        assert_eq!(bench.on_disk().await, 1000);
        let session = Session::taking(&bench.spool, 1000);
        for second in 1..=9 {
            tokio::time::sleep(ms(999)).await;
            bench.scans(&bench.press, 1).await;
            let late = session.scans("press", true).len();
            let expected = second * 100;
            assert!((expected - 15..=expected + 15).contains(&late), "{late} after {second} s");
            assert_eq!(session.scans("press", false).len(), second);
            let report = bench.spool.report().await;
            assert_eq!((report.state, report.replay.values_per_second), (SpoolState::Replaying, 100));
        }
        tokio::time::sleep(secs(2)).await;
        assert!(session.scans("press", true).into_iter().eq(1..=1000));
    });
}

#[test]
fn a_session_that_acknowledges_nothing_is_an_outage_too() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 5);
        bench.scans(&bench.press, 50).await;
        tokio::time::sleep(secs(3)).await;
        let report = bench.spool.report().await;
        assert_eq!((report.state, report.in_flight), (SpoolState::Spooling, 5));
        assert_eq!((report.depth.disk_messages, report.depth.memory_messages), (50, 0), "what is out too");
        assert_eq!(session.numbers(), [1, 2, 3, 4, 5]);
        session.go_on();
        tokio::time::sleep(secs(1)).await;
        assert!(session.numbers().into_iter().eq(1..=50), "{:?}", session.numbers());
        assert_eq!(bench.on_disk().await, 0);
    });
}

#[test]
fn what_is_out_for_too_long_survives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    crash_in(folder.path(), SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 50);
        bench.scans(&bench.press, 10).await;
        tokio::time::sleep(secs(3)).await;
        assert_eq!(session.numbers().len(), 10);
    });
    run_in(folder.path(), SpoolSettings::default(), async |bench| {
        let session = Session::taking(&bench.spool, 50);
        tokio::time::sleep(secs(1)).await;
        assert!(session.scans("press", true).into_iter().eq(1..=10));
    });
}

#[test]
fn what_must_not_get_lost_is_on_disk_before_it_is_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::default();
    crash_in(folder.path(), settings.clone(), async |bench| {
        let session = Session::holding(&bench.spool, 100);
        bench.scans(&bench.boiler, 10).await;
        bench.scans(&bench.press, 10).await;
        assert!(session.scans("boiler", false).into_iter().eq(1..=10), "it is live all the same");
        assert_eq!(session.scans("press", false).len(), 10);
        assert_eq!(bench.on_disk().await, 10);
    });
    run_in(folder.path(), settings, async |bench| {
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert!(session.scans("boiler", true).into_iter().eq(1..=10));
        assert_eq!(session.scans("press", true).len(), 0, "telemetry was in memory alone");
    });
}

/// What is on disk now: an end, however sudden, might still note something.
fn copy(folder: &Path, to: &Path) {
    std::fs::create_dir(to.join("spool")).unwrap();
    for entry in std::fs::read_dir(folder.join("spool")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join("spool").join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn what_was_acknowledged_is_not_sent_again_after_a_crash_once_that_is_noted() {
    let (folder, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = SpoolSettings::default();
    crash_in(folder.path(), settings.clone(), async |bench| {
        let session = Session::taking(&bench.spool, 100);
        bench.scans(&bench.boiler, 10).await;
        tokio::time::sleep(secs(6)).await;
        assert_eq!((session.numbers().len(), bench.on_disk().await), (10, 0));
        copy(folder.path(), later.path());
    });
    run_in(later.path(), settings, async |bench| {
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert_eq!(session.numbers(), Vec::<u64>::new());
    });
}

#[test]
fn every_class_can_be_kept_in_memory_or_on_disk() {
    let modes = Modes { telemetry: Mode::Always, status: Mode::OnOutage, critical: Mode::OnOutage };
    with_bench(SpoolSettings { modes, ..SpoolSettings::default() }, async |bench| {
        let session = Session::holding(&bench.spool, 100);
        bench.scans(&bench.boiler, 10).await;
        assert_eq!(bench.on_disk().await, 0);
        bench.scans(&bench.press, 10).await;
        assert_eq!((bench.on_disk().await, session.numbers().len()), (10, 20));
    });
}

#[test]
fn an_outage_amid_the_backlog_loses_nothing_and_repeats_little() {
    let settings = SpoolSettings { replay_rate: 500, ..SpoolSettings::default() };
    with_bench(settings, async |bench| {
        bench.scans(&bench.press, 3000).await;
        tokio::time::sleep(secs(3)).await;
        let mut all = Vec::new();
        for _ in 0..20 {
            let session = Session::taking(&bench.spool, 40);
            tokio::time::sleep(ms(700)).await;
            session.answer(|_| None);
            tokio::time::sleep(ms(50)).await;
            session.detach();
            settle().await;
            all.extend(session.numbers());
        }
        assert_eq!(bench.on_disk().await, 0);
        let repeated = all.len() - 3000;
        all.sort_unstable();
        all.dedup();
        assert!(all.into_iter().eq(1..=3000));
        assert!(repeated <= 20 * 40, "{repeated} were sent again");
    });
}

#[test]
fn what_is_live_is_not_held_up_by_a_backlog_that_is_acknowledged_slowly() {
    let settings = SpoolSettings { replay_rate: 1_000_000, ..SpoolSettings::default() };
    with_bench(settings, async |mut bench| {
        bench.enlarge_press(100).await;
        bench.scans(&bench.press, 1000).await;
        tokio::time::sleep(secs(3)).await;
        let session = Session::attach(&bench.spool, 100_000, |message| {
            (!message.historical).then_some(Outcome::Delivered)
        });
        for _ in 0..10 {
            tokio::time::sleep(ms(100)).await;
            bench.scans(&bench.press, 1).await;
        }
        assert!(session.scans("press", false).into_iter().eq(1001..=1010));
        let limit = usize::try_from(SpoolSettings::default().max_in_flight.0 / 4).unwrap();
        assert!(session.most().1 < limit + 10_000, "{:?}", session.most());
        session.go_on();
        tokio::time::sleep(secs(2)).await;
        assert!(session.scans("press", true).into_iter().eq(1..=1000));
    });
}

#[test]
fn what_is_on_disk_at_once_does_not_overtake_what_came_before_it() {
    with_bench(SpoolSettings::default(), async |bench| {
        let mixer = mixer();
        bench.plant.register(&mixer.tags).await;
        bench.scans_with(&mixer, &[1, 1, 1]).await;
        bench.scans_with(&mixer, &[2, 1, 2, 1]).await;
        assert_eq!(bench.on_disk().await, 2, "it doesn't wait for anything");
        bench.scans_with(&mixer, &[1, 2, 1]).await;
        tokio::time::sleep(secs(3)).await;
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert!(session.scans("mixer", true).into_iter().eq(1..=10), "{:?}", session.numbers());
    });
}

#[test]
fn what_is_out_goes_to_disk_before_what_comes_after_it() {
    let settings = SpoolSettings { max_memory: ByteSize(64 << 10), ..SpoolSettings::default() };
    with_bench(settings, async |bench| {
        let session = Session::holding(&bench.spool, 5);
        bench.scans(&bench.press, 170).await;
        assert_eq!(session.numbers().len(), 5);
        tokio::time::sleep(ms(500)).await;
        assert!(bench.on_disk().await > 5, "too much waits");
        session.detach();
        tokio::time::sleep(secs(4)).await;
        let next = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert!(next.scans("press", true).into_iter().eq(1..=170), "{:?}", next.numbers());
    });
}

#[test]
fn a_broker_that_is_only_busy_is_an_outage_too() {
    with_bench(SpoolSettings::default(), async |bench| {
        let busy = |_: &_| Some(Outcome::Again("busy".to_owned()));
        let session = Session::attach(&bench.spool, 5, busy);
        bench.scans(&bench.press, 20).await;
        tokio::time::sleep(secs(4)).await;
        assert_eq!(bench.on_disk().await, 20);
        session.go_on();
        tokio::time::sleep(secs(2)).await;
        let mut came = session.numbers();
        came.sort_unstable();
        came.dedup();
        assert!(came.into_iter().eq(1..=20));
        assert_eq!(bench.on_disk().await, 0);
    });
}

#[test]
fn a_session_that_comes_and_goes_without_taking_anything_is_an_outage_too() {
    with_bench(SpoolSettings::default(), async |bench| {
        bench.scans(&bench.press, 20).await;
        for _ in 0..4 {
            let session = Session::attach(&bench.spool, 5, |_| None);
            tokio::time::sleep(ms(500)).await;
            session.detach();
            tokio::time::sleep(ms(500)).await;
        }
        assert_eq!(bench.on_disk().await, 20);
        let session = Session::taking(&bench.spool, 5);
        tokio::time::sleep(secs(1)).await;
        assert!(session.numbers().into_iter().eq(1..=20), "{:?}", session.numbers());
    });
}

#[test]
fn what_is_read_in_a_short_outage_comes_in_order_and_is_not_late() {
    with_bench(SpoolSettings::default(), async |bench| {
        let mixer = mixer();
        bench.plant.register(&mixer.tags).await;
        bench.scans_with(&mixer, &[1, 2, 1]).await;
        bench.plant.events().raise("a", "test", bifrost_model::Severity::Error, "press", "said");
        tokio::time::sleep(ms(500)).await;
        assert_eq!(bench.on_disk().await, 2, "what must not get lost: a scan and the alarm");
        let session = Session::holding(&bench.spool, 100);
        settle().await;
        assert_eq!(session.scans("mixer", false), [1, 2, 3]);
        session.detach();
        bench.scans_with(&mixer, &[2, 1]).await;
        let session = Session::taking(&bench.spool, 100);
        settle().await;
        assert_eq!(session.scans("mixer", false), [1, 2, 3, 4, 5]);
        tokio::time::sleep(ms(500)).await;
        assert_eq!(bench.on_disk().await, 0);
    });
}

#[test]
fn an_outage_that_lasts_writes_what_was_in_hand_in_order() {
    let folder = tempfile::tempdir().unwrap();
    crash_in(folder.path(), SpoolSettings::default(), async |bench| {
        let mixer = mixer();
        bench.plant.register(&mixer.tags).await;
        let session = Session::holding(&bench.spool, 100);
        bench.scans_with(&mixer, &[1, 2, 1]).await;
        session.detach();
        bench.scans_with(&mixer, &[2, 1]).await;
        tokio::time::sleep(secs(3)).await;
        assert_eq!(bench.spool.report().await.depth.memory_messages, 0);
    });
    run_in(folder.path(), SpoolSettings::default(), async |bench| {
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert!(session.scans("mixer", true).into_iter().eq(1..=5), "{:?}", session.numbers());
    });
}
