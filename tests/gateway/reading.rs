//! Every data type in every byte order, from servers that others wrote, over every transport.

use bifrost_simulator::PlcSettings;
use serde_json::{Value, json};

use crate::harness::{Gateway, Libmodbus, Plc, Pymodbus, SerialLine, Site, register, until};

const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
const NUMBERS: [(&str, u16); 8] = [
    ("int16", 1),
    ("uint16", 1),
    ("int32", 2),
    ("uint32", 2),
    ("int64", 4),
    ("uint64", 4),
    ("float32", 2),
    ("float64", 4),
];

/// The bytes of some registers, put into the order from the most significant on.
fn ordered(first: u16, count: u16, order: &str) -> Vec<u8> {
    let mut registers: Vec<[u8; 2]> = (first..first + count).map(|at| register(at).to_be_bytes()).collect();
    if matches!(order, "CDAB" | "DCBA") {
        registers.reverse();
    }
    if matches!(order, "BADC" | "DCBA") {
        for register in &mut registers {
            register.reverse();
        }
    }
    registers.concat()
}

/// What JSON those bytes are as a number of this type.
fn number(data_type: &str, bytes: &[u8]) -> Value {
    let four = || bytes.try_into().unwrap();
    let eight = || bytes.try_into().unwrap();
    let text = match data_type {
        "int16" => i16::from_be_bytes(bytes.try_into().unwrap()).to_string(),
        "uint16" => u16::from_be_bytes(bytes.try_into().unwrap()).to_string(),
        "int32" => i32::from_be_bytes(four()).to_string(),
        "uint32" => u32::from_be_bytes(four()).to_string(),
        "int64" => i64::from_be_bytes(eight()).to_string(),
        "uint64" => u64::from_be_bytes(eight()).to_string(),
        "float32" => serde_json::to_string(&f32::from_be_bytes(four())).unwrap(),
        "float64" => serde_json::to_string(&f64::from_be_bytes(eight())).unwrap(),
        other => panic!("{other} is no number"),
    };
    serde_json::from_str(&text).unwrap()
}

/// Tags, each with the value that it must have.
fn every_type() -> Vec<(Value, Value)> {
    let mut tags = Vec::new();
    for (data_type, count) in NUMBERS {
        for order in ORDERS {
            // Plain numbers, parts of floats, and all bits set where that is a number.
            for first in [40, 100, 104, 120] {
                let value = number(data_type, &ordered(first, count, order));
                let id = format!("{data_type}-{order}-{first}");
                let address = format!("holding:{first}");
                let tag = json!({"id": id, "address": address, "data_type": data_type, "byte_order": order});
                tags.extend((!value.is_null()).then_some((tag, value)));
            }
        }
    }
    for (address, more, value) in [
        ("40101", json!({"data_type": "float32"}), json!(3.5)),
        ("40103", json!({"data_type": "float32", "byte_order": "CDAB"}), json!(3.5)),
        ("40105", json!({"data_type": "float32", "byte_order": "BADC"}), json!(3.5)),
        ("40107", json!({"data_type": "float32", "byte_order": "DCBA"}), json!(3.5)),
        ("40111", json!({"data_type": "string(8)"}), json!("BIFROST")),
        ("holding:111", json!({"data_type": "string(3)"}), json!("FRO")),
        ("40121", json!({"data_type": "int64"}), json!(-2)),
        ("holding:7", json!({"scale": 0.1}), json!(0.7)),
        ("holding:20", json!({"scale": 0.5, "offset": -40}), json!(-30.0)),
        ("holding:100.14", json!({}), json!(true)),
        ("holding:100.15", json!({}), json!(false)),
        ("40101.5", json!({"data_type": "bool"}), json!(true)),
        ("30006", json!({}), json!(1005)),
        ("input:1023", json!({"data_type": "int16"}), json!(2023)),
        ("00001", json!({}), json!(true)),
        ("coil:1", json!({}), json!(false)),
        ("10002", json!({}), json!(true)),
        ("discrete:2", json!({}), json!(false)),
    ] {
        let mut tag = json!({"id": address, "address": address});
        tag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tags.push((tag, value));
    }
    tags
}

fn device(id: &str, protocol: &str, address: &str) -> Value {
    let tags: Vec<_> = every_type().into_iter().map(|(tag, _)| tag).collect();
    json!({
        "id": id, "protocol": protocol, "address": address, "poll_interval": "300ms",
        "timeout": "3s", "tags": tags
    })
}

/// Last known, read now, and from the feed: three ways, the same values.
#[track_caller]
fn assert_every_type(gateway: &Gateway, device: &str) {
    let expected = every_type();
    let last = gateway.good_tags(device);
    let ids: Vec<_> = last.keys().map(String::as_str).collect();
    let now = gateway.read(device, &ids);
    let mut feed = gateway.feed(json!({"devices": [device]}));
    let mut told = std::collections::BTreeMap::new();
    until("every tag on the feed", || {
        while let Ok(Some(frame)) = feed.look() {
            told.insert(frame["tag"]["id"].as_str().unwrap().to_owned(), frame["tag"].clone());
        }
        (told.len() == expected.len()).then_some(())
    });
    assert_eq!(last.len(), expected.len());
    for (tag, value) in expected {
        let id = tag["id"].as_str().unwrap();
        for (way, tags) in [("last known", &last), ("read now", &now), ("feed", &told)] {
            let read = &tags[id];
            assert_eq!((&read["value"], &read["quality"]), (&value, &json!("GOOD")), "{way}: {read}");
        }
    }
}

/// A simulated PLC with the values of the third-party servers.
fn twin() -> PlcSettings {
    PlcSettings { registers: 1024, coils: 1024, ..PlcSettings::default() }
}

fn fill(plc: &Plc) {
    let memory = plc.memory();
    for at in 0..1024 {
        assert!(memory.set_holding(at, register(at)) && memory.set_input(at, 1000 + at));
        assert!(memory.set_coil(at, at % 2 == 0) && memory.set_discrete(at, at % 2 == 1));
    }
}

#[test]
fn every_type_and_order_is_read_over_tcp() {
    let (pymodbus, libmodbus) = (Pymodbus::tcp(), Libmodbus::tcp(&[]));
    let site = Site::new(&json!([
        device("pymodbus", "modbus-tcp", &pymodbus.address),
        device("libmodbus", "modbus-tcp", &libmodbus.address),
    ]));
    let gateway = site.start();
    assert_every_type(&gateway, "pymodbus");
    assert_every_type(&gateway, "libmodbus");
}

#[test]
fn every_type_and_order_is_read_from_pymodbus_over_a_serial_line() {
    let line = SerialLine::new();
    let _server = Pymodbus::serial(&line.plc_end());
    let gateway = Site::new(&json!([device("plc", "modbus-rtu", &line.address())])).start();
    assert_every_type(&gateway, "plc");
}

#[test]
fn every_type_and_order_is_read_from_libmodbus_over_a_serial_line() {
    let line = SerialLine::new();
    let server = Libmodbus::serial(&line.plc_end());
    assert!(server.address.ends_with("plc"));
    let gateway = Site::new(&json!([device("plc", "modbus-rtu", &line.address())])).start();
    assert_every_type(&gateway, "plc");
}

#[test]
fn every_type_and_order_is_read_over_rtu_in_tcp() {
    let plc = Plc::rtu_over_tcp(twin());
    fill(&plc);
    let gateway = Site::new(&json!([device("plc", "modbus-rtu", &plc.address())])).start();
    assert_every_type(&gateway, "plc");
}

#[test]
fn any_address_is_read_on_demand_without_being_a_tag() {
    let libmodbus = Libmodbus::tcp(&[]);
    let gateway =
        Site::new(&json!([{"id": "plc", "protocol": "modbus-tcp", "address": libmodbus.address}])).start();
    let ask =
        json!({"device_id": "plc", "tag_address": "40107", "data_type": "float32", "byte_order": "DCBA"});
    let answer = until("the device's actor to run", || {
        Some(gateway.post("/api/tags/read", &ask)).filter(|answer| answer.status != 503)
    });
    assert_eq!((answer.status, &answer.body["tags"][0]["value"]), (200, &json!(3.5)), "{}", answer.body);
    let answer = gateway.json("/api/tags/read?device_id=plc&tag_address=30008");
    assert_eq!(answer["tags"][0]["value"], 1007);
}

#[test]
fn what_is_no_number_is_bad_and_says_so_and_its_neighbours_are_good() {
    let libmodbus = Libmodbus::tcp(&[]);
    let tags = json!([
        {"id": "nan", "address": "holding:120", "data_type": "float32"},
        {"id": "next", "address": "holding:124"},
    ]);
    let device = json!({
        "id": "plc", "protocol": "modbus-tcp", "address": libmodbus.address, "poll_interval": "100ms",
        "tags": tags
    });
    let gateway = Site::new(&json!([device])).start();
    assert_eq!(gateway.await_quality("plc", "next", "GOOD")["value"], 124);
    let nan = until("a reason", || {
        Some(gateway.tag("plc", "nan")).filter(|tag| tag["quality_reason"] == "not a finite number")
    });
    assert_eq!((&nan["quality"], &nan["value"]), (&json!("BAD"), &Value::Null));
}

/// Units 1, 2 and 3 of pymodbus, and one that isn't there, over one connection.
fn units(protocol: &str, address: &str) -> Value {
    let unit = |id: u8| {
        json!({
            "id": format!("unit-{id}"), "protocol": protocol, "address": address, "unit_id": id,
            "poll_interval": "100ms", "timeout": "300ms",
            "tags": [{"id": "five", "address": "holding:5", "writable": true}]
        })
    };
    json!([unit(1), unit(2), unit(3), unit(9)])
}

#[test]
fn units_behind_one_address_have_their_own_memories_and_an_absent_one_harms_no_other() {
    let pymodbus = Pymodbus::tcp();
    let gateway = Site::new(&units("modbus-tcp", &pymodbus.address)).start();
    let absent = gateway.await_state("unit-9", "offline");
    assert!(absent["last_error"].as_str().unwrap().contains("0B"), "{absent}");
    assert_eq!(gateway.write("unit-2", "five", &json!(222))["status"], "ok");
    for (unit, value) in [("unit-1", 5), ("unit-2", 222), ("unit-3", 5)] {
        until(&format!("{unit} holds {value}"), || {
            (gateway.tag(unit, "five")["value"] == value).then_some(())
        });
        assert_eq!(gateway.stats(unit)["scans_failed"], 0, "{unit}");
    }
    let links = gateway.actor("links");
    assert_eq!(links["children"].as_array().unwrap().len(), 1, "{links}");
    assert_eq!(links["children"][0]["restarts"], 0);
}

#[test]
fn a_silent_unit_on_a_serial_line_is_left_alone_and_the_others_are_read() {
    let line = SerialLine::new();
    let _server = Pymodbus::serial(&line.plc_end());
    let gateway = Site::new(&units("modbus-rtu", &line.address())).start();
    gateway.await_state("unit-9", "offline");
    for unit in ["unit-1", "unit-2", "unit-3"] {
        assert_eq!(gateway.await_quality(unit, "five", "GOOD")["value"], 5);
        let before = gateway.stats(unit)["scans_total"].as_u64().unwrap();
        until(&format!("{unit} is read on"), || {
            (gateway.stats(unit)["scans_total"].as_u64().unwrap() > before + 5).then_some(())
        });
    }
    assert_eq!(gateway.device("unit-9")["connected"], false);
}
