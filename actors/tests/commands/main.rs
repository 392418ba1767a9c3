//! Commands from their givers to scripted devices, and what is remembered of them, under virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod answering;
mod audit;
mod ledger;
mod letters;

use std::{path::Path, time::Duration};

use bifrost_actors::{
    gateway::LimitSettings,
    router::{ListAlarms, ListEvents},
    supervision::SupervisionSettings,
    testing::{FakeDevice, Mode, Plant, Script, Universe, device_settings},
};
use bifrost_model::Event;
use serde_json::Value as Json;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs a test with a plant of its own, and stops it in order at the end.
fn with_plant<F: Future<Output = ()>>(test: impl FnOnce(Plant) -> F) {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), LimitSettings::default(), test);
}

fn run_in<F: Future<Output = ()>>(folder: &Path, limits: LimitSettings, test: impl FnOnce(Plant) -> F) {
    Universe::run(SupervisionSettings::default(), async |universe| {
        let plant = Plant::start(&universe, folder, limits).await;
        test(plant.clone()).await;
        plant.stop().await;
    });
}

/// The same, and everything is let go of at the end, as when the process is killed.
fn crash_in<F: Future<Output = ()>>(folder: &Path, test: impl FnOnce(Plant) -> F) {
    Universe::crash(SupervisionSettings::default(), async |universe| {
        test(Plant::start(&universe, folder, LimitSettings::default()).await).await;
    });
}

/// A device `d` with writable tags `t0` and `t1`.
async fn device(plant: &Plant) -> FakeDevice {
    plant.device(device_settings("d", secs(1), 2), &Script::new(Mode::Answers(1.0))).await
}

/// Events of one type so far, oldest first.
async fn events(plant: &Plant, event_type: &str) -> Vec<Event> {
    let ask = ListEvents { limit: 1000, ..ListEvents::default() };
    let listed = plant.router().list_events.send(ask).await.unwrap();
    let events = listed.iter().rev().map(|numbered| (*numbered.item).clone());
    events.filter(|event| event.event_type == event_type).collect()
}

/// Waits until so many events of one type are recorded.
async fn await_events(plant: &Plant, event_type: &str, count: usize) -> Vec<Event> {
    for _ in 0..1000 {
        let found = events(plant, event_type).await;
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(ms(5)).await;
    }
    let found = events(plant, event_type).await;
    assert!(found.len() >= count, "{count} events {event_type}: {found:?}");
    found
}

/// Ids of the active alarms, in order.
async fn alarms(plant: &Plant) -> Vec<String> {
    let listed = plant.router().list_alarms.send(ListAlarms { active_only: true }).await.unwrap();
    let mut ids: Vec<_> = listed.iter().map(|alarm| alarm.alarm_id.clone()).collect();
    ids.sort_unstable();
    ids
}

/// Waits until exactly these alarms are active.
async fn await_alarms(plant: &Plant, wanted: &[&str]) {
    for _ in 0..10_000 {
        if alarms(plant).await == wanted {
            return;
        }
        tokio::time::sleep(ms(5)).await;
    }
    assert_eq!(alarms(plant).await, wanted);
}

/// What an actor sees of itself.
async fn detail(plant: &Plant, path: &str) -> Json {
    plant.universe.node_with_detail(path).await.unwrap().detail.unwrap()
}
