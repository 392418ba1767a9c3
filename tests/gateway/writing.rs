//! Commands: what is written arrives, as a third party sees it; what must not be written is refused.

use std::time::{Duration, Instant};

use bifrost_simulator::Fault;
use serde_json::{Value, json};

use crate::harness::{Gateway, Libmodbus, Mbpoll, Plc, Pymodbus, Site};

fn device(address: &str, tags: &Value) -> Value {
    json!({
        "id": "plc", "protocol": "modbus-tcp", "address": address, "poll_interval": "100ms",
        "timeout": "3s", "tags": tags
    })
}

/// Address, keys of the tag, value, registers (or one coil) that must be there afterwards.
fn writes() -> Vec<(&'static str, Value, Value, Vec<u16>)> {
    let number = |data_type: &str, order: &str| json!({"data_type": data_type, "byte_order": order});
    vec![
        ("coil:301", json!({}), json!(true), vec![1]),
        ("coil:302", json!({}), json!(false), vec![0]),
        ("holding:300", json!({}), json!(65535), vec![0xFFFF]),
        ("holding:301", number("int16", "ABCD"), json!(-2), vec![0xFFFE]),
        ("holding:302", number("int16", "BADC"), json!(258), vec![0x0201]),
        ("holding:304", number("int32", "ABCD"), json!(-123_456_789), vec![0xF8A4, 0x32EB]),
        ("holding:306", number("uint32", "CDAB"), json!(0x1234_5678), vec![0x5678, 0x1234]),
        ("holding:308", number("uint32", "BADC"), json!(0x1234_5678), vec![0x3412, 0x7856]),
        ("holding:310", number("uint32", "DCBA"), json!(0x1234_5678), vec![0x7856, 0x3412]),
        ("holding:312", number("int64", "ABCD"), json!(-3), vec![0xFFFF, 0xFFFF, 0xFFFF, 0xFFFD]),
        (
            "holding:316",
            number("uint64", "DCBA"),
            json!(0x0102_0304_0506_0708_u64),
            vec![0x0807, 0x0605, 0x0403, 0x0201],
        ),
        ("holding:320", number("float32", "ABCD"), json!(25.4), vec![0x41CB, 0x3333]),
        ("holding:322", number("float32", "CDAB"), json!(25.4), vec![0x3333, 0x41CB]),
        ("holding:324", number("float64", "ABCD"), json!(-1.5), vec![0xBFF8, 0, 0, 0]),
        ("holding:328", number("string(5)", "ABCD"), json!("PRESS"), vec![0x5052, 0x4553, 0x5300]),
        ("holding:331", number("string(4)", "BADC"), json!("AB12"), vec![0x4241, 0x3231]),
        ("holding:333", json!({"data_type": "int16", "scale": 0.1, "offset": -40}), json!(25.4), vec![654]),
        ("holding:334", json!({"data_type": "float32", "scale": 0.5}), json!(1.25), vec![0x4020, 0]),
        // 340 is 0x0154, 341 is 0x0155: one bit is set, one is cleared, the others stay.
        ("holding:340.3", json!({}), json!(true), vec![0x015C]),
        ("holding:341.0", json!({}), json!(false), vec![0x0154]),
    ]
}

fn assert_writes(gateway: &Gateway, server: &Mbpoll<'_>) {
    gateway.good_tags("plc");
    for (address, _, value, registers) in writes() {
        let result = gateway.write("plc", address, &value);
        let answer = (&result["status"], &result["read_back"]);
        assert_eq!(answer, (&json!("ok"), &value), "{address}: {result}");
        let (table, at) = address.split_once(':').unwrap();
        let at = at.split('.').next().unwrap().parse().unwrap();
        let table = if table == "coil" { 0 } else { 4 };
        let count = u16::try_from(registers.len()).unwrap();
        assert_eq!(server.read(table, at, count), registers, "{address}");
        assert_eq!(gateway.read("plc", &[address])[address]["value"], value, "{address}");
    }
    // What lies between the written places is as it was.
    assert_eq!(server.read(4, 303, 1), [303]);
    assert_eq!(server.read(4, 342, 3), [342, 343, 344]);
}

fn written_tags() -> Value {
    let tag = |(address, keys, ..): (&str, Value, Value, Vec<u16>)| {
        let mut tag = json!({"id": address, "address": address, "writable": true});
        tag.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        tag
    };
    writes().into_iter().map(tag).collect()
}

#[test]
fn every_type_is_written_to_pymodbus_and_another_client_reads_what_was_meant() {
    let server = Pymodbus::tcp();
    let gateway = Site::new(&json!([device(&server.address, &written_tags())])).start();
    assert_writes(&gateway, &Mbpoll { address: &server.address, unit: 1 });
}

#[test]
fn every_type_is_written_to_libmodbus_and_another_client_reads_what_was_meant() {
    let server = Libmodbus::tcp(&[]);
    let gateway = Site::new(&json!([device(&server.address, &written_tags())])).start();
    assert_writes(&gateway, &Mbpoll { address: &server.address, unit: 1 });
}

fn guarded() -> Value {
    json!([
        {"id": "fixed", "address": "holding:0"},
        {"id": "input", "address": "input:0"},
        {"id": "limited", "address": "holding:1", "writable": true, "min": 0, "max": 100},
        {"id": "small", "address": "holding:2", "writable": true},
        {"id": "switch", "address": "coil:0", "writable": true},
        {"id": "text", "address": "holding:90", "data_type": "string(4)", "writable": true},
    ])
}

#[test]
fn what_must_not_be_written_is_rejected_with_the_reason_and_nothing_is_sent() {
    let plc = Plc::counting();
    let gateway = Site::new(&json!([device(&plc.address(), &guarded())])).start();
    gateway.good_tags("plc");
    for (tag, value, reason) in [
        ("fixed", json!(1), "not writable"),
        ("input", json!(1), "not writable"),
        ("limited", json!(101), "max"),
        ("limited", json!(-0.5), "min"),
        ("limited", json!("7"), "text"),
        ("limited", json!(null), "null"),
        ("small", json!(65536), "65535"),
        ("small", json!(-1), "65535"),
        ("small", json!(true), "true"),
        ("switch", json!(1), "1"),
        ("text", json!("five!"), "4"),
        ("text", json!(7), "7"),
    ] {
        let result = gateway.write("plc", tag, &value);
        assert_eq!(result["status"], "rejected", "{tag} {value}: {result}");
        assert!(result["error"].as_str().unwrap().contains(reason), "{tag} {value}: {result}");
        assert!(result["read_back"].is_null(), "{result}");
    }
    let functions = plc.stats().functions;
    assert!([5, 6, 15, 16, 22, 23].iter().all(|code| !functions.contains_key(code)), "{functions:?}");
    let unknown = gateway.post("/api/tags/write", &json!({"device_id": "plc", "tag_id": "no", "value": 1}));
    assert_eq!((unknown.status, &unknown.body["type"]), (404, &json!("urn:bifrost:problem:unknown-tag")));
}

#[test]
fn a_command_is_carried_out_once_and_not_after_its_time() {
    let plc = Plc::counting();
    let gateway = Site::new(&json!([device(&plc.address(), &guarded())])).start();
    gateway.good_tags("plc");
    let command = |id: &str, value: u16, expires: &str| {
        json!({
            "device_id": "plc", "tag_id": "small", "value": value, "command_id": id, "expires_at": expires
        })
    };
    let (past, future) = ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z");
    let late = gateway.command(&command("a", 1, past));
    assert_eq!((&late["status"], &late["command_id"]), (&json!("expired"), &json!("a")));
    assert_eq!(plc.memory().holding(2), Some(1002));
    assert_eq!(gateway.command(&command("b", 2, future))["status"], "ok");
    assert_eq!(gateway.command(&command("b", 3, future))["status"], "duplicate");
    assert_eq!(plc.memory().holding(2), Some(2));
}

#[test]
fn a_write_to_an_unreachable_device_fails_in_bounded_time_and_says_why() {
    let (gone, silent) = (Plc::counting(), Plc::counting());
    gone.switch_off();
    silent.set_fault(Some(Fault::HalfOpen));
    let tags = json!([{"id": "t", "address": "holding:0", "writable": true}]);
    let device = |id: &str, plc: &Plc| {
        json!({
            "id": id, "protocol": "modbus-tcp", "address": plc.address(), "timeout": "300ms",
            "connect_timeout": "500ms", "poll_interval": "200ms", "tags": tags
        })
    };
    let gateway = Site::new(&json!([device("gone", &gone), device("silent", &silent)])).start();
    for id in ["gone", "silent"] {
        gateway.await_state(id, "offline");
        let asked = Instant::now();
        let result = gateway.write(id, "t", &json!(7));
        assert_eq!(result["status"], "failed", "{result}");
        assert!(!result["error"].as_str().unwrap().is_empty(), "{result}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    }
}

#[test]
fn a_refused_write_fails_with_the_devices_exception() {
    let plc = Plc::counting();
    let tags = json!([{"id": "outside", "address": "holding:5000", "writable": true}]);
    let gateway = Site::new(&json!([device(&plc.address(), &tags)])).start();
    gateway.await_state("plc", "online");
    let result = gateway.write("plc", "outside", &json!(7));
    assert_eq!(result["status"], "failed", "{result}");
    assert!(result["error"].as_str().unwrap().contains("02"), "{result}");
}

#[test]
fn a_write_overtakes_a_slow_devices_reads() {
    let plc = Plc::counting();
    // 40 requests of 100 ms each are a scan of four seconds.
    plc.set_fault(Some(Fault::Delay { by: Duration::from_millis(100) }));
    let tag = |at: u16| json!({"id": at.to_string(), "address": format!("holding:{at}"), "writable": true});
    let tags: Value = (0..80).step_by(2).map(tag).collect();
    let device = json!({
        "id": "plc", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms",
        "max_gap": 0, "tags": tags
    });
    let gateway = Site::new(&json!([device])).start();
    gateway.await_quality("plc", "0", "GOOD");
    for value in 1..=3 {
        let asked = Instant::now();
        assert_eq!(
            gateway.command(&json!({"device_id": "plc", "tag_id": "4", "value": value}))["status"],
            "ok"
        );
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
}
