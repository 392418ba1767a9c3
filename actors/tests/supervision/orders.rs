//! Orders from outside: restart, stop, start, remove; and what the tree shows.

use std::time::Duration;

use bifrost_actors::{
    supervision::{ChildKind, ChildState, OrderKind, Placement, TreeError},
    testing::{Birthplace, Probe, Trick, Universe, until},
};

use crate::{ms, watchful};

async fn branch_of(universe: &Universe, names: &[&str]) -> Vec<Probe> {
    universe.branch("/", "devices").await.unwrap();
    let probes: Vec<_> = names.iter().map(|name| Probe::new(name)).collect();
    for probe in &probes {
        universe.add("devices", probe.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
    }
    probes
}

fn living(probes: &[Probe]) -> Vec<usize> {
    probes.iter().map(Probe::living).collect()
}

#[test]
fn a_leaf_is_restarted_stopped_and_started_and_its_siblings_are_not_touched() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a", "b"]).await;
        assert_eq!(universe.order("devices/a", OrderKind::Restart).await, Ok(()));
        assert_eq!((probes[0].births().len(), living(&probes)), (2, vec![1, 1]));
        assert_eq!(universe.order("devices/a", OrderKind::Stop).await, Ok(()));
        assert_eq!(living(&probes), [0, 1]);
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(universe.state("devices/a").await, Some(ChildState::Stopped));
        assert_eq!(universe.order("devices/a", OrderKind::Start).await, Ok(()));
        assert_eq!(living(&probes), [1, 1]);
        assert_eq!(probes[1].births().len(), 1);
    });
}

#[test]
fn a_branch_is_restarted_stopped_and_started_as_a_whole() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a", "b", "c"]).await;
        assert_eq!(universe.order("devices", OrderKind::Restart).await, Ok(()));
        assert_eq!(probes.iter().map(|probe| probe.births().len()).collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(universe.order("devices", OrderKind::Stop).await, Ok(()));
        assert_eq!(
            (living(&probes), universe.state("devices").await),
            (vec![0; 3], Some(ChildState::Stopped))
        );
        assert_eq!(universe.order("devices", OrderKind::Start).await, Ok(()));
        assert_eq!(
            (living(&probes), universe.state("devices").await),
            (vec![1; 3], Some(ChildState::Running))
        );
    });
}

#[test]
fn orders_that_change_nothing_are_answered() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a"]).await;
        assert_eq!(universe.order("devices/a", OrderKind::Start).await, Ok(()));
        assert_eq!(probes[0].births().len(), 1, "starting what runs doesn't restart it");
        for _ in 0..2 {
            assert_eq!(universe.order("devices/a", OrderKind::Stop).await, Ok(()));
        }
        assert_eq!(universe.order("/", OrderKind::Stop).await, Ok(()));
    });
}

#[test]
fn an_unknown_path_is_an_error_that_names_it() {
    Universe::run(watchful(), async |universe| {
        let unknown = || TreeError::UnknownPath("devices/none".to_owned());
        for kind in [OrderKind::Restart, OrderKind::Stop, OrderKind::Start] {
            assert_eq!(universe.order("devices/none", kind).await, Err(unknown()));
        }
        assert_eq!(universe.remove("devices/none").await, Err(unknown()));
        assert_eq!(universe.node("devices/none").await.err(), Some(unknown()));
        let spec = Probe::new("x").spec(ChildKind::Router, Placement::Home);
        assert_eq!(universe.add("devices/none", spec).await, Err(unknown()));
        assert_eq!(universe.branch("devices/none", "x").await, Err(unknown()));
    });
}

#[test]
fn two_children_of_one_name_are_refused_and_the_first_is_not_touched() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a"]).await;
        let again = universe.add("devices", Probe::new("a").spec(ChildKind::Router, Placement::Home)).await;
        assert_eq!(again, Err(TreeError::Exists("devices/a".to_owned())));
        assert_eq!(living(&probes), [1]);
    });
}

#[test]
fn a_name_with_a_slash_is_one_step_of_a_path() {
    Universe::run(watchful(), async |universe| {
        let probe = Probe::new("/dev/ttyUSB0");
        let path = universe.add("/", probe.spec(ChildKind::PlcLink, Placement::Home)).await.unwrap();
        assert_eq!(path, "%2Fdev%2FttyUSB0");
        assert_eq!(universe.order(&path, OrderKind::Restart).await, Ok(()));
    });
}

#[test]
fn a_child_added_to_a_stopped_branch_waits_until_the_branch_is_started() {
    Universe::run(watchful(), async |universe| {
        let mut probes = branch_of(&universe, &["a"]).await;
        universe.order("devices", OrderKind::Stop).await.unwrap();
        probes.push(Probe::new("b"));
        let added = universe.add("devices", probes[1].spec(ChildKind::PlcConnection, Placement::Home)).await;
        assert_eq!(added.as_deref(), Ok("devices/b"));
        assert_eq!(
            (universe.state("devices/b").await, living(&probes)),
            (Some(ChildState::Stopped), vec![0, 0])
        );
        universe.order("devices", OrderKind::Start).await.unwrap();
        assert_eq!(living(&probes), [1, 1]);
        assert_eq!(universe.node("devices/b").await.unwrap().restarts, 0, "a first start is no restart");
    });
}

#[test]
fn a_child_that_waits_to_be_rebuilt_can_be_stopped_and_does_not_come_back() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a"]).await;
        probes[0].always(Birthplace::Fails);
        probes[0].tell(Trick::Panic);
        universe.until_state("devices/a", ChildState::Backoff).await;
        universe.order("devices/a", OrderKind::Stop).await.unwrap();
        let births = probes[0].births().len();
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!((probes[0].births().len(), living(&probes)), (births, vec![0]));
    });
}

#[test]
fn a_child_that_is_starting_can_be_stopped() {
    Universe::run(watchful(), async |universe| {
        let probe = Probe::new("slow");
        probe.always(Birthplace::Slow(Duration::from_secs(5)));
        universe.begin("/", probe.spec(ChildKind::PlcLink, Placement::Home));
        until("begun", || probe.births().len() == 1).await;
        let asked = tokio::time::Instant::now();
        assert_eq!(universe.order("slow", OrderKind::Stop).await, Ok(()));
        assert!(asked.elapsed() < ms(100), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!((probe.births().len(), probe.living()), (1, 0));
    });
}

#[test]
fn a_child_that_refuses_to_stop_is_dropped_within_its_limit() {
    Universe::run(watchful(), async |universe| {
        let probe = Probe::stubborn("stubborn");
        universe.add("/", probe.spec(ChildKind::PlcLink, Placement::Home)).await.unwrap();
        let asked = tokio::time::Instant::now();
        assert_eq!(universe.order("stubborn", OrderKind::Restart).await, Ok(()));
        assert!((ms(5000)..ms(6100)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
        assert_eq!((probe.births().len(), probe.living()), (2, 1));
        let node = universe.node("stubborn").await.unwrap();
        assert_eq!(node.last_error.as_deref(), Some("didn't stop in time and was dropped"));
        assert_eq!(universe.remove("stubborn").await, Ok(()));
        assert_eq!(probe.living(), 0);
    });
}

#[test]
fn what_is_removed_is_gone_and_its_name_is_free() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a", "b"]).await;
        assert_eq!(universe.remove("devices/a").await, Ok(()));
        assert_eq!((universe.state("devices/a").await, living(&probes)), (None, vec![0, 1]));
        let again = Probe::new("a");
        universe.add("devices", again.spec(ChildKind::PlcConnection, Placement::Home)).await.unwrap();
        assert_eq!(universe.remove("devices").await, Ok(()));
        assert_eq!((universe.state("devices").await, living(&probes), again.living()), (None, vec![0, 0], 0));
        assert_eq!(universe.branch("/", "devices").await.as_deref(), Ok("devices"));
    });
}

#[test]
fn an_order_does_not_bring_back_what_is_being_removed() {
    Universe::run(watchful(), async |universe| {
        let probe = Probe::stubborn("going");
        universe.add("/", probe.spec(ChildKind::PlcLink, Placement::Home)).await.unwrap();
        let (removed, ordered) =
            tokio::join!(universe.remove("going"), universe.order("going", OrderKind::Restart));
        assert_eq!((removed, ordered), (Ok(()), Ok(())));
        assert_eq!((universe.state("going").await, probe.living()), (None, 0));
    });
}

#[test]
fn the_tree_shows_what_each_node_is_doing_and_since_when() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a", "b"]).await;
        let before = universe.node("devices/b").await.unwrap();
        probes[0].always(Birthplace::Fails);
        probes[0].tell(Trick::Fail("no route"));
        until("failed", || probes[0].living() == 0).await;
        universe.until_state("devices/a", ChildState::Backoff).await;
        let tree = universe.node_with_detail("/").await.unwrap();
        assert_eq!((tree.path.as_str(), tree.kind, tree.mailbox), ("/", ChildKind::Branch, None));
        let devices = &tree.children[0];
        let paths: Vec<_> = devices.children.iter().map(|child| child.path.as_str()).collect();
        assert_eq!(paths, ["devices/a", "devices/b"], "in start order");
        let (failed, well) = (&devices.children[0], &devices.children[1]);
        assert_eq!((failed.state, failed.detail.as_ref()), (ChildState::Backoff, None));
        assert!(failed.since >= before.since && failed.last_error.is_some());
        assert_eq!((well.state, well.since, well.restarts), (before.state, before.since, 0));
        assert_eq!(well.detail.as_ref().unwrap()["counted"], 0);
        assert_eq!(serde_json::to_value(failed).unwrap()["state"], "backoff");
    });
}

#[test]
fn an_actor_that_does_not_say_what_it_sees_does_not_hold_up_the_others() {
    Universe::run(watchful(), async |universe| {
        let probes = branch_of(&universe, &["a", "b"]).await;
        probes[0].tell(Trick::Hang);
        let asked = tokio::time::Instant::now();
        let devices = universe.node_with_detail("devices").await.unwrap();
        assert!(asked.elapsed() <= ms(1100), "{:?}", asked.elapsed());
        assert_eq!(
            devices.children.iter().map(|child| child.detail.is_some()).collect::<Vec<_>>(),
            [false, true]
        );
        until("found by the watchdog", || probes[0].births().len() == 2).await;
    });
}
