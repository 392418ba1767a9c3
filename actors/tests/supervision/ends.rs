//! Every way a child can end, and that it comes back with fresh state.

use bifrost_actors::{
    supervision::{ChildKind, ChildState, Notice, Placement},
    testing::{Probe, Trick, Universe, until},
};

use crate::{ms, watchful};

/// Lets a child end in some way and answers the reason the tree gives, and whether it calls it a defect.
async fn ended_by(universe: &Universe, trick: Trick) -> (String, bool) {
    let probe = Probe::new("probe");
    universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
    probe.tell(Trick::Count);
    until("counted", || probe.counted() == 1).await;
    let before = universe.node_with_detail("probe").await.unwrap();
    assert_eq!(before.detail.unwrap()["counted"], 1);
    probe.tell(trick);
    until("rebuilt", || probe.births().len() == 2 && probe.living() == 1).await;
    universe.until_state("probe", ChildState::Running).await;
    let after = universe.node_with_detail("probe").await.unwrap();
    assert_eq!(after.detail.unwrap()["counted"], 0, "fresh state");
    assert_eq!(after.restarts, 1);
    probe.tell(Trick::Count);
    until("the new incarnation works", || probe.counted() == 2).await;
    let failed = universe.notices().into_iter().find_map(|notice| match notice {
        Notice::Failed { reason, defect, .. } => Some((reason, defect)),
        _ => None,
    });
    assert_eq!(after.last_error, failed.as_ref().map(|(reason, _)| reason.clone()));
    failed.unwrap()
}

fn check(trick: Trick, reason: &str, defect: bool) {
    Universe::run(watchful(), async |universe| {
        assert_eq!(ended_by(&universe, trick).await, (reason.to_owned(), defect));
    });
}

#[test]
fn a_child_that_panics_is_rebuilt_with_fresh_state() {
    check(Trick::Panic, "panicked: scripted panic", true);
}

#[test]
fn a_child_that_stops_without_a_word_is_rebuilt() {
    check(Trick::Stop, "ended without being asked to", true);
}

#[test]
fn a_child_that_says_why_it_ends_is_rebuilt_and_that_is_no_defect() {
    check(Trick::Fail("no route"), "no route", false);
}

#[test]
fn a_child_that_waits_for_what_never_comes_is_found_by_the_watchdog_and_rebuilt() {
    check(Trick::Hang, "didn't answer for 2s", true);
}

#[test]
fn poison_left_in_the_mailbox_of_a_child_that_panicked_ends_nothing_else() {
    Universe::run(watchful(), async |universe| {
        let (poisoned, neighbour) = (Probe::new("poisoned"), Probe::new("neighbour"));
        for probe in [&poisoned, &neighbour] {
            universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        }
        for _ in 0..4 {
            poisoned.tell(Trick::Panic);
        }
        until("rebuilt", || poisoned.births().len() == 2).await;
        universe.until_state("poisoned", ChildState::Running).await;
        tokio::time::sleep(ms(10_000)).await;
        assert_eq!((poisoned.births().len(), poisoned.living()), (2, 1), "the poison died with its mailbox");
        assert_eq!((neighbour.births().len(), neighbour.living()), (1, 1));
    });
}

#[test]
fn poison_left_in_the_mailbox_of_a_child_that_hangs_ends_nothing_else() {
    Universe::run(watchful(), async |universe| {
        let (poisoned, neighbour) = (Probe::new("poisoned"), Probe::new("neighbour"));
        for probe in [&poisoned, &neighbour] {
            universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        }
        poisoned.tell(Trick::Hang);
        for _ in 0..3 {
            poisoned.tell(Trick::Panic);
        }
        until("rebuilt", || poisoned.births().len() == 2).await;
        universe.until_state("poisoned", ChildState::Running).await;
        assert_eq!((neighbour.births().len(), neighbour.living()), (1, 1));
    });
}

#[test]
fn a_flood_on_one_mailbox_is_dropped_and_counted_at_its_bound_and_delays_no_other() {
    Universe::run(watchful(), async |universe| {
        let (flooded, neighbour) = (Probe::new("flooded"), Probe::new("neighbour"));
        for probe in [&flooded, &neighbour] {
            universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        }
        flooded.tell(Trick::Hang);
        tokio::time::sleep(ms(1)).await;
        let port = flooded.port().unwrap();
        let taken = (0..100_000).filter(|_| port.try_send(Trick::Count).is_ok()).count();
        let seen = universe.node("flooded").await.unwrap().mailbox.unwrap();
        assert_eq!(seen.capacity, 16);
        assert_eq!(taken as u64 + seen.dropped, 100_000);
        assert!(taken <= 32, "{taken} messages wait in a mailbox for 16");
        let asked = tokio::time::Instant::now();
        neighbour.port().unwrap().try_send(Trick::Count).unwrap();
        until("the neighbour answers", || neighbour.counted() == 1).await;
        assert!(asked.elapsed() <= ms(10), "{:?}", asked.elapsed());
        let at_rest = universe.node("neighbour").await.unwrap();
        assert_eq!((at_rest.mailbox.unwrap().dropped, at_rest.restarts), (0, 0));
        until("found by the watchdog", || flooded.births().len() == 2).await;
    });
}
