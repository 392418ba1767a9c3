//! Looking for Modbus/TCP servers, and only where that is allowed.

use serde_json::json;

use crate::harness::{Libmodbus, Plc, Pymodbus, Site};

#[test]
fn discovery_finds_every_server_of_an_allowed_range_and_no_other() {
    let (simulated, off) = (Plc::counting(), Plc::counting());
    let (pymodbus, libmodbus) = (Pymodbus::tcp(), Libmodbus::tcp(&[]));
    off.switch_off();
    let no_modbus = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |address: &str| address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let expected = [simulated.port(), port(&pymodbus.address), port(&libmodbus.address)];
    let mut ports = expected.to_vec();
    ports.extend([off.port(), no_modbus.local_addr().unwrap().port()]);
    let gateway = Site::with(&json!({"discovery": {"allowed_ranges": ["127.0.0.0/8"]}}), &json!([])).start();
    let ask = json!({"range": "127.0.0.1", "ports": ports, "unit_ids": [1, 9], "timeout": "2s"});
    let answer = gateway.post("/api/devices/discover", &ask);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let found = answer.body["devices"].as_array().unwrap();
    let has = |port: u16, unit: u8| {
        let address = format!("127.0.0.1:{port}");
        found.iter().any(|device| device["address"] == *address && device["unit_id"] == unit)
    };
    assert!(expected.iter().all(|port| has(*port, 1)), "{}", answer.body);
    assert!(!has(off.port(), 1) && !has(ports[4], 1), "{}", answer.body);
    // libmodbus answers for every unit; the others say that nobody is there.
    assert!(has(expected[2], 9) && !has(expected[0], 9) && !has(expected[1], 9), "{}", answer.body);
    assert_eq!(answer.body["complete"], true);
    assert_eq!(gateway.json("/api/devices")["count"], 0, "finding adds nothing");
}

#[test]
fn other_ranges_are_refused_with_the_key_that_would_allow_them() {
    let narrow = json!({"discovery": {"allowed_ranges": ["127.0.0.1-127.0.0.9"]}});
    for (sections, range) in [(narrow, "127.0.0.0/28"), (json!({}), "127.0.0.1")] {
        let gateway = Site::with(&sections, &json!([])).start();
        let answer = gateway.post("/api/devices/discover", &json!({"range": range}));
        assert_eq!(answer.status, 403, "{range}: {}", answer.body);
        assert!(answer.body["detail"].as_str().unwrap().contains("discovery.allowed_ranges"));
    }
}
