//! The spool's own end: ordered, by failure, and by nobody's fault.

use bifrost_actors::{
    broker::Outcome,
    spool::SpoolSettings,
    testing::{FATAL, until},
};

use crate::{Session, bench::run_in, ms, secs, settle, with_bench};

#[test]
fn a_stop_puts_all_that_is_not_acknowledged_on_disk_and_the_next_incarnation_sends_it() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 5);
        bench.scans(&bench.press, 10).await;
        bench.scans(&bench.boiler, 10).await;
        session.settle(2, &Outcome::Delivered);
        settle().await;
        bench.stop().await;
        bench.restart().await;
        assert_eq!(bench.on_disk().await, 18);
        let next = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(1)).await;
        assert!(next.scans("press", true).into_iter().eq(3..=10), "{:?}", next.numbers());
        assert!(next.scans("boiler", true).into_iter().eq(1..=10));
        assert_eq!((next.scans("press", false).len(), bench.on_disk().await), (0, 0));
    });
}

#[test]
fn a_gateway_that_is_stopped_and_started_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), SpoolSettings::default(), async |bench| {
        bench.scans(&bench.press, 2500).await;
    });
    run_in(folder.path(), SpoolSettings::default(), async |bench| {
        assert_eq!(bench.on_disk().await, 2500);
        let session = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(2)).await;
        assert!(session.scans("press", true).into_iter().eq(1..=2500));
    });
}

#[test]
fn a_stop_waits_a_moment_for_what_is_out() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 5);
        bench.scans(&bench.press, 10).await;
        let stopping = async { bench.stop().await };
        let acknowledging = async {
            tokio::time::sleep(secs(1)).await;
            session.go_on();
        };
        futures_util::future::join(stopping, acknowledging).await;
        assert!(session.numbers().into_iter().eq(1..=10));
        bench.restart().await;
        assert_eq!(bench.on_disk().await, 0);
    });
}

#[test]
fn a_spool_that_panics_hands_what_it_had_to_its_successor() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 5);
        bench.scans(&bench.press, 10).await;
        bench.scans(&bench.boiler, 10).await;
        let before = bench.spool.ports().unwrap().attach;
        session.settle(1, &Outcome::Refused(FATAL.to_owned()));
        until("another spool", || bench.spool.ports().is_some_and(|ports| ports.attach != before)).await;
        settle().await;
        let next = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(2)).await;
        assert!(next.scans("press", false).into_iter().eq(2..=10), "{:?}", next.numbers());
        let mut boiler = [next.scans("boiler", false), next.scans("boiler", true)].concat();
        boiler.sort_unstable();
        boiler.dedup();
        assert!(boiler.into_iter().eq(1..=10));
        bench.scans(&bench.press, 5).await;
        assert!(next.scans("press", false).into_iter().eq(2..=15), "it has subscribed");
        assert_eq!(bench.spool.report().await.dropped.messages, 0);
    });
}

#[test]
fn a_spool_that_panics_on_an_outage_loses_nothing_either() {
    with_bench(SpoolSettings::default(), async |bench| {
        bench.scans(&bench.press, 20).await;
        tokio::time::sleep(secs(3)).await;
        bench.scans(&bench.press, 20).await;
        let session = Session::attach(&bench.spool, 10, |message| {
            (message.seq == 21).then(|| Outcome::Refused(FATAL.to_owned()))
        });
        let before = bench.spool.ports().unwrap().attach;
        until("another spool", || bench.spool.ports().is_some_and(|ports| ports.attach != before)).await;
        assert!(session.numbers().contains(&21));
        tokio::time::sleep(ms(300)).await;
        let next = Session::taking(&bench.spool, 100);
        tokio::time::sleep(secs(2)).await;
        let mut numbers = next.numbers();
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.iter().copied().eq((1..=40).filter(|seq| *seq != 21)), "{numbers:?}");
    });
}
