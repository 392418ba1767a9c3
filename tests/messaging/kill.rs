//! Gateways that are killed again and again: what was committed arrives, and what didn't arrive has a name.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    brokers::{Mosquitto, MqttWatcher},
    harness::{Gateway, Site, until_true},
    plant::{Numbers, Plant, arrived, await_empty, cloud, holes, is_scan, messaging, scans},
};

const KILLS: usize = 20;
/// The smallest that there may be.
const SEQUENCE_BLOCK: u64 = 100;
/// How much of what was read may be under way to the disk when the process is killed: scans wait for the
/// commit before theirs, and this machine's disk is shared.
const COMMIT: u64 = 1000;
/// Of telemetry that nobody acknowledges: `stall_after`, the spool's look at it, and a commit.
const STALL: u64 = 500;
const LOOK: u64 = 250;
const POLL: u64 = 100;

/// Ranges of numbers that events say were never used, by device.
type Skips = BTreeMap<String, Vec<(u64, u64)>>;

struct Course {
    site: Arc<Site>,
    plant: Plant,
    rng: StdRng,
    skips: Skips,
}

impl Course {
    fn new(port: u16) -> Self {
        let seed = rand::random();
        println!("seed {seed}");
        let plant = Plant::new(6, 50, "100ms");
        let mut sections = messaging(&json!({
            "mqtt": cloud(port), "spool": {"stall_after": format!("{STALL}ms")}
        }));
        sections["limits"] = json!({"sequence_block": SEQUENCE_BLOCK});
        let site = Site::with(&sections, &plant.devices());
        Self { site, plant, rng: StdRng::seed_from_u64(seed), skips: Skips::new() }
    }

    /// Starts the gateway, and takes down what it says was skipped.
    fn start(&mut self) -> Gateway {
        let gateway = self.site.start();
        let events = gateway.json("/api/events?limit=1000");
        for event in events["events"].as_array().unwrap() {
            if event["event_type"] == "seq_skipped" {
                note(&mut self.skips, event);
            }
        }
        gateway
    }

    fn live_and_die(&mut self) {
        let mut gateway = self.start();
        let until = Instant::now() + Duration::from_millis(self.rng.random_range(0..1500));
        thread::sleep(until.saturating_duration_since(Instant::now()));
        gateway.process.kill();
    }

    /// The end: everything is read out and delivered.
    fn finish(&mut self, watcher: &MqttWatcher) -> Numbers {
        let gateway = self.start();
        let begun = self.plant.last_numbers(&gateway);
        until_true("scans after the last start", || {
            let now = self.plant.last_numbers(&gateway);
            now.iter().all(|(id, last)| *last > begun[id] + 5)
        });
        let last = self.plant.silence(&gateway);
        await_empty(&gateway);
        until_true("the last scans", || {
            let arrived = arrived(&scans(watcher));
            last.iter().all(|(id, last)| arrived[id].contains(last))
        });
        assert!(gateway.stop().success());
        last
    }
}

fn note(skips: &mut Skips, event: &Value) {
    let number = |key: &str| event["data"][key].as_u64().unwrap();
    skips
        .entry(event["device_id"].as_str().unwrap().to_owned())
        .or_default()
        .push((number("from"), number("to")));
}

/// What subscribers were told was skipped.
fn told(watcher: &MqttWatcher) -> Skips {
    let mut skips = Skips::new();
    for heard in watcher.so_far() {
        if heard.topic().ends_with("/seq_skipped") {
            note(&mut skips, &heard.json());
        }
    }
    skips
}

/// Whatever neither arrived nor was skipped is the end of a life that was cut off, and short.
#[track_caller]
fn assert_only_short_tails(course: &Course, watcher: &MqttWatcher, last: &Numbers, telemetry_ms: u64) {
    let (mut arrived, told) = (arrived(&scans(watcher)), told(watcher));
    let mut missing = Numbers::new();
    for (id, last) in last {
        let skips = course.skips.get(id).cloned().unwrap_or_default();
        let there = arrived.remove(id).unwrap_or_default();
        let window = if id.starts_with("telemetry") { telemetry_ms } else { COMMIT };
        let named = skips.iter().flat_map(|(from, to)| *from..=*to);
        for (from, to) in holes(&there.iter().copied().chain(named).collect(), *last) {
            assert!(
                skips.iter().any(|skip| skip.0 == to + 1),
                "{id}: {from}..={to} was lost amidst: {skips:?}"
            );
            assert!(
                (to - from) * POLL < window,
                "{id}: {from}..={to} was lost, {window} ms could be under way"
            );
            *missing.entry(id.clone()).or_default() += to + 1 - from;
        }
        assert!(
            skips.iter().all(|(from, to)| there.range(from..=to).next().is_none()),
            "{id}: used and skipped"
        );
        assert_told(id, &skips, told.get(id).map_or(&[], Vec::as_slice), &there);
    }
    println!("lost in {KILLS} kills: {missing:?} of {last:?}");
}

/// An event is on disk before the scans behind it: who got one of those, was told.
#[track_caller]
fn assert_told(
    id: &str,
    skips: &[(u64, u64)],
    told: &[(u64, u64)],
    arrived: &std::collections::BTreeSet<u64>,
) {
    assert!(told.iter().all(|skip| skips.contains(skip)), "{id}: {told:?} but {skips:?}");
    if id.starts_with("telemetry") {
        return;
    }
    for skip in skips.iter().filter(|skip| !told.contains(skip)) {
        let end = skips.iter().map(|next| next.0).filter(|from| *from > skip.1).min().unwrap_or(u64::MAX);
        let behind = arrived.range(skip.1..end).next();
        assert_eq!(behind, None, "{id}: nobody was told of {skip:?}, and what came behind it arrived");
    }
}

#[test]
fn twenty_kills_with_a_broker_lose_no_more_than_what_was_under_way() {
    let broker = Mosquitto::start();
    let watcher = MqttWatcher::everything(broker.port);
    let mut course = Course::new(broker.port);
    for _ in 0..KILLS {
        course.live_and_die();
    }
    let last = course.finish(&watcher);
    // Acknowledged in milliseconds: in flight is at most what a commit may take.
    assert_only_short_tails(&course, &watcher, &last, COMMIT);
}

#[test]
fn twenty_kills_without_a_broker_lose_no_more_than_what_was_not_committed() {
    let mut broker = Mosquitto::start();
    let watcher = MqttWatcher::everything(broker.port);
    broker.kill();
    let mut course = Course::new(broker.port);
    for _ in 0..KILLS {
        course.live_and_die();
    }
    broker.restart();
    watcher.await_connections(2);
    let last = course.finish(&watcher);
    assert!(watcher.count(|heard| is_scan(heard) && heard.json()["is_historical"] == true) > 100);
    assert_only_short_tails(&course, &watcher, &last, STALL + LOOK + COMMIT);
}
