//! A gateway's start: what is read first is sent too.

use serde_json::json;

use crate::{
    brokers::{Mosquitto, MqttWatcher},
    harness::{Plc, Site},
};

const TOPIC: &str = "bifrost/telemetry/plant-test/plc";

#[test]
fn from_the_first_scan_on_and_over_restarts_no_number_is_missing() {
    let (broker, plc) = (Mosquitto::start(), Plc::counting());
    let watcher = MqttWatcher::everything(broker.port);
    let device = json!({
        "id": "plc", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "20ms",
        "tags": [{"id": "speed", "address": "holding:2"}]
    });
    let sections = json!({"messaging": {"mqtt": {"broker": broker.url(), "qos": 1}}});
    let site = Site::with(&sections, &json!([device]));
    for round in 1..=4 {
        let gateway = site.start();
        watcher.await_messages(round * 50, |heard| heard.topic() == TOPIC);
        assert!(gateway.stop().success());
    }
    let gateway = site.start();
    let last = watcher.count(|heard| heard.topic() == TOPIC);
    watcher.await_messages(last + 50, |heard| heard.topic() == TOPIC);
    assert!(gateway.stop().success());
    let heard = watcher.so_far();
    let scans = heard.iter().filter(|heard| heard.topic() == TOPIC);
    let mut numbers: Vec<_> = scans.map(|heard| heard.json()["seq"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let missing: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(missing.is_empty(), "{missing:?} of {}", numbers.len());
    assert!(watcher.count(|heard| heard.topic().ends_with("/plc/device_connected")) >= 5);
}
