//! Sequence numbers: one per published scan, never twice, whatever is rebuilt, stopped or killed.

use std::{collections::BTreeSet, sync::Arc};

use bifrost_actors::{
    gateway::LimitSettings,
    supervision::{ChildState, OrderKind, SupervisionSettings},
    testing::{Mode, Plant, Script, Universe, Watcher, device_settings, until},
};
use bifrost_model::Event;
use proptest::prelude::*;

use crate::{crash_in, ms, run_in, secs, with_plant};

fn blocks_of(sequence_block: u64) -> LimitSettings {
    LimitSettings { sequence_block, ..LimitSettings::default() }
}

fn consecutive(numbers: &[u64]) -> bool {
    !numbers.is_empty() && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

fn skipped(watcher: &Watcher) -> Vec<(u64, u64, bool)> {
    let events = watcher.events();
    let skipped = events.iter().filter(|event| event.event_type == "seq_skipped");
    skipped.map(range).collect()
}

fn range(event: &Arc<Event>) -> (u64, u64, bool) {
    let number = |key: &str| event.data[key].as_u64().unwrap();
    (number("from"), number("to"), event.data["exact"].as_bool().unwrap())
}

#[test]
fn a_rebuilt_device_goes_on_without_a_gap() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let device = plant.counting("d", ms(100)).await;
        for _ in 0..5 {
            tokio::time::sleep(secs(1)).await;
            device.script.mode(Mode::Panics);
            until("it panicked", || device.ports().is_none()).await;
            device.script.mode(Mode::Counts);
            plant.universe.until_state("devices/d", ChildState::Running).await;
            plant.universe.order("devices/d", OrderKind::Restart).await.unwrap();
        }
        tokio::time::sleep(secs(1)).await;
        let numbers = watcher.numbers("d");
        assert!(numbers.len() > 50 && numbers[0] == 1 && consecutive(&numbers), "{numbers:?}");
        assert_eq!(skipped(&watcher), []);
    });
}

#[test]
fn after_a_clean_stop_counting_goes_on_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for _ in 0..3 {
        run_in(folder.path(), blocks_of(1000), async |plant| {
            let watcher = plant.watch().await;
            plant.counting("d", ms(100)).await;
            tokio::time::sleep(secs(3)).await;
            assert_eq!(skipped(&watcher), []);
            plant.universe.order("devices", OrderKind::Stop).await.unwrap();
            tokio::time::sleep(ms(10)).await;
            all.extend(watcher.numbers("d"));
        });
    }
    assert!(all.len() > 80 && all[0] == 1 && consecutive(&all), "{all:?}");
}

#[test]
fn after_a_crash_counting_goes_on_at_the_next_block_and_what_was_never_used_is_named_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let mut used = Vec::new();
    let mut named = Vec::new();
    for _ in 0..4 {
        crash_in(folder.path(), blocks_of(1000), async |plant| {
            let watcher = plant.watch().await;
            plant.counting("d", ms(100)).await;
            tokio::time::sleep(secs(3)).await;
            used.extend(watcher.numbers("d"));
            named.extend(skipped(&watcher));
        });
    }
    let distinct: BTreeSet<_> = used.iter().copied().collect();
    assert_eq!(distinct.len(), used.len(), "a number was used twice");
    let jumps: Vec<_> =
        used.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|p| (p[0] + 1, p[1] - 1, true)).collect();
    assert_eq!(jumps.len(), 3);
    assert_eq!(named, jumps, "every loss is named, and nothing else");
}

#[test]
fn a_store_that_is_rebuilt_while_devices_count_on_gives_no_number_twice() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let device = plant.counting("d", ms(10)).await;
        for _ in 0..4 {
            tokio::time::sleep(secs(1)).await;
            plant.universe.order("sequence", OrderKind::Restart).await.unwrap();
            tokio::time::sleep(secs(1)).await;
            device.script.mode(Mode::Panics);
            until("it panicked", || device.ports().is_none()).await;
            device.script.mode(Mode::Counts);
            plant.universe.until_state("devices/d", ChildState::Running).await;
        }
        tokio::time::sleep(secs(1)).await;
        let numbers = watcher.numbers("d");
        assert!(numbers[0] == 1 && consecutive(&numbers), "{numbers:?}");
        assert_eq!(skipped(&watcher), []);
    });
}

#[test]
fn a_store_restarted_before_a_crash_leads_to_no_number_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut used = Vec::new();
    for _ in 0..2 {
        crash_in(folder.path(), blocks_of(1000), async |plant| {
            let watcher = plant.watch().await;
            plant.counting("d", ms(100)).await;
            tokio::time::sleep(secs(3)).await;
            plant.universe.order("sequence", OrderKind::Restart).await.unwrap();
            tokio::time::sleep(secs(3)).await;
            used.extend(watcher.numbers("d"));
        });
    }
    let distinct: BTreeSet<_> = used.iter().copied().collect();
    assert_eq!(distinct.len(), used.len(), "a number was used twice: {used:?}");
}

#[test]
fn blocks_are_extended_before_they_are_used_up_and_no_scan_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), blocks_of(100), async |plant| {
        let watcher = plant.watch().await;
        for n in 0..20 {
            plant.counting(&format!("d{n}"), ms(10)).await;
        }
        tokio::time::sleep(secs(15)).await;
        for n in 0..20 {
            let numbers = watcher.numbers(&format!("d{n}"));
            assert!(
                numbers.len() > 1400 && numbers[0] == 1 && consecutive(&numbers),
                "d{n}: {}",
                numbers.len()
            );
        }
    });
}

#[test]
fn many_devices_that_start_together_are_reserved_in_few_writes() {
    with_plant(async |plant| {
        let began = std::time::Instant::now();
        let devices = (0..300).map(|n| {
            let plant = plant.clone();
            async move { plant.counting(&format!("d{n}"), secs(1)).await }
        });
        futures_util::future::join_all(devices).await;
        let detail = plant.universe.node_with_detail("sequence").await.unwrap().detail.unwrap();
        assert_eq!((detail["devices"].as_u64(), detail["open"].as_u64()), (Some(300), Some(300)));
        let writes = detail["writes"].as_u64().unwrap();
        assert!(writes <= 100, "{writes} writes for 300 devices, {:?}", began.elapsed());
    });
}

#[test]
fn a_device_waits_for_the_store_and_counts_when_it_is_there() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        plant.universe.order("sequence", OrderKind::Stop).await.unwrap();
        let device = plant.counting("d", ms(100)).await;
        let node = plant.universe.node("devices/d").await.unwrap();
        assert_eq!(node.last_error.as_deref(), Some("the sequence store isn't there yet"));
        tokio::time::sleep(secs(1)).await;
        assert!(device.script.scans().is_empty() && watcher.numbers("d").is_empty());
        plant.universe.order("sequence", OrderKind::Start).await.unwrap();
        plant.universe.until_state("devices/d", ChildState::Running).await;
        tokio::time::sleep(secs(10)).await;
        let numbers = watcher.numbers("d");
        assert!(numbers.len() > 50 && numbers[0] == 1 && consecutive(&numbers), "{numbers:?}");
    });
}

#[test]
fn a_damaged_file_is_told_and_no_number_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut used = Vec::new();
    for round in 0..2 {
        run_in(folder.path(), blocks_of(1000), async |plant| {
            let watcher = plant.watch().await;
            plant.counting("d", ms(100)).await;
            tokio::time::sleep(secs(3)).await;
            used.push(watcher.numbers("d"));
            let damaged = watcher.events().iter().any(|event| event.event_type == "sequence_file_damaged");
            let listed = plant
                .router()
                .list_events
                .send(bifrost_actors::router::ListEvents { limit: 100, ..Default::default() });
            let listed = listed.await.unwrap();
            let listed = listed.iter().any(|event| event.item.event_type == "sequence_file_damaged");
            assert_eq!(damaged || listed, round == 1);
        });
        let file = folder.path().join("sequence");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[256] ^= 0xFF;
        std::fs::write(&file, bytes).unwrap();
    }
    assert!(used[1][0] > *used[0].last().unwrap() && consecutive(&used[1]));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Device(OrderKind),
    Store(OrderKind),
    Panic,
}

fn step() -> impl Strategy<Value = Step> {
    let order = || prop_oneof![Just(OrderKind::Restart), Just(OrderKind::Stop), Just(OrderKind::Start)];
    prop_oneof![
        (0..3000_u64).prop_map(Step::Wait),
        order().prop_map(Step::Device),
        order().prop_map(Step::Store),
        Just(Step::Panic),
    ]
}

async fn live(plant: &Plant, steps: &[Step]) -> Vec<u64> {
    let watcher = plant.watch().await;
    let script = Script::new(Mode::Counts);
    let _device = plant.device(device_settings("d", ms(20), 1), &script).await;
    for step in steps {
        match *step {
            Step::Wait(time) => tokio::time::sleep(ms(time)).await,
            Step::Device(kind) => plant.universe.order("devices/d", kind).await.unwrap(),
            Step::Store(kind) => plant.universe.order("sequence", kind).await.unwrap(),
            Step::Panic => {
                script.mode(Mode::Panics);
                tokio::time::sleep(ms(50)).await;
                script.mode(Mode::Counts);
            }
        }
    }
    watcher.numbers("d")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_number_ever_repeats(lives in prop::collection::vec((any::<bool>(), prop::collection::vec(step(), 0..12)), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        let mut used = Vec::new();
        for (clean, steps) in lives {
            let test = async |universe: Universe| {
                let plant = Plant::start(&universe, folder.path(), blocks_of(100)).await;
                used.extend(live(&plant, &steps).await);
                if clean {
                    plant.stop().await;
                }
            };
            if clean {
                Universe::run(SupervisionSettings::default(), test);
            } else {
                Universe::crash(SupervisionSettings::default(), test);
            }
        }
        prop_assert!(used.windows(2).all(|pair| pair[0] < pair[1]), "{used:?}");
    }
}
