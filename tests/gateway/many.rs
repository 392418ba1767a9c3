//! Many devices, half of them unreachable: those that are there deliver as if they were alone.

use bifrost_simulator::{Fault, PlcSettings};
use serde_json::{Value, json};

use crate::harness::{Plc, Recorder, Site, assert_no_gap, numbers, until_true};

#[test]
fn of_200_devices_half_unreachable_every_reachable_one_delivers() {
    let plcs: Vec<_> = (0..200).map(|_| Plc::tcp(PlcSettings::default())).collect();
    // Gone, silent, or with a door that opens and nobody behind it, by turns.
    let id = |index: usize| format!("{}-{index}", if index.is_multiple_of(2) { "here" } else { "away" });
    for (index, plc) in plcs.iter().enumerate().filter(|(index, _)| index % 2 == 1) {
        match index % 6 {
            1 => plc.switch_off(),
            3 => plc.set_fault(Some(Fault::Silence)),
            _ => plc.set_fault(Some(Fault::HalfOpen)),
        }
    }
    let device = |(index, plc): (usize, &Plc)| {
        json!({
            "id": id(index), "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "500ms",
            "timeout": "1s", "tags": [{"id": "t", "address": "holding:7"}]
        })
    };
    let devices: Value = plcs.iter().enumerate().map(device).collect();
    let gateway = Site::new(&devices).start();
    let feed = Recorder::start(gateway.feed(json!({"batch": true})));
    let of_here = |frame: &Value| frame["device_id"].as_str().is_some_and(|id| id.starts_with("here"));
    feed.await_frames(100 * 5, of_here);

    let rows = || gateway.json("/api/devices?limit=1000")["devices"].as_array().unwrap().clone();
    until_true("all states are known", || rows().iter().all(|row| row["state"] != "starting"));
    for row in rows() {
        let id = row["id"].as_str().unwrap();
        assert_eq!(row["connected"], id.starts_with("here"), "{row}");
    }
    let heard = feed.so_far();
    for index in (0..200).step_by(2) {
        let numbers = numbers(&heard, &id(index));
        assert!(numbers.len() >= 3, "{}: {numbers:?}", id(index));
        assert_no_gap(&numbers);
        assert_eq!(gateway.stats(&id(index))["scans_failed"], 0, "{}", id(index));
    }
    assert!(gateway.stop().success());
}
