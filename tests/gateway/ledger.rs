//! A command id is carried out once, however the gateway ends in between.

use std::{thread, time::Duration};

use bifrost_simulator::Fault;
use serde_json::{Value, json};

use crate::harness::{Gateway, Plc, Site, until_true};

fn site(plc: &Plc) -> std::sync::Arc<Site> {
    let device = json!({
        "id": "plc", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms",
        "timeout": "10s", "tags": [{"id": "speed", "address": "holding:2", "writable": true}]
    });
    Site::new(&json!([device]))
}

fn command(id: &str, value: u16) -> Value {
    json!({"device_id": "plc", "tag_id": "speed", "value": value, "command_id": id})
}

/// How many requests to write the PLC has had.
fn writes(plc: &Plc) -> u64 {
    [5, 6, 15, 16, 22, 23].iter().filter_map(|code| plc.stats().functions.get(code).copied()).sum()
}

fn assert_duplicate(gateway: &Gateway, id: &str, part: &str) {
    let answer = gateway.command(&command(id, 9));
    assert_eq!((&answer["status"], &answer["command_id"]), (&json!("duplicate"), &json!(id)), "{answer}");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("taken at 20") && error.contains(part), "{error}");
}

#[test]
fn an_id_that_was_answered_is_a_duplicate_after_kill_9_and_its_result_is_told() {
    let plc = Plc::counting();
    let site = site(&plc);
    let mut gateway = site.start();
    gateway.good_tags("plc");
    assert_eq!(gateway.command(&command("a", 7))["status"], "ok");
    assert_duplicate(&gateway, "a", "ended ok");
    // The result is noted after the answer; the ledger says when.
    until_true("the result on disk", || {
        let ledger = gateway.json("/api/actors/commands?detail=true");
        ledger["detail"]["writes"].as_u64() >= Some(2) && ledger["detail"]["waiting"] == 0
    });
    gateway.process.kill();
    let gateway = site.start();
    gateway.good_tags("plc");
    assert_duplicate(&gateway, "a", "ended ok");
    assert_eq!((writes(&plc), plc.memory().holding(2)), (1, Some(7)));
    assert!(gateway.stop().success());
    let gateway = site.start();
    assert_duplicate(&gateway, "a", "ended ok");
    assert_eq!(gateway.command(&command("b", 8))["status"], "ok");
    assert_eq!((writes(&plc), plc.memory().holding(2)), (2, Some(8)));
}

#[test]
fn an_id_whose_write_kill_9_cut_off_is_not_carried_out_again() {
    let plc = Plc::counting();
    let site = site(&plc);
    let mut gateway = site.start();
    gateway.good_tags("plc");
    plc.set_fault(Some(Fault::Silence));
    let url = format!("{}/api/tags/write", gateway.url);
    let asking = thread::spawn(move || {
        // Its end is the gateway's.
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build();
        ureq::Agent::from(agent)
            .post(&url)
            .header("authorization", format!("Bearer {}", crate::harness::identity::TOKEN))
            .send_json(command("a", 7))
            .is_ok()
    });
    until_true("the write at the PLC", || writes(&plc) == 1);
    gateway.process.kill();
    assert!(!asking.join().unwrap());
    plc.set_fault(None);
    let gateway = site.start();
    gateway.good_tags("plc");
    assert_duplicate(&gateway, "a", "before the gateway ended unasked; whether it was written isn't known");
    assert_eq!(writes(&plc), 1);
}

#[test]
fn a_damaged_ledger_is_set_aside_and_the_gateway_runs() {
    let plc = Plc::counting();
    let site = site(&plc);
    assert!(site.start().stop().success());
    let file = site.data_dir().join("commands.db");
    std::fs::write(&file, "no ledger".repeat(1000)).unwrap();
    let gateway = site.start();
    assert_eq!(gateway.command(&command("a", 7))["status"], "ok");
    assert!(gateway.event_types("").contains(&"command_ledger_damaged".to_owned()));
    let names = std::fs::read_dir(site.data_dir()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().any(|name| name.starts_with("commands.db.damaged-")));
}
