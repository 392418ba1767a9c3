//! Threads that are really blocked; real time, short limits.

use std::time::Duration;

use bifrost_actors::{
    supervision::{ChildKind, ChildState, Notice, Placement, SupervisionSettings},
    testing::{Birthplace, Probe, Trick, Universe, until},
};

use crate::ms;

/// Longer than the tree needs to find out, shorter than a test may take.
const BLOCKED: Duration = Duration::from_millis(2500);

fn hasty() -> SupervisionSettings {
    let mut settings = SupervisionSettings {
        watchdog_interval: ms(100),
        watchdog_limit: ms(400),
        ..SupervisionSettings::default()
    };
    settings.plc_connection.initial_delay = ms(10);
    settings.plc_connection.start_timeout = ms(200);
    settings
}

async fn child(universe: &Universe, name: &str, worker: usize) -> Probe {
    let probe = Probe::new(name);
    let spec = probe.spec(ChildKind::PlcConnection, Placement::Worker(worker));
    universe.add("/", spec).await.unwrap();
    probe
}

async fn well(universe: &Universe, probe: &Probe, name: &str) {
    universe.until_state(name, ChildState::Running).await;
    let before = probe.counted();
    until("it works", || {
        probe.tell(Trick::Count);
        probe.counted() > before
    })
    .await;
}

fn replaced(universe: &Universe) -> usize {
    universe.notices().iter().filter(|notice| matches!(notice, Notice::ThreadReplaced { .. })).count()
}

#[test]
fn a_child_that_blocks_its_thread_gets_a_new_one_with_its_neighbours_and_nobody_else_notices() {
    Universe::on_threads(2, hasty(), async |universe| {
        let blocker = child(&universe, "blocker", 0).await;
        let neighbour = child(&universe, "neighbour", 0).await;
        let elsewhere = child(&universe, "elsewhere", 1).await;
        blocker.tell(Trick::Block(BLOCKED));
        until("rebuilt", || blocker.births().len() >= 2 && neighbour.births().len() >= 2).await;
        well(&universe, &blocker, "blocker").await;
        well(&universe, &neighbour, "neighbour").await;
        assert_eq!(replaced(&universe), 1, "one thread was stuck: {:?}", universe.notices());
        assert_eq!(elsewhere.births().len(), 1);
        // The old thread gets unstuck, and what was written off ends without harming its successors.
        until("the old ones are gone", || blocker.living() == 1 && neighbour.living() == 1).await;
        well(&universe, &blocker, "blocker").await;
        well(&universe, &neighbour, "neighbour").await;
        assert_eq!((blocker.births().len(), neighbour.births().len()), (2, 2));
    });
}

#[test]
fn a_child_that_was_launched_on_a_blocked_thread_does_not_wait_for_ever() {
    Universe::on_threads(1, hasty(), async |universe| {
        let blocker = Probe::new("blocker");
        blocker.next_births([Birthplace::Blocks(BLOCKED)]);
        universe.begin("/", blocker.spec(ChildKind::PlcConnection, Placement::Worker(0)));
        until("blocking", || blocker.births().len() == 1).await;
        let began = std::time::Instant::now();
        let late = Probe::new("late");
        universe.begin("/", late.spec(ChildKind::PlcConnection, Placement::Worker(0)));
        until("both run", || late.living() >= 1 && blocker.births().len() >= 2).await;
        well(&universe, &late, "late").await;
        well(&universe, &blocker, "blocker").await;
        assert!(began.elapsed() < BLOCKED + ms(1500), "{:?}", began.elapsed());
        assert_eq!(replaced(&universe), 1);
        until("the old ones are gone", || blocker.living() == 1 && late.living() == 1).await;
    });
}
