//! What happens to a child that fails more often than its budget allows.

use std::time::Duration;

use bifrost_actors::{
    supervision::{ChildKind, ChildState, Notice, OrderKind, Placement},
    testing::{Birthplace, Probe, Trick, Universe, until},
};

use crate::{ms, watchful};

fn count(universe: &Universe, is: impl Fn(&Notice) -> bool) -> usize {
    universe.notices().iter().filter(|notice| is(notice)).count()
}

fn parked(universe: &Universe) -> usize {
    count(universe, |notice| matches!(notice, Notice::Parked { .. }))
}

fn recovered(universe: &Universe) -> usize {
    count(universe, |notice| matches!(notice, Notice::Recovered { .. }))
}

/// A child of a kind that is parked, which fails at every birth until told otherwise; parked when this returns.
async fn park(universe: &Universe) -> Probe {
    let probe = Probe::new("probe");
    probe.always(Birthplace::Fails);
    universe.add("/", probe.spec(ChildKind::PlcLink, Placement::Home)).await.unwrap();
    universe.until_state("probe", ChildState::Failed).await;
    probe
}

#[test]
fn failures_within_the_budget_ring_no_alarm_however_many_over_a_long_time() {
    let mut settings = watchful();
    settings.plc_link.budget = 3;
    Universe::run(settings, async |universe| {
        let probe = Probe::new("probe");
        universe.add("/", probe.spec(ChildKind::PlcLink, Placement::Home)).await.unwrap();
        for n in 2..12 {
            tokio::time::sleep(Duration::from_secs(25)).await;
            probe.tell(Trick::Panic);
            until("rebuilt", || probe.births().len() == n && probe.living() == 1).await;
        }
        assert_eq!(parked(&universe), 0);
        assert_eq!(universe.node("probe").await.unwrap().restarts, 10);
    });
}

#[test]
fn beyond_its_budget_a_child_is_parked_as_failed_with_one_alarm() {
    Universe::run(watchful(), async |universe| {
        let probe = park(&universe).await;
        // Budget 10: the eleventh failure is one too many.
        assert_eq!(probe.births().len(), 11);
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!((parked(&universe), recovered(&universe)), (1, 0));
        let node = universe.node("probe").await.unwrap();
        assert_eq!((node.state, node.last_error.as_deref()), (ChildState::Failed, Some("scripted failure")));
        probe.always(Birthplace::Sound);
        universe.until_state("probe", ChildState::Running).await;
    });
}

#[test]
fn a_parked_child_is_never_given_up_and_tried_every_half_to_whole_retry_time() {
    Universe::run(watchful(), async |universe| {
        let probe = park(&universe).await;
        tokio::time::sleep(Duration::from_hours(1)).await;
        let births = probe.births();
        let pauses: Vec<_> = births[10..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((360..=725).contains(&pauses.len()), "{} attempts in an hour", pauses.len());
        for pause in pauses {
            assert!((ms(5000)..=ms(10_002)).contains(&pause), "{pause:?}");
        }
        probe.always(Birthplace::Sound);
        universe.until_state("probe", ChildState::Running).await;
    });
}

#[test]
fn a_parked_child_that_runs_for_a_while_has_recovered_and_its_budget_is_whole_again() {
    Universe::run(watchful(), async |universe| {
        let probe = park(&universe).await;
        probe.always(Birthplace::Sound);
        universe.until_state("probe", ChildState::Running).await;
        assert_eq!(recovered(&universe), 0, "not before it has run for a while");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(recovered(&universe), 1);
        probe.tell(Trick::Panic);
        until("rebuilt", || probe.births().len() == 13 && probe.living() == 1).await;
        assert_eq!(parked(&universe), 1, "one failure after the recovery is within the budget");
    });
}

#[test]
fn a_parked_child_that_breaks_again_at_once_does_not_ring_again() {
    Universe::run(watchful(), async |universe| {
        let probe = park(&universe).await;
        for _ in 0..5 {
            probe.always(Birthplace::Sound);
            universe.until_state("probe", ChildState::Running).await;
            tokio::time::sleep(ms(1000)).await;
            probe.always(Birthplace::Fails);
            probe.tell(Trick::Panic);
            universe.until_state("probe", ChildState::Failed).await;
        }
        assert_eq!((parked(&universe), recovered(&universe)), (1, 0));
    });
}

#[test]
fn a_parked_child_that_is_removed_takes_its_alarm_with_it() {
    Universe::run(watchful(), async |universe| {
        park(&universe).await;
        assert_eq!(universe.remove("probe").await, Ok(()));
        assert_eq!((parked(&universe), recovered(&universe)), (1, 1));
        assert_eq!(universe.state("probe").await, None);
    });
}

#[test]
fn a_parked_child_can_be_started_by_hand_at_once() {
    Universe::run(watchful(), async |universe| {
        let probe = park(&universe).await;
        probe.always(Birthplace::Sound);
        let asked = tokio::time::Instant::now();
        assert_eq!(universe.order("probe", OrderKind::Start).await, Ok(()));
        assert_eq!(probe.living(), 1);
        assert!(asked.elapsed() < ms(10));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(recovered(&universe), 1);
    });
}

/// A branch `core` with a child of a kind that escalates, and a sibling.
async fn core(universe: &Universe) -> (Probe, Probe) {
    let (failing, sibling) = (Probe::new("failing"), Probe::new("sibling"));
    universe.branch("/", "core").await.unwrap();
    for probe in [&failing, &sibling] {
        universe.add("core", probe.spec(ChildKind::Router, Placement::Home)).await.unwrap();
    }
    (failing, sibling)
}

fn escalated(universe: &Universe, to: &str) -> usize {
    count(universe, |notice| matches!(notice, Notice::Escalated { path, .. } if path == to))
}

#[test]
fn beyond_its_budget_a_core_child_has_its_branch_restarted_and_all_in_it_rebuilt() {
    Universe::run(watchful(), async |universe| {
        let (failing, sibling) = core(&universe).await;
        let outside = Probe::new("outside");
        universe.add("/", outside.spec(ChildKind::Router, Placement::Home)).await.unwrap();
        failing.next_births([Birthplace::Fails; 10]);
        failing.tell(Trick::Panic);
        until("rebuilt", || sibling.births().len() == 2 && failing.living() == 1).await;
        universe.until_state("core", ChildState::Running).await;
        assert_eq!((escalated(&universe, "core"), escalated(&universe, "/")), (1, 0));
        assert_eq!(universe.node("core").await.unwrap().restarts, 1);
        assert_eq!(outside.births().len(), 1, "nobody outside the branch notices");
        assert_eq!((sibling.living(), outside.living()), (1, 1));
    });
}

#[test]
fn what_was_stopped_by_hand_stays_at_rest_when_its_branch_is_restarted() {
    Universe::run(watchful(), async |universe| {
        let (failing, sibling) = core(&universe).await;
        assert_eq!(universe.order("core/sibling", OrderKind::Stop).await, Ok(()));
        failing.next_births([Birthplace::Fails; 10]);
        failing.tell(Trick::Panic);
        until("the branch is restarted", || escalated(&universe, "core") == 1 && failing.living() == 1).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(universe.state("core/sibling").await, Some(ChildState::Stopped));
        assert_eq!(sibling.living(), 0);
        assert_eq!(universe.order("core/sibling", OrderKind::Start).await, Ok(()));
        assert_eq!(sibling.living(), 1);
    });
}

#[test]
fn a_branch_that_fails_too_often_has_the_whole_tree_restarted_and_then_the_process_ended() {
    Universe::run(watchful(), async |universe| {
        let (failing, _) = core(&universe).await;
        failing.always(Birthplace::Fails);
        failing.tell(Trick::Panic);
        let failed = |universe: &Universe| {
            count(
                universe,
                |notice| matches!(notice, Notice::RootFailed { reason } if reason.contains("core/failing")),
            )
        };
        let deadline = tokio::time::Instant::now() + Duration::from_hours(1);
        while failed(&universe) == 0 {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", universe.notices());
            tokio::time::sleep(ms(100)).await;
        }
        // Budget 3 of a branch: each fourth failure within the window goes one further up.
        assert_eq!((escalated(&universe, "core"), escalated(&universe, "/")), (16, 4));
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(failed(&universe), 1, "told once");
    });
}
