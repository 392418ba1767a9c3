//! PLCs that misbehave: the process lives, says what is wrong, and recovers.

use std::time::Duration;

use bifrost_simulator::{AddressRange, Fault, PlcSettings, Table};
use serde_json::{Value, json};

use crate::harness::{Gateway, Plc, Site, until, until_true};

fn device(id: &str, protocol: &str, plc: &Plc, unit: u8) -> Value {
    json!({
        "id": id, "protocol": protocol, "address": plc.address(), "unit_id": unit, "poll_interval": "100ms",
        "timeout": "300ms", "connect_timeout": "1s", "stale_after": "800ms", "bad_after": "1500ms",
        "retry_max": "500ms", "busy_delay": "20ms", "late_reply_wait": "300ms",
        "tags": [{"id": "t", "address": "holding:7"}, {"id": "far", "address": "holding:70"}]
    })
}

fn start(devices: &Value) -> Gateway {
    let quick = json!({"supervision": {"plc_link": {"max_delay": "500ms", "parked_retry": "500ms"}}});
    Site::with(&quick, devices).start()
}

/// A fault, and the reasons of which one must be told while it lasts.
fn assert_noticed_and_recovered(plc: &Plc, protocol: &str, fault: &Fault, reasons: &[&str]) {
    let gateway = start(&json!([device("plc", protocol, plc, 1)]));
    gateway.good_tags("plc");
    plc.set_fault(Some(fault.clone()));
    let offline = gateway.await_state("plc", "offline");
    assert_eq!(offline["connected"], false, "{offline}");
    assert!(offline["last_error"].is_string(), "{offline}");
    let bad = gateway.await_quality("plc", "t", "BAD");
    let reason = bad["quality_reason"].as_str().unwrap();
    assert!(reasons.contains(&reason), "{fault:?}: {reason}");
    assert!(gateway.is_alive());

    plc.set_fault(None);
    gateway.await_state("plc", "online");
    let tags = gateway.good_tags("plc");
    assert_eq!((&tags["t"]["value"], &tags["far"]["value"]), (&json!(1007), &json!(1070)));
    let told = gateway.event_types("plc");
    assert_eq!(told.first().map(String::as_str), Some("device_connected"), "{told:?}");
    assert!(told.contains(&"device_disconnected".to_owned()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("device_connected"), "{told:?}");
}

const SILENT: &str = "no answer in time";
const GONE: &str = "device not reachable";
const GARBLED: &str = "answer not understood";

#[test]
fn silence_is_noticed_and_survived() {
    assert_noticed_and_recovered(&Plc::counting(), "modbus-tcp", &Fault::Silence, &[SILENT]);
}

#[test]
fn half_open_connections_are_noticed_and_survived() {
    assert_noticed_and_recovered(&Plc::counting(), "modbus-tcp", &Fault::HalfOpen, &[SILENT, GONE]);
}

#[test]
fn garbage_is_never_a_value_and_is_survived() {
    assert_noticed_and_recovered(&Plc::counting(), "modbus-tcp", &Fault::Garbage, &[SILENT, GONE, GARBLED]);
}

#[test]
fn garbage_on_rtu_is_never_a_value_and_is_survived() {
    let plc = Plc::rtu_over_tcp(crate::harness::counting());
    assert_noticed_and_recovered(&plc, "modbus-rtu", &Fault::Garbage, &[SILENT, GONE, GARBLED]);
}

#[test]
fn truncated_frames_are_never_a_value_and_are_survived() {
    assert_noticed_and_recovered(
        &Plc::counting(),
        "modbus-tcp",
        &Fault::TruncatedFrame,
        &[SILENT, GONE, GARBLED],
    );
}

#[test]
fn wrong_transaction_ids_are_never_taken_for_an_answer() {
    let fault = Fault::WrongTransactionId;
    assert_noticed_and_recovered(&Plc::counting(), "modbus-tcp", &fault, &[SILENT, GONE, GARBLED]);
}

#[test]
fn answers_of_another_unit_are_never_taken_for_an_answer() {
    let reasons = [SILENT, GONE, GARBLED];
    assert_noticed_and_recovered(&Plc::counting(), "modbus-tcp", &Fault::WrongUnit, &reasons);
    let plc = Plc::rtu_over_tcp(crate::harness::counting());
    assert_noticed_and_recovered(&plc, "modbus-rtu", &Fault::WrongUnit, &reasons);
}

#[test]
fn a_flapping_plc_is_read_whenever_it_is_there() {
    let plc = Plc::counting();
    let gateway = start(&json!([device("plc", "modbus-tcp", &plc, 1)]));
    gateway.good_tags("plc");
    plc.set_fault(Some(Fault::Flapping { up: Duration::from_millis(900), down: Duration::from_millis(600) }));
    let comings = || {
        let told = gateway.event_types("plc");
        told.iter().filter(|kind| *kind == "device_connected").count()
    };
    until_true("it came back three times", || comings() >= 4);
    plc.set_fault(None);
    gateway.await_state("plc", "online");
    assert_eq!(gateway.good_tags("plc")["t"]["value"], 1007);
    assert_eq!(gateway.actor("devices/plc")["restarts"], 0);
}

#[test]
fn connections_that_the_plc_closes_now_and_then_cost_no_value() {
    let plc = Plc::counting();
    plc.set_fault(Some(Fault::DropEvery { n: 7 }));
    let gateway = start(&json!([device("plc", "modbus-tcp", &plc, 1)]));
    until_true("it was read often", || gateway.stats("plc")["scans_total"].as_u64() >= Some(20));
    until_true("connections were closed", || plc.stats().connections_total >= 3);
    assert!(!["BAD", "STALE"].contains(&gateway.tag("plc", "t")["quality"].as_str().unwrap()));
    assert!(gateway.is_alive());
}

/// What an exception for part of a device does: its tag says which, the other tag is read on.
fn assert_exception_stays_with_its_tag(code: u8) {
    let plc = Plc::counting();
    let gateway = start(&json!([device("plc", "modbus-tcp", &plc, 1)]));
    gateway.good_tags("plc");
    let range = Some(AddressRange { first: 70, last: 70 });
    plc.set_fault(Some(Fault::Exception { code, table: Some(Table::Holding), range }));
    let expected = format!("refused by the device with exception {code:02X}");
    until(&expected, || Some(()).filter(|()| gateway.tag("plc", "far")["quality_reason"] == *expected));
    assert_eq!(gateway.tag("plc", "far")["quality"], "BAD");
    let before = gateway.stats("plc")["scans_total"].as_u64();
    until_true("it is read on", || gateway.stats("plc")["scans_total"].as_u64() > before);
    let near = gateway.tag("plc", "t");
    assert_eq!((&near["quality"], &near["value"]), (&json!("GOOD"), &json!(1007)));
    assert_eq!(gateway.device("plc")["connected"], true);
    plc.set_fault(None);
    gateway.good_tags("plc");
}

#[test]
fn a_failure_within_the_device_stays_with_its_tag() {
    assert_exception_stays_with_its_tag(0x04);
}

#[test]
fn a_busy_device_is_asked_again_and_then_has_its_value() {
    let plc = Plc::counting();
    let mut device = device("plc", "modbus-tcp", &plc, 1);
    device["busy_retries"] = json!(1000);
    let gateway = start(&json!([device]));
    gateway.good_tags("plc");
    plc.set_fault(Some(Fault::Exception { code: 6, table: None, range: None }));
    let refused = || plc.stats().exceptions;
    until_true("it was asked again and again", || refused() >= 5);
    plc.set_fault(None);
    gateway.await_state("plc", "online");
    gateway.good_tags("plc");
    let told = gateway.event_types("plc");
    assert_eq!(told, ["device_connected"], "being busy is no disconnection");
}

#[test]
fn a_device_that_stays_busy_is_told_so() {
    let plc = Plc::counting();
    let gateway = start(&json!([device("plc", "modbus-tcp", &plc, 1)]));
    gateway.good_tags("plc");
    plc.set_fault(Some(Fault::Exception { code: 6, table: None, range: None }));
    let tag = until("a tag that isn't GOOD", || {
        Some(gateway.tag("plc", "t")).filter(|tag| tag["quality"] != "GOOD")
    });
    assert!(tag["quality_reason"].as_str().unwrap().contains("06"), "{tag}");
    plc.set_fault(None);
    gateway.good_tags("plc");
}

/// Exceptions 0A and 0B come from a gateway in front of the units: the unit is away, its neighbour isn't.
fn assert_unit_is_away(code: u8) {
    let plc = Plc::tcp(PlcSettings { unit_ids: vec![1, 2], ..crate::harness::counting() });
    let devices = json!([device("one", "modbus-tcp", &plc, 1), device("two", "modbus-tcp", &plc, 2)]);
    let gateway = start(&devices);
    gateway.good_tags("one");
    gateway.good_tags("two");
    plc.set_unit_fault(2, Some(Fault::Exception { code, table: None, range: None }));
    let away = gateway.await_state("two", "offline");
    assert!(away["last_error"].as_str().unwrap().contains(&format!("{code:02X}")), "{away}");
    let bad = gateway.await_quality("two", "t", "BAD");
    assert!(bad["quality_reason"].as_str().unwrap().contains(&format!("{code:02X}")), "{bad}");
    assert_eq!(gateway.device("one")["connected"], true);
    assert_eq!(gateway.stats("one")["scans_failed"], 0);
    assert_eq!(plc.stats().connections_total, 1, "the connection has no part in it");
    plc.set_unit_fault(2, None);
    gateway.await_state("two", "online");
    gateway.good_tags("two");
}

#[test]
fn exception_0a_marks_the_unit_and_not_the_connection() {
    assert_unit_is_away(0x0A);
}

#[test]
fn exception_0b_marks_the_unit_and_not_the_connection() {
    assert_unit_is_away(0x0B);
}

#[test]
fn a_silent_unit_leaves_its_neighbour_on_the_connection_readable() {
    let plc = Plc::tcp(PlcSettings { unit_ids: vec![1, 2], ..crate::harness::counting() });
    plc.set_unit_fault(2, Some(Fault::Silence));
    let devices = json!([device("one", "modbus-tcp", &plc, 1), device("two", "modbus-tcp", &plc, 2)]);
    let gateway = start(&devices);
    gateway.await_state("two", "offline");
    gateway.good_tags("one");
    let before = gateway.stats("one")["scans_total"].as_u64().unwrap();
    until_true("unit 1 is read on", || gateway.stats("one")["scans_total"].as_u64().unwrap() > before + 10);
    assert_eq!(gateway.stats("one")["scans_failed"], 0);
}
