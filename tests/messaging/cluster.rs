//! A cluster of NATS servers that loses the one that leads the stream.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    brokers::{NatsCluster, Version, read_stream},
    harness::{Site, until_true},
    plant::{Plant, arrived, await_all, await_empty, await_spool, messaging, stored_scans},
};

const STREAM: &str = "BIFROST_plant-test";

#[test]
fn a_stream_that_loses_its_leader_under_load_holds_every_scan_once() {
    let (mut cluster, plant) = (NatsCluster::start(Version::New), Plant::new(10, 50, "100ms"));
    let section = json!({"nats": {
        "name": "plant", "servers": cluster.urls(), "ack_timeout": "2s",
        "jetstream": {"enabled": true, "replicas": 3}
    }});
    let gateway = Site::with(&messaging(&section), &plant.devices()).start();
    await_spool(&gateway, "messages that flow", |spool| {
        spool["state"] == "live" && spool["connected"] == true
    });
    let goes_on = |scans: u64| {
        let before = plant.last_numbers(&gateway);
        until_true("more scans", || {
            plant.last_numbers(&gateway).iter().all(|(id, last)| *last >= before[id] + scans)
        });
    };
    goes_on(20);

    let leader = cluster.leader(STREAM);
    let led = leader.name.clone();
    leader.kill();
    goes_on(50);
    assert_ne!(cluster.leader(STREAM).name, led);
    await_spool(&gateway, "messages that flow again", |spool| spool["state"] == "live");
    let last = plant.silence(&gateway);
    assert_eq!(await_empty(&gateway)["dropped"]["messages"], 0);
    let stored = await_all(&last, || stored_scans(&read_stream(&cluster.jetstream(), STREAM)));
    let once: usize = arrived(&stored).values().map(BTreeSet::len).sum();
    assert_eq!(stored.len(), once, "the stream holds a scan twice");
}
