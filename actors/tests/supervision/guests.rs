//! Actors that end with their client: seen and stopped, never rebuilt.

use std::{sync::Arc, time::Duration};

use bifrost_actors::{
    supervision::{Adopt, ChildKind, ChildState, Notice, OrderKind, TreeError},
    testing::{Probe, Trick, Universe, until},
};

use crate::watchful;

async fn guest(universe: &Universe) -> Probe {
    universe.branch("/", "clients").await.unwrap();
    let probe = Probe::new("1");
    announce(&probe).run(universe.tree(), |exit| probe.child(exit)).await.unwrap();
    assert_eq!(universe.state("clients/1").await, Some(ChildState::Running));
    probe
}

fn announce(probe: &Probe) -> Adopt {
    Adopt::new("clients", "1", ChildKind::WebsocketClient, Arc::clone(probe.mailbox()))
}

#[test]
fn a_guest_disappears_when_it_ends() {
    Universe::run(watchful(), async |universe| {
        let probe = guest(&universe).await;
        probe.tell(Trick::Stop);
        until("ended", || probe.living() == 0).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!((universe.state("clients/1").await, probe.living()), (None, 0));
        assert!(universe.notices().is_empty(), "{:?}", universe.notices());
    });
}

#[test]
fn a_guest_that_panics_or_hangs_disappears_and_nobody_else() {
    Universe::run(watchful(), async |universe| {
        let probe = guest(&universe).await;
        probe.tell(Trick::Panic);
        until("ended", || probe.living() == 0).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(universe.state("clients/1").await, None);
        assert!(matches!(&universe.notices()[..], [Notice::Failed { defect: true, .. }]));
        announce(&probe).run(universe.tree(), |exit| probe.child(exit)).await.unwrap();
        probe.tell(Trick::Hang);
        until("found by the watchdog", || probe.living() == 0).await;
        assert_eq!(universe.state("clients/1").await, None);
        assert_eq!(universe.state("clients").await, Some(ChildState::Running));
    });
}

#[test]
fn a_guest_can_be_stopped_and_not_restarted() {
    Universe::run(watchful(), async |universe| {
        let probe = guest(&universe).await;
        for (kind, verb) in [(OrderKind::Restart, "restarted"), (OrderKind::Start, "started")] {
            let refused = universe.order("clients/1", kind).await;
            assert_eq!(refused, Err(TreeError::Guest("clients/1".to_owned(), verb)));
        }
        assert_eq!(
            universe.order("clients", OrderKind::Restart).await,
            Ok(()),
            "a branch leaves its guests be"
        );
        assert_eq!(probe.living(), 1);
        assert_eq!(universe.order("clients/1", OrderKind::Stop).await, Ok(()));
        assert_eq!((universe.state("clients/1").await, probe.living()), (None, 0));
    });
}

#[test]
fn a_guest_whose_client_went_before_it_ran_is_forgotten() {
    Universe::run(watchful(), async |universe| {
        universe.branch("/", "clients").await.unwrap();
        let announced = universe.tree().send(announce(&Probe::new("1"))).await.unwrap();
        assert!(announced.is_ok());
        assert!(universe.state("clients/1").await.is_some());
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(universe.state("clients/1").await, None);
    });
}
