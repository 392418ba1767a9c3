//! A broker that is away for a minute while ten thousand values a second are read.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    brokers::{Mosquitto, MqttWatcher, NatsServer, Network, TcpProxy, Version, read_stream},
    harness::{Gateway, Site},
    plant::{
        Numbers, Plant, Scan, await_all, await_empty, await_spool, cloud, is_scan, messaging, scans,
        stored_scans,
    },
};

/// How long the broker is away.
const OUTAGE: Duration = Duration::from_mins(1);
/// Values per second from disk: slowly enough that live messages are seen to go first.
const REPLAY_RATE: usize = 50_000;

/// Ten devices of a hundred tags each, ten times a second.
fn plant() -> Plant {
    Plant::new(10, 100, "100ms")
}

/// Waits until the outage is over; what the spool tells meanwhile must be right.
#[track_caller]
fn sit_out(gateway: &Gateway, plant: &Plant, began: Instant) {
    let early =
        await_spool(gateway, "a spool on disk", |spool| spool["depth"]["disk_messages"].as_u64() > Some(50));
    assert_eq!(
        (&early["connected"], &early["replay"]["active"]),
        (&json!(false), &json!(false)),
        "{early:#}"
    );
    thread::sleep(OUTAGE.saturating_sub(began.elapsed()));
    let before = plant.last_numbers(gateway);
    let late = crate::plant::spool(gateway);
    let grew = |key: &str| late["depth"][key].as_u64() > early["depth"][key].as_u64();
    assert!(["disk_messages", "disk_values", "disk_bytes"].into_iter().all(grew), "{early:#} {late:#}");
    assert_eq!((&late["state"], &late["oldest"]), (&json!("spooling"), &early["oldest"]), "{late:#}");
    assert_eq!((&late["dropped"]["messages"], &late["disk_error"]), (&json!(0), &Value::Null), "{late:#}");
    let waits = late["depth"]["disk_messages"].as_u64().unwrap();
    assert!(
        waits > 4000,
        "{waits} messages of an outage of {OUTAGE:?}: this machine is too slow for the test"
    );
    for (id, last) in before {
        let ranges = late["pending"].as_array().unwrap().iter().filter(|range| range["device_id"] == *id);
        let (from, to): (Vec<_>, Vec<_>) =
            ranges.map(|range| (range["from"].as_u64().unwrap(), range["to"].as_u64().unwrap())).unzip();
        // What is at the spool's door isn't named yet.
        assert!(
            to.iter().any(|to| to + 20 >= last) && from.iter().any(|from| from + 400 < last),
            "{id} {last}: {late:#}"
        );
    }
}

/// Of each device, what is late is in its order; and there is some.
#[track_caller]
fn assert_late_in_order(scans: &[Scan], plant: &Plant) {
    let mut last = Numbers::new();
    for scan in scans.iter().filter(|scan| scan.is_historical) {
        let before = last.insert(scan.device_id.clone(), scan.seq);
        assert!(before < Some(scan.seq), "{scan:?} came behind {before:?}");
    }
    assert_eq!(last.len(), plant.ids().len(), "{last:?}");
}

#[test]
fn after_a_minute_without_mosquitto_every_scan_arrives_live_ones_first() {
    let mut broker = Mosquitto::start();
    let proxy = TcpProxy::to(broker.port);
    let watcher = MqttWatcher::everything(broker.port);
    let plant = plant();
    let mut section = json!({"mqtt": cloud(proxy.port)});
    section["spool"] = json!({"replay_rate": REPLAY_RATE});
    let gateway = Site::with(&messaging(&section), &plant.devices()).start();
    watcher.await_messages(300, is_scan);

    broker.kill();
    sit_out(&gateway, &plant, Instant::now());
    // The subscriber is back before the gateway: nobody keeps for it what it misses.
    proxy.set(Network::Refusing);
    broker.restart();
    watcher.await_connections(2);
    let returned = plant.last_numbers(&gateway);
    let heard = scans(&watcher).len();
    proxy.set(Network::Passing);

    await_spool(&gateway, "a replay", |spool| spool["replay"]["active"] == true);
    await_spool(&gateway, "live again", |spool| spool["state"] == "live");
    let last = plant.silence(&gateway);
    await_all(&last, || scans(&watcher));
    let empty = await_empty(&gateway);
    assert_eq!((&empty["oldest"], &empty["pending"]), (&Value::Null, &json!([])), "{empty:#}");
    let scans = scans(&watcher);
    assert!(scans[..heard].iter().all(|scan| !scan.is_historical));
    assert_late_in_order(&scans, &plant);
    assert_live_first(&scans[heard..], &returned);
    assert!(gateway.stop().success());
}

/// While most of what waited was still to come, every device's current scans came.
#[track_caller]
fn assert_live_first(scans: &[Scan], returned: &Numbers) {
    let late = scans.iter().filter(|scan| scan.is_historical).count();
    let mut seen = 0;
    let mut first = BTreeMap::new();
    for scan in scans {
        if scan.is_historical {
            seen += 1;
        } else if scan.seq > returned[&scan.device_id] {
            first.entry(scan.device_id.clone()).or_insert(seen);
        }
    }
    assert!(late > 4000 && first.len() == returned.len(), "{late}, {first:?}");
    assert!(
        first.values().all(|seen| seen * 2 < late),
        "of {late} late scans came before the first live one: {first:?}"
    );
}

#[test]
fn after_a_minute_without_nats_the_stream_holds_every_scan_once() {
    let mut server = NatsServer::start(Version::New);
    let plant = plant();
    let mut section =
        json!({"nats": {"name": "plant", "servers": [server.url()], "jetstream": {"enabled": true}}});
    section["spool"] = json!({"replay_rate": REPLAY_RATE});
    let gateway = Site::with(&messaging(&section), &plant.devices()).start();
    crate::harness::until_true("scans in the stream", || {
        gateway.json("/api/spool")["spools"][0]["connected"] == true
            && plant.last_numbers(&gateway).values().all(|last| *last > 30)
    });

    server.kill();
    sit_out(&gateway, &plant, Instant::now());
    server.restart();
    await_spool(&gateway, "live again", |spool| spool["state"] == "live");
    let last = plant.silence(&gateway);
    await_empty(&gateway);
    let stored = || stored_scans(&read_stream(&server.jetstream(), "BIFROST_plant-test"));
    let mut scans = await_all(&last, stored);
    assert_late_in_order(&scans, &plant);
    let count = scans.len();
    scans.sort_by(|a, b| (&a.device_id, a.seq).cmp(&(&b.device_id, b.seq)));
    scans.dedup_by(|a, b| (&a.device_id, a.seq) == (&b.device_id, b.seq));
    assert_eq!(scans.len(), count, "the stream holds a scan twice");
    assert!(gateway.stop().success());
}
