//! Delays before a rebuild, and starts that fail or take long.

use std::time::Duration;

use bifrost_actors::{
    supervision::{ChildKind, ChildState, Placement, SupervisionSettings},
    testing::{Birthplace, Probe, Universe, until},
};

use crate::{ms, watchful};

/// Delays of 100 ms to 1 s, and more budget than a test uses.
fn patient() -> SupervisionSettings {
    let mut settings = watchful();
    settings.plc_connection.initial_delay = ms(100);
    settings.plc_connection.max_delay = ms(1000);
    settings.plc_connection.budget = 1000;
    settings.plc_connection.window = Duration::from_hours(1);
    settings
}

#[test]
fn the_delay_before_each_rebuild_is_drawn_below_a_bound_that_doubles_up_to_the_cap() {
    let bounds = [100, 200, 400, 800, 1000, 1000, 1000, 1000];
    let mut beyond_half = 0;
    for _ in 0..20 {
        Universe::run(patient(), async |universe| {
            let probe = Probe::new("probe");
            probe.next_births([Birthplace::Fails; 8]);
            universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
            until("rebuilt", || probe.living() == 1).await;
            let births = probe.births();
            assert_eq!(births.len(), 9);
            for (pair, bound) in births.windows(2).zip(bounds) {
                let delay = pair[1] - pair[0];
                // The clock's wheel turns in milliseconds.
                assert!(delay <= ms(bound + 2), "{delay:?} beyond {bound} ms");
                beyond_half += u32::from(delay > ms(bound / 2));
            }
        });
    }
    assert!((40..=120).contains(&beyond_half), "{beyond_half} of 160 delays in their bound's upper half");
}

#[test]
fn children_that_failed_together_do_not_return_together() {
    let mut settings = patient();
    settings.plc_connection.initial_delay = ms(1000);
    Universe::run(settings, async |universe| {
        let probes: Vec<_> = (0..50).map(|n| Probe::new(&format!("p{n}"))).collect();
        for probe in &probes {
            probe.next_births([Birthplace::Fails]);
            universe.begin("/", probe.spec(ChildKind::PlcConnection, Placement::Home));
        }
        until("all run", || probes.iter().all(|probe| probe.living() == 1)).await;
        let mut returns: Vec<_> = probes.iter().map(|probe| probe.births()[1]).collect();
        returns.sort_unstable();
        returns.dedup();
        assert!(returns.len() > 20, "50 children returned at {} points in time", returns.len());
    });
}

#[test]
fn a_child_that_cannot_be_built_is_tried_again_and_says_why() {
    Universe::run(patient(), async |universe| {
        let probe = Probe::new("probe");
        probe.always(Birthplace::Fails);
        universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        let node = universe.node("probe").await.unwrap();
        assert_eq!((node.state, node.last_error.as_deref()), (ChildState::Backoff, Some("scripted failure")));
        probe.always(Birthplace::Sound);
        universe.until_state("probe", ChildState::Running).await;
    });
}

#[test]
fn a_factory_that_panics_harms_nobody_and_is_tried_again() {
    Universe::run(patient(), async |universe| {
        let (probe, neighbour) = (Probe::new("probe"), Probe::new("neighbour"));
        universe.add("/", neighbour.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        probe.next_births([Birthplace::Panics, Birthplace::Panics]);
        universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        universe.until_state("probe", ChildState::Running).await;
        let node = universe.node("probe").await.unwrap();
        assert_eq!(node.last_error.as_deref(), Some("panicked: scripted panic at birth"));
        assert_eq!((probe.births().len(), neighbour.births().len()), (3, 1));
    });
}

#[test]
fn a_start_that_takes_too_long_is_given_up_and_tried_again() {
    let mut settings = patient();
    settings.plc_connection.start_timeout = Duration::from_secs(10);
    Universe::run(settings, async |universe| {
        let probe = Probe::new("probe");
        probe.next_births([Birthplace::Slow(Duration::from_mins(10))]);
        let began = tokio::time::Instant::now();
        universe.add("/", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < Duration::from_secs(11));
        universe.until_state("probe", ChildState::Running).await;
        let node = universe.node("probe").await.unwrap();
        assert_eq!(node.last_error.as_deref(), Some("starting took longer than 10s"));
    });
}

#[test]
fn a_child_that_starts_slowly_holds_nobody_up() {
    let mut settings = patient();
    settings.plc_link.start_timeout = Duration::from_mins(1);
    Universe::run(settings, async |universe| {
        let (slow, quick) = (Probe::new("slow"), Probe::new("quick"));
        slow.next_births([Birthplace::Slow(Duration::from_secs(30))]);
        let began = tokio::time::Instant::now();
        universe.begin("/", slow.spec(ChildKind::PlcLink, Placement::Home));
        universe.add("/", quick.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        assert_eq!(universe.order("quick", bifrost_actors::supervision::OrderKind::Restart).await, Ok(()));
        assert_eq!((quick.births().len(), quick.living()), (2, 1));
        assert!(began.elapsed() < ms(10), "{:?}", began.elapsed());
        assert_eq!(slow.living(), 0);
        let deadline = began + Duration::from_secs(31);
        while slow.living() == 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(ms(100)).await;
        }
        assert_eq!((slow.births().len(), slow.living()), (1, 1), "one start, that took 30 s");
    });
}
