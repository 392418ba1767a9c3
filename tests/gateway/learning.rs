//! Devices that refuse part of what they are asked: everything else is read, and what was learned is shown.

use bifrost_simulator::{AddressRange, Hole, PlcSettings, Table};
use serde_json::{Value, json};

use crate::harness::{Gateway, Libmodbus, Plc, Site, until, until_true};

fn tags(first: u16, count: u16) -> Value {
    (first..first + count)
        .map(|at| json!({"id": at.to_string(), "address": format!("holding:{at}")}))
        .collect()
}

fn device(address: &str, tags: &Value) -> Value {
    json!({
        "id": "plc", "protocol": "modbus-tcp", "address": address, "poll_interval": "100ms", "tags": tags,
        "hole_retry": "10m"
    })
}

/// Waits until exactly these tags are BAD and refused, and the others GOOD with their values.
#[track_caller]
fn await_only_refused(gateway: &Gateway, refused: &[u16], value: impl Fn(u16) -> u16) {
    until_true("all but the holes GOOD", || {
        gateway.tags("plc").values().all(|tag| {
            let at: u16 = tag["id"].as_str().unwrap().parse().unwrap();
            if refused.contains(&at) {
                tag["quality"] == "BAD" && tag["quality_reason"] == "refused by the device with exception 02"
            } else {
                tag["quality"] == "GOOD" && tag["value"] == value(at)
            }
        })
    });
}

#[test]
fn a_small_maximum_and_a_hole_are_learned_and_every_other_tag_is_read() {
    let server = Libmodbus::tcp(&["--max-registers", "10", "--hole", "20:3"]);
    let gateway = Site::new(&json!([device(&server.address, &tags(0, 90))])).start();
    await_only_refused(&gateway, &[20, 21, 22], |at| at);
    let scans = gateway.stats("plc")["scans_total"].as_u64().unwrap();
    assert!(scans <= 20, "{scans} scans until all was learned");

    let holding = until("the device's real maximum", || {
        let holding = gateway.info("plc")["learned"]["tables"]["holding"].clone();
        (holding["largest_answered"] == 10).then_some(holding)
    });
    assert_eq!(holding["too_many_at_once"]["exception"], 3, "{holding}");
    assert_eq!(holding["too_many_at_once"]["count"], 11, "{holding}");
    let holes: Vec<_> = holding["holes"].as_array().unwrap().iter().collect();
    let refused = |at: u16| {
        let address = format!("holding:{at} (Modicon {})", 40_001 + u32::from(at));
        holes.iter().any(|hole| hole["address"] == *address && hole["exception"] == 2)
    };
    assert!([20, 21, 22].into_iter().all(refused) && holes.len() == 3, "{holding}");
    assert_eq!(gateway.device("plc")["connected"], true);
}

#[test]
fn once_learned_nothing_refused_is_asked_for_again_before_its_time() {
    let holes = vec![Hole { table: Table::Holding, range: AddressRange { first: 7, last: 8 } }];
    let plc = Plc::tcp(PlcSettings { holes, max_registers_per_request: Some(16), ..PlcSettings::default() });
    let gateway = Site::new(&json!([device(&plc.address(), &tags(0, 60))])).start();
    await_only_refused(&gateway, &[7, 8], |_| 0);
    // Until scans pass without a refusal: learning is over then.
    let refusals = || plc.stats().exceptions;
    let scans = || gateway.stats("plc")["scans_total"].as_u64().unwrap();
    until("scans without a refusal", || {
        let (before, from) = (refusals(), scans());
        until_true("ten scans", || scans() >= from + 10);
        (refusals() == before).then_some(())
    });
}

#[test]
fn a_hole_that_was_filled_is_found_again_and_forgetting_finds_it_at_once() {
    let server = Plc::tcp(PlcSettings { registers: 100, ..PlcSettings::default() });
    let exception = bifrost_simulator::Fault::Exception {
        code: 2,
        table: Some(Table::Holding),
        range: Some(AddressRange { first: 5, last: 5 }),
    };
    server.set_fault(Some(exception));
    let gateway = Site::new(&json!([device(&server.address(), &tags(0, 10))])).start();
    await_only_refused(&gateway, &[5], |_| 0);
    server.set_fault(None);
    let before = gateway.stats("plc")["scans_total"].as_u64().unwrap();
    until_true("some scans", || gateway.stats("plc")["scans_total"].as_u64().unwrap() > before + 3);
    assert_eq!(gateway.tag("plc", "5")["quality"], "BAD");
    assert_eq!(gateway.post("/api/devices/plc/forget", &Value::Null).status, 204);
    await_only_refused(&gateway, &[], |_| 0);
}

#[test]
fn a_hole_is_tried_again_by_itself() {
    let plc = Plc::counting();
    let range = Some(AddressRange { first: 3, last: 4 });
    plc.set_fault(Some(bifrost_simulator::Fault::Exception { code: 2, table: None, range }));
    let mut device = device(&plc.address(), &tags(0, 10));
    device["hole_retry"] = json!("500ms");
    let gateway = Site::new(&json!([device])).start();
    await_only_refused(&gateway, &[3, 4], |at| 1000 + at);
    plc.set_fault(None);
    await_only_refused(&gateway, &[], |at| 1000 + at);
}
