//! Looking for Modbus/TCP servers where that is allowed.

use serde_json::json;

use crate::bench::Bench;

#[test]
fn a_scan_finds_the_units_that_answer() {
    let bench = Bench::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let asked = json!({
        "range": "127.0.0.1", "ports": [bench.plc_address().port(), closed], "unit_ids": [1, 2], "timeout": "2s"
    });
    let answer = bench.post("/api/devices/discover", &asked).ok();
    let found = answer["devices"].as_array().unwrap();
    let units: Vec<_> = found.iter().map(|device| device["unit_id"].as_u64().unwrap()).collect();
    assert_eq!(units, [1, 2], "{answer}");
    assert_eq!(found[0]["address"], bench.plc_address().to_string());
    assert!(found[0]["response_time_ms"].as_f64().unwrap() > 0.0);
    assert_eq!((&answer["scanned"], &answer["complete"]), (&json!(2), &json!(true)));
    assert!(answer["duration_ms"].is_u64());
}

#[test]
fn a_range_that_is_not_allowed_is_refused_with_the_key_that_allows_it() {
    let bench = Bench::start();
    for range in ["192.0.2.0/28", "126.255.255.255-127.0.0.1", "::1"] {
        let problem =
            bench.post("/api/devices/discover", &json!({"range": range})).problem(403, "range-not-allowed");
        assert!(problem["detail"].as_str().unwrap().contains("discovery.allowed_ranges"));
    }
}

#[test]
fn scans_that_make_no_sense_are_refused_key_by_key() {
    let bench = Bench::start();
    for (body, keys) in [
        (json!({}), vec!["range"]),
        (json!({"range": "plc"}), vec!["range"]),
        (json!({"range": "127.0.0.0/8"}), vec!["range"]),
        (json!({"range": "127.0.0.1", "ports": []}), vec!["ports"]),
        (json!({"range": "127.0.0.1", "port": 502}), vec!["port"]),
        (json!({"range": "127.0.0.1", "timeout": "long"}), vec!["timeout"]),
    ] {
        let answer = bench.post("/api/devices/discover", &body);
        answer.problem(400, "invalid-body");
        assert_eq!(answer.keys(), keys, "{body}");
    }
}
