//! Whatever happens to a tree in whatever order: every node can be brought back to running.

use std::time::Duration;

use bifrost_actors::{
    supervision::{ChildKind, ChildState, OrderKind, Placement},
    testing::{Birthplace, Probe, Trick, Universe},
};
use proptest::prelude::*;

use crate::{ms, watchful};

#[derive(Debug, Clone)]
enum Step {
    Tell(usize, Trick),
    Births(usize, Vec<Birthplace>),
    Order(usize, OrderKind),
    Wait(u64),
}

const PATHS: [&str; 4] = ["/", "branch", "branch/0", "branch/1"];

fn step() -> impl Strategy<Value = Step> {
    let trick = prop_oneof![
        Just(Trick::Panic),
        Just(Trick::Stop),
        Just(Trick::Hang),
        Just(Trick::Fail("scripted end")),
        Just(Trick::Count),
    ];
    let birth = prop_oneof![
        Just(Birthplace::Fails),
        Just(Birthplace::Panics),
        Just(Birthplace::Slow(ms(3000))),
        Just(Birthplace::Slow(Duration::from_mins(2))),
    ];
    let order = prop_oneof![Just(OrderKind::Restart), Just(OrderKind::Stop), Just(OrderKind::Start)];
    prop_oneof![
        (0..2_usize, trick).prop_map(|(probe, trick)| Step::Tell(probe, trick)),
        (0..2_usize, prop::collection::vec(birth, 1..6))
            .prop_map(|(probe, births)| Step::Births(probe, births)),
        (0..PATHS.len(), order).prop_map(|(path, order)| Step::Order(path, order)),
        (0..20_000_u64).prop_map(Step::Wait),
    ]
}

async fn live(universe: &Universe, steps: Vec<Step>) {
    universe.branch("/", "branch").await.unwrap();
    // One that refuses to stop, so that ends are forced too.
    let probes = [Probe::new("0"), Probe::stubborn("1")];
    for (probe, kind) in probes.iter().zip([ChildKind::PlcConnection, ChildKind::Router]) {
        universe.add("branch", probe.spec(kind, Placement::Home)).await.unwrap();
    }
    for step in steps {
        match step {
            Step::Tell(probe, trick) => probes[probe].tell(trick),
            Step::Births(probe, births) => probes[probe].next_births(births),
            Step::Order(path, kind) => {
                let order = universe.order(PATHS[path], kind);
                // Nobody has to wait for an order to be carried out before giving the next.
                let _ = tokio::time::timeout(ms(10), order).await;
            }
            Step::Wait(time) => tokio::time::sleep(ms(time)).await,
        }
        assert!(probes.iter().all(|probe| probe.living() <= 2), "an incarnation and its predecessor at most");
    }
    for probe in &probes {
        probe.forget_births();
    }
    let ordered = tokio::time::timeout(Duration::from_mins(5), universe.order("/", OrderKind::Start)).await;
    assert_eq!(ordered, Ok(Ok(())), "an order is always answered");
    for path in PATHS {
        universe.until_state(path, ChildState::Running).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    for (probe, path) in probes.iter().zip(&PATHS[2..]) {
        assert_eq!((probe.living(), universe.state(path).await), (1, Some(ChildState::Running)));
    }
    universe.remove("branch/1").await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_and_no_end_leaves_a_node_without_a_way_back(steps in prop::collection::vec(step(), 0..25)) {
        let mut settings = watchful();
        // Beyond the root's budget the process ends; that has a test of its own.
        settings.branch.budget = 1000;
        Universe::run(settings, async |universe| live(&universe, steps).await);
    }
}
