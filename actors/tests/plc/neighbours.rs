//! What one device does to itself, and that the others don't notice.

use bifrost_actors::{
    plc::DeviceState,
    supervision::{ChildState, OrderKind},
    testing::{FakeDevice, Mode, Plant, Script, Watcher, device_settings},
};
use tokio::time::Instant;

use crate::{ms, secs, with_plant};

async fn ten(plant: &Plant) -> (Watcher, Vec<FakeDevice>) {
    let watcher = plant.watch().await;
    let mut devices = Vec::new();
    for n in 0..10 {
        devices.push(plant.counting(&format!("d{n}"), ms(100)).await);
    }
    (watcher, devices)
}

/// Every scan was published: consecutive numbers from 1, each 100 ms after the one before, without drift.
fn check_every_scan(watcher: &Watcher, device: &str, began: Instant) {
    let scans = watcher.scans(device);
    let numbers: Vec<_> = scans.iter().map(|(_, batch)| batch.seq).collect();
    let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{device}");
    assert!(numbers.len() as u64 + 1 >= elapsed / 100, "{device}: {} scans in {elapsed} ms", numbers.len());
    let first = scans[0].0;
    for (n, (at, _)) in (0..).zip(&scans) {
        let due = first + ms(100) * n;
        let off = at.saturating_duration_since(due).max(due.saturating_duration_since(*at));
        assert!(off <= ms(2), "{device}: scan {n} is {off:?} off its time");
    }
}

#[test]
fn a_device_whose_actor_panics_at_every_scan_makes_none_of_its_neighbours_miss_one() {
    with_plant(async |plant| {
        let began = Instant::now();
        let (watcher, devices) = ten(&plant).await;
        devices[3].script.mode(Mode::Panics);
        tokio::time::sleep(secs(600)).await;
        let broken = plant.universe.node("devices/d3").await.unwrap();
        assert!(broken.restarts > 50, "it is tried again and again: {}", broken.restarts);
        assert_eq!(broken.last_error.as_deref(), Some("panicked: scripted panic in a scan"));
        for device in devices.iter().filter(|device| device.path != "devices/d3") {
            check_every_scan(&watcher, device.tags.device_id(), began);
        }
        devices[3].script.mode(Mode::Counts);
        plant.universe.until_state("devices/d3", ChildState::Running).await;
        let before = watcher.numbers("d3").len();
        tokio::time::sleep(secs(1)).await;
        assert!(watcher.numbers("d3").len() >= before + 9);
        devices[3].script.mode(Mode::Counts);
    });
}

#[test]
fn a_device_that_never_answers_its_scan_delays_nobody_and_is_called_offline() {
    with_plant(async |plant| {
        let began = Instant::now();
        let (watcher, devices) = ten(&plant).await;
        tokio::time::sleep(secs(1)).await;
        devices[7].script.scan_takes(secs(3600));
        tokio::time::sleep(secs(60)).await;
        let stuck = devices[7].observe().await.unwrap();
        assert!(stuck.stats.overruns > 500, "{:?}", stuck.stats);
        assert_eq!((stuck.status.state, stuck.status.connected), (DeviceState::Offline, false));
        for device in devices.iter().filter(|device| device.path != "devices/d7") {
            check_every_scan(&watcher, device.tags.device_id(), began);
        }
    });
}

#[test]
fn stopping_and_starting_one_device_touches_no_other() {
    with_plant(async |plant| {
        let began = Instant::now();
        let (watcher, devices) = ten(&plant).await;
        tokio::time::sleep(secs(1)).await;
        plant.universe.order("devices/d0", OrderKind::Stop).await.unwrap();
        let stopped = devices[0].script.scans().len();
        tokio::time::sleep(secs(10)).await;
        assert_eq!(devices[0].script.scans().len(), stopped, "a stopped device isn't asked");
        let status = watcher.statuses().into_iter().rfind(|status| &*status.device_id == "d0").unwrap();
        assert!(!status.connected);
        plant.universe.order("devices/d0", OrderKind::Start).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert!(devices[0].script.scans().len() > stopped);
        for device in &devices[1..] {
            check_every_scan(&watcher, device.tags.device_id(), began);
        }
    });
}

#[test]
fn a_flood_of_scans_of_one_device_is_counted_at_the_routers_bound() {
    let limits = bifrost_actors::gateway::LimitSettings { router_mailbox: 100, ..Default::default() };
    let folder = tempfile::tempdir().unwrap();
    crate::run_in(folder.path(), limits, async |plant| {
        let device = plant.device(device_settings("quiet", secs(3600), 1), &Script::new(Mode::Counts)).await;
        let batch = |seq| bifrost_model::TagBatch {
            device: std::sync::Arc::clone(&device.tags),
            seq,
            timestamp: bifrost_model::Timestamp::now(),
            readings: Vec::new(),
        };
        let taken = (0..10_000).filter(|seq| plant.publish(batch(*seq))).count();
        let router = plant.universe.node("router").await.unwrap();
        assert_eq!(taken as u64 + router.mailbox.unwrap().dropped, 10_000);
        assert!(taken <= 101, "{taken} scans wait in a mailbox for 100");
        assert_eq!((router.state, router.restarts), (ChildState::Running, 0));
    });
}
