//! Handing on: in order, within the window, and what a session that goes or refuses brings about.

use bifrost_actors::{
    broker::Outcome,
    size::ByteSize,
    spool::{SpoolSettings, SpoolState},
};

use crate::{Session, ms, settle, with_bench};

fn again() -> Outcome {
    Outcome::Again("busy".to_owned())
}

#[test]
fn live_messages_go_out_in_the_order_in_which_they_came() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::taking(&bench.spool, 100);
        for _ in 0..5 {
            bench.scans(&bench.press, 100).await;
        }
        assert!(session.scans("press", false).into_iter().eq(1..=500));
        let report = bench.spool.report().await;
        assert_eq!((report.state, report.in_flight, report.dropped.messages), (SpoolState::Live, 0, 0));
        assert_eq!((report.depth.memory_messages, report.depth.disk_messages), (0, 0));
        assert!(report.pending.is_empty());
    });
}

#[test]
fn never_more_than_the_window_is_out() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 10);
        bench.scans(&bench.press, 100).await;
        assert!(session.numbers().into_iter().eq(1..=10));
        session.settle(3, &Outcome::Delivered);
        settle().await;
        assert!(session.numbers().into_iter().eq(1..=13));
        assert_eq!(bench.spool.report().await.in_flight, 10);
        session.go_on();
        settle().await;
        assert!(session.numbers().into_iter().eq(1..=100));
        assert_eq!(session.most().0, 10);
    });
}

#[test]
fn no_more_bytes_are_out_than_may_be_and_one_message_always_is() {
    let settings = SpoolSettings { max_in_flight: ByteSize(4 << 10), ..SpoolSettings::default() };
    with_bench(settings, async |mut bench| {
        bench.enlarge_press(60).await;
        let session = Session::holding(&bench.spool, 1000);
        bench.scans(&bench.press, 50).await;
        let size = session.on("t/press")[0].message.payload.len();
        assert!((1000..3000).contains(&size), "{size}");
        session.go_on();
        settle().await;
        assert!(session.numbers().into_iter().eq(1..=50));
        let described = session.on("e/press/tags").iter().map(|got| got.message.payload.len()).max().unwrap();
        let most = session.most().1;
        assert!(most < (4 << 10) + size || most == described, "{most} bytes were out at a time");
    });
}

#[test]
fn what_was_out_goes_out_again_first_and_in_order_to_the_next_session() {
    with_bench(SpoolSettings::default(), async |bench| {
        let first = Session::holding(&bench.spool, 5);
        bench.scans(&bench.press, 10).await;
        first.settle(1, &Outcome::Delivered);
        settle().await;
        assert_eq!(first.numbers(), [1, 2, 3, 4, 5, 6]);
        first.detach();
        let next = Session::taking(&bench.spool, 5);
        settle().await;
        assert_eq!(next.scans("press", false), [2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(bench.on_disk().await, 0);
    });
}

#[test]
fn a_later_session_takes_an_earlier_ones_place_and_hears_no_more_of_it() {
    with_bench(SpoolSettings::default(), async |bench| {
        let first = Session::holding(&bench.spool, 10);
        bench.scans(&bench.press, 3).await;
        let next = Session::holding(&bench.spool, 10);
        settle().await;
        assert_eq!(next.numbers(), [1, 2, 3]);
        let late = first.tickets().into_iter().chain(next.tickets());
        first.say(late.map(|ticket| (ticket, Outcome::Delivered)).collect());
        first.detach();
        settle().await;
        let report = bench.spool.report().await;
        assert!(report.connected && report.in_flight >= 3, "{report:?}");
        bench.scans(&bench.press, 1).await;
        assert_eq!((next.numbers(), first.numbers().len()), (vec![1, 2, 3, 4], 3));
    });
}

#[test]
fn what_is_refused_is_buried_with_the_reason_and_blocks_nothing_behind_it() {
    with_bench(SpoolSettings::default(), async |bench| {
        let refuse = |seq| {
            move |got: &bifrost_actors::broker::Outgoing| {
                let refused = || Outcome::Refused("not authorized".to_owned());
                Some(if got.seq == seq { refused() } else { Outcome::Delivered })
            }
        };
        let session = Session::attach(&bench.spool, 3, refuse(4));
        bench.scans(&bench.press, 10).await;
        bench.scans(&bench.boiler, 10).await;
        assert!(session.scans("press", false).into_iter().eq(1..=10));
        assert!(session.scans("boiler", false).into_iter().eq(1..=10));
        let buried = bench.spool.buried();
        let buried: Vec<_> =
            buried.iter().map(|(message, why)| (&*message.topic, message.seq, &**why)).collect();
        assert_eq!(buried, [("t/press", 4, "not authorized"), ("t/boiler", 4, "not authorized")]);
        tokio::time::sleep(ms(600)).await;
        assert_eq!(bench.on_disk().await, 0, "what is buried isn't kept twice");
    });
}

#[test]
fn what_may_be_sent_again_is_after_a_pause_and_in_order() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 4);
        bench.scans(&bench.press, 8).await;
        session.settle(1, &Outcome::Delivered);
        session.settle(1, &again());
        settle().await;
        let before = session.numbers();
        assert_eq!(before, [1, 2, 3, 4, 5], "nothing more goes out while the broker is busy");
        tokio::time::sleep(ms(400)).await;
        assert_eq!(session.numbers(), before);
        session.settle(usize::MAX, &again());
        session.answer(|_| Some(Outcome::Delivered));
        tokio::time::sleep(ms(400)).await;
        assert_eq!(session.numbers(), before, "the pause begins anew");
        tokio::time::sleep(ms(500)).await;
        assert_eq!(session.numbers()[5..], [2, 3, 4, 5, 6, 7, 8]);
        assert!(bench.spool.buried().is_empty());
    });
}

#[test]
fn a_duplicate_is_as_good_as_delivered() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::attach(&bench.spool, 4, |_| Some(Outcome::Duplicate));
        bench.scans(&bench.boiler, 8).await;
        tokio::time::sleep(ms(600)).await;
        assert_eq!((session.numbers().len(), bench.on_disk().await), (8, 0));
    });
}

#[test]
fn a_session_that_ends_while_it_is_handed_something_loses_nothing() {
    with_bench(SpoolSettings::default(), async |bench| {
        let first = Session::taking(&bench.spool, 10);
        bench.scans(&bench.press, 5).await;
        assert_eq!(first.numbers().len(), 5);
        first.vanish().await;
        bench.scans(&bench.press, 5).await;
        assert!(!bench.spool.report().await.connected);
        let next = Session::taking(&bench.spool, 10);
        settle().await;
        assert_eq!(next.scans("press", false), [6, 7, 8, 9, 10]);
    });
}
