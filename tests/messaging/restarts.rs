//! Actors that are restarted by hand while messages flow.

use serde_json::{Value, json};

use crate::{
    account::assert_accounted,
    brokers::{Mosquitto, MqttWatcher},
    harness::{Gateway, Site, until_true},
    plant::{Plant, cloud, is_scan, messaging},
};

const RESTARTS: usize = 3;
const DEVICES: usize = 6;

/// Restarts what is at a path, and waits for the last that comes back.
#[track_caller]
fn restart(gateway: &Gateway, path: &str, last: &str) {
    let before = gateway.actor(last)["since"].clone();
    assert_eq!(gateway.post(&format!("/api/actors/{path}/restart"), &Value::Null).status, 202);
    until_true("another incarnation that runs", || {
        let now = gateway.actor(last);
        now["since"] != before && now["state"] == "running"
    });
}

/// Restarts it a few times; answers how many scans didn't arrive, each of which has to be named.
#[track_caller]
fn missing_after_restarts(path: &str, last: &str) -> u64 {
    let (broker, plant) = (Mosquitto::start(), Plant::new(DEVICES, 20, "50ms"));
    let watcher = MqttWatcher::everything(broker.port);
    let section = json!({"mqtt": cloud(broker.port)});
    let gateway = Site::with(&messaging(&section), &plant.devices()).start();
    for turn in 1..=RESTARTS {
        watcher.await_messages(turn * 150, is_scan);
        restart(&gateway, path, last);
    }
    watcher.await_messages((RESTARTS + 1) * 150, is_scan);
    let missing = assert_accounted(&gateway, &plant, &watcher);
    println!("{path}: {missing} scans in {RESTARTS} restarts");
    missing
}

#[test]
fn a_session_that_is_restarted_by_hand_costs_nothing() {
    assert_eq!(missing_after_restarts("brokers/cloud/session", "brokers/cloud/session"), 0);
}

#[test]
fn what_is_read_while_a_spool_is_restarted_is_little_and_named() {
    let missing = missing_after_restarts("brokers/cloud/spool", "brokers/cloud/spool");
    assert!(missing < (RESTARTS * DEVICES * 20) as u64, "{missing}");
}

#[test]
fn what_is_read_while_a_brokers_branch_is_restarted_is_little_and_named() {
    let missing = missing_after_restarts("brokers/cloud", "brokers/cloud/session");
    assert!(missing < (RESTARTS * DEVICES * 20) as u64, "{missing}");
}

#[test]
fn what_is_read_while_the_router_is_restarted_is_little_and_named() {
    let missing = missing_after_restarts("router", "router");
    assert!(missing < (RESTARTS * DEVICES * 2) as u64, "{missing}");
}
