//! Values straight from the device, and orders to write one.

use std::time::Duration;

use bifrost::api::ApiSettings;
use bifrost_simulator::Fault;
use serde_json::{Value, json};

use crate::bench::{Bench, press};

fn online() -> Bench {
    let bench = Bench::start();
    bench.until_online("press-1");
    bench
}

fn read(bench: &Bench, body: &Value) -> Value {
    bench.post("/api/tags/read", body).ok()
}

fn write(bench: &Bench, body: &Value) -> Value {
    bench.post("/api/tags/write", body).ok()
}

#[test]
fn a_read_asks_the_device_now() {
    let bench = Bench::with(ApiSettings::default(), |plc| {
        let mut slow = press("press-1", plc);
        slow["poll_interval"] = json!("1h");
        vec![slow]
    });
    bench.until_online("press-1");
    bench.plc.memory().set_holding(0, 77);
    bench.plc.memory().set_coil(0, true);
    let answer = read(&bench, &json!({"device_id": "press-1", "tag_ids": ["running", "speed"]}));
    assert_eq!((&answer["device_id"], &answer["count"]), (&json!("press-1"), &json!(2)));
    assert_eq!((&answer["tags"][0]["id"], &answer["tags"][0]["value"]), (&json!("running"), &json!(true)));
    assert_eq!((&answer["tags"][1]["id"], &answer["tags"][1]["value"]), (&json!("speed"), &json!(77)));
    assert_eq!(answer["tags"][1]["quality"], "GOOD");
    let cached = read(&bench, &json!({"device_id": "press-1", "tag_ids": ["speed"], "cached": true}));
    assert_ne!(cached["tags"][0]["value"], 78, "{cached}");
}

#[test]
fn a_query_asks_the_same() {
    let bench = online();
    bench.plc.memory().set_holding(0, 5);
    let answer = bench.get("/api/tags/read?device_id=press-1&tag_ids=speed,count&tag_ids=running").ok();
    let ids: Vec<_> = answer["tags"].as_array().unwrap().iter().map(|tag| tag["id"].clone()).collect();
    assert_eq!(ids, ["speed", "count", "running"]);
    assert_eq!(bench.get("/api/tags/read?device_id=press-1").ok()["count"], 3);
    assert_eq!(bench.get("/api/tags/read?device_id=press-1&cached=true").ok()["count"], 3);
    let answer = bench.get("/api/tags/read?tag_ids=speed");
    answer.problem(400, "invalid-query");
    assert_eq!(answer.keys(), ["device_id"]);
}

#[test]
fn a_point_that_is_no_tag_can_be_read() {
    let bench = online();
    bench.plc.memory().set_holding(20, 0x41CB);
    bench.plc.memory().set_holding(21, 0x3333);
    let asked = json!({"device_id": "press-1", "tag_address": "40021", "data_type": "float32", "scale": 2});
    let tag = &read(&bench, &asked)["tags"][0];
    assert!((tag["value"].as_f64().unwrap() - 50.8).abs() < 0.001, "{tag}");
    assert_eq!(
        (&tag["id"], &tag["address"], &tag["quality"]),
        (&json!("40021"), &json!("40021"), &json!("GOOD"))
    );
    let answer = bench.get("/api/tags/read?device_id=press-1&tag_address=holding:20").ok();
    assert_eq!(
        (&answer["tags"][0]["data_type"], &answer["tags"][0]["value"]),
        (&json!("uint16"), &json!(0x41CB))
    );
    let bit = bench.get("/api/tags/read?device_id=press-1&tag_address=holding:20.0").ok();
    assert_eq!((&bit["tags"][0]["data_type"], &bit["tags"][0]["value"]), (&json!("bool"), &json!(true)));
}

#[test]
fn what_the_device_refuses_is_bad_and_says_why() {
    let bench = online();
    let answer = bench.get("/api/tags/read?device_id=press-1&tag_address=holding:5000").ok();
    assert_eq!(answer["tags"][0]["quality"], "BAD");
    assert!(answer["tags"][0]["quality_reason"].as_str().unwrap().contains("exception 02"));
}

#[test]
fn reads_that_make_no_sense_are_refused_key_by_key() {
    let bench = Bench::start();
    for (body, keys) in [
        (json!({"tag_ids": ["speed"]}), vec!["device_id"]),
        (json!({"device_id": "press-1", "tags": []}), vec!["tags"]),
        (json!({"device_id": "press-1", "tag_address": "plc"}), vec!["tag_address"]),
        (json!({"device_id": "press-1", "tag_address": "40001", "data_type": "bool"}), vec!["tag_address"]),
        (
            json!({"device_id": "press-1", "tag_address": "40001", "tag_ids": [], "cached": true}),
            vec!["tag_ids", "cached"],
        ),
        (json!({"device_id": "press-1", "scale": 2, "data_type": "int16"}), vec!["data_type", "scale"]),
    ] {
        let answer = bench.post("/api/tags/read", &body);
        answer.problem(400, "invalid-body");
        assert_eq!(answer.keys(), keys, "{body}");
    }
}

#[test]
fn tags_and_devices_that_do_not_exist_are_named() {
    let bench = Bench::start();
    let answer =
        bench.post("/api/tags/read", &json!({"device_id": "press-1", "tag_ids": ["speed", "x", "y"]}));
    let problem = answer.problem(404, "unknown-tag");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    bench.get("/api/tags/read?device_id=press-1&cached=true&tag_ids=x").problem(404, "unknown-tag");
    bench.get("/api/tags/read?device_id=nobody").problem(404, "unknown-device");
    let order = json!({"device_id": "press-1", "tag_id": "x", "value": 1});
    bench.post("/api/tags/write", &order).problem(404, "unknown-tag");
    let order = json!({"device_id": "nobody", "tag_id": "x", "value": 1});
    bench.post("/api/tags/write", &order).problem(404, "unknown-device");
}

#[test]
fn a_silent_device_and_one_that_is_gone_are_different_problems() {
    let bench = online();
    bench.plc.set_fault(Some(Fault::Silence));
    let answer = bench.get("/api/tags/read?device_id=press-1");
    assert!([502, 504].contains(&answer.status), "{answer:?}");
    bench.plc.set_fault(Some(Fault::Refuse));
    bench.until("/api/tags/read?device_id=press-1", |answer| {
        answer["type"] == "urn:bifrost:problem:device-unreachable"
    });
    let problem = bench.get("/api/tags/read?device_id=press-1").problem(502, "device-unreachable");
    assert!(problem["detail"].as_str().unwrap().contains(&bench.plc_address().to_string()), "{problem}");
    bench.plc.set_fault(None);
    bench.until_online("press-1");
}

#[test]
fn a_write_reaches_the_device_and_is_read_back() {
    let bench = online();
    let order = json!({"device_id": "press-1", "tag_id": "speed", "value": 55, "command_id": "c-1", "read_back": true});
    let result = write(&bench, &order);
    assert_eq!((&result["command_id"], &result["status"]), (&json!("c-1"), &json!("ok")), "{result}");
    assert_eq!(result["read_back"], 55);
    assert!(result["timestamp"].is_string() && result.get("error").is_none());
    assert_eq!(bench.plc.memory().holding(0), Some(55));
}

#[test]
fn a_command_without_an_id_gets_one_of_its_own() {
    let bench = online();
    let order = json!({"device_id": "press-1", "tag_id": "running", "value": true});
    let (first, second) = (write(&bench, &order), write(&bench, &order));
    assert_eq!((&first["status"], &second["status"]), (&json!("ok"), &json!("ok")));
    assert_ne!(first["command_id"], second["command_id"]);
    assert_eq!(first["command_id"].as_str().unwrap().len(), 32);
    assert_eq!(bench.plc.memory().coil(0), Some(true));
}

#[test]
fn commands_that_are_not_carried_out_say_why() {
    let bench = online();
    let order = |tag: &str, value: Value| json!({"device_id": "press-1", "tag_id": tag, "value": value});
    for (order, status) in [
        (order("speed", json!(101)), "rejected"),
        (order("speed", json!("fast")), "rejected"),
        (order("count", json!(1)), "rejected"),
        (
            json!({"device_id": "press-1", "tag_id": "speed", "value": 1, "expires_at": "2020-01-01T00:00:00Z"}),
            "expired",
        ),
    ] {
        let result = write(&bench, &order);
        assert_eq!(result["status"], status, "{order}: {result}");
        assert!(!result["error"].as_str().unwrap().is_empty());
    }
    let twice = json!({"device_id": "press-1", "tag_id": "speed", "value": 9, "command_id": "same"});
    assert_eq!(write(&bench, &twice)["status"], "ok");
    let again = write(&bench, &twice);
    assert_eq!(again["status"], "duplicate");
    let error = again["error"].as_str().unwrap();
    assert!(error.contains("taken at 20") && error.ends_with("ended ok"), "{error}");
}

#[test]
fn every_result_is_an_event_too() {
    let bench = online();
    write(
        &bench,
        &json!({"device_id": "press-1", "tag_id": "speed", "value": 7, "command_id": "c", "read_back": true}),
    );
    write(&bench, &json!({"device_id": "press-1", "tag_id": "speed", "value": 700}));
    let told = bench.until("/api/events?device_id=press-1", |list| {
        list["events"].as_array().unwrap().iter().filter(|e| e["event_type"] == "command_result").count() == 2
    });
    let told: Vec<_> =
        told["events"].as_array().unwrap().iter().filter(|e| e["event_type"] == "command_result").collect();
    let data = json!({
        "command_id": "c", "tag_id": "speed", "value": 7, "status": "ok", "read_back": 7, "origin": "rest"
    });
    assert_eq!((&told[1]["data"], &told[1]["severity"]), (&data, &json!("info")));
    assert_eq!((&told[0]["data"]["status"], &told[0]["severity"]), (&json!("rejected"), &json!("warning")));
}

#[test]
fn a_command_that_takes_too_long_has_failed_as_far_as_is_known() {
    let settings = ApiSettings { request_timeout: Duration::from_millis(300), ..ApiSettings::default() };
    let bench = Bench::with(settings, |plc| {
        let mut patient = press("press-1", plc);
        patient["timeout"] = json!("1m");
        vec![patient]
    });
    bench.until_online("press-1");
    bench.plc.set_fault(Some(Fault::Silence));
    let result = write(&bench, &json!({"device_id": "press-1", "tag_id": "speed", "value": 1}));
    assert_eq!(result["status"], "failed", "{result}");
    bench.get("/api/tags/read?device_id=press-1").problem(504, "request-timeout");
}

#[test]
fn a_command_for_a_stopped_device_is_rejected() {
    let bench = online();
    assert_eq!(bench.post("/api/actors/devices/press-1/stop", &json!(null)).status, 202);
    let result = write(&bench, &json!({"device_id": "press-1", "tag_id": "speed", "value": 1}));
    assert_eq!(result["status"], "rejected", "{result}");
    bench.get("/api/tags/read?device_id=press-1").problem(503, "not-ready");
    bench.get("/api/devices/press-1/stats").problem(503, "not-ready");
    let device = bench.get("/api/devices/press-1").ok();
    assert_eq!((&device["connected"], &device["state"]), (&json!(false), &json!("offline")));
    assert_eq!(bench.post("/api/actors/devices/press-1/start", &json!(null)).status, 202);
    bench.until_online("press-1");
}

#[test]
fn commands_that_cannot_be_understood_are_problems() {
    let bench = Bench::start();
    for (body, keys) in [
        (json!({"device_id": "press-1", "tag_id": "speed"}), vec!["value"]),
        (json!({"device_id": "press-1", "tag_id": "speed", "value": [1]}), vec!["value"]),
        (json!({"device_id": "press-1", "tag_id": "speed", "value": 1, "expires": 1}), vec!["expires"]),
        (
            json!({"device_id": "press-1", "tag_id": "speed", "value": 1, "expires_at": "soon"}),
            vec!["expires_at"],
        ),
        (
            json!({"device_id": "press-1", "tag_id": "speed", "value": 1, "command_id": " "}),
            vec!["command_id"],
        ),
    ] {
        let answer = bench.post("/api/tags/write", &body);
        answer.problem(400, "invalid-body");
        assert_eq!(answer.keys(), keys, "{body}");
    }
}
