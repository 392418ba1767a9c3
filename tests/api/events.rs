//! What happened, and what needs attention.

use std::collections::HashSet;

use bifrost_model::{Event, Severity};
use serde_json::{Value, json};

use crate::bench::Bench;

fn messages(list: &Value) -> Vec<String> {
    list["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn events_come_newest_first_in_pages() {
    let bench = Bench::start();
    for number in 1..=5 {
        bench.gateway.events().record(Event::new("mill", "tested", Severity::Info, number.to_string()));
    }
    let path = "/api/events?device_id=mill&limit=2";
    let first = bench.until(path, |list| list["events"][0]["message"] == "5");
    assert_eq!((messages(&first), &first["count"]), (vec!["5".to_owned(), "4".to_owned()], &json!(2)));
    let event = &first["events"][0];
    assert_eq!(
        (&event["event_type"], &event["severity"], &event["device_id"]),
        (&json!("tested"), &json!("info"), &json!("mill"))
    );
    bench.gateway.events().record(Event::new("mill", "tested", Severity::Info, "6"));
    let mut seen: Vec<String> = messages(&first);
    let mut cursor = first["next_cursor"].clone();
    while let Some(end) = cursor.as_str() {
        let page = bench.get(&format!("{path}&cursor={end}")).ok();
        seen.extend(messages(&page));
        cursor = page["next_cursor"].clone();
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
    bench.get("/api/events?cursor=YWJj").problem(400, "invalid-query");
}

#[test]
fn alarms_are_listed_acknowledged_and_filtered() {
    let bench = Bench::start();
    let events = bench.gateway.events();
    events.raise("mill/hot 1", "too_hot", Severity::Critical, "mill", "too hot");
    events.raise("mill/cold", "too_cold", Severity::Warning, "mill", "too cold");
    events.clear("mill/cold", "too_cold", "mill", "warm again");
    let list = bench.until("/api/alarms", |list| list["total"] == 2 && list.to_string().contains("cleared"));
    assert_eq!(list["count"], 2);
    let active = bench.get("/api/alarms?active=true").ok();
    assert_eq!((&active["total"], &active["alarms"][0]["alarm_id"]), (&json!(1), &json!("mill/hot 1")));
    assert_eq!(active["alarms"][0]["acknowledged"], false);
    let answer = bench.post("/api/alarms/mill%2Fhot%201/acknowledge", &json!(null)).ok();
    assert_eq!(answer, json!({"alarm_id": "mill/hot 1", "acknowledged": true}));
    bench.until("/api/alarms?active=true", |list| list["alarms"][0]["acknowledged"] == true);
    bench.post("/api/alarms/none/acknowledge", &json!(null)).problem(404, "unknown-alarm");
}

#[test]
fn alarms_come_in_pages() {
    let bench = Bench::start();
    for number in 0..5 {
        let id = format!("alarm {number}");
        bench.gateway.events().raise(&id, "tested", Severity::Warning, "mill", "tested");
    }
    bench.until("/api/alarms", |list| list["total"] == 5);
    let mut path = "/api/alarms?limit=2".to_owned();
    let (mut seen, mut pages) = (HashSet::new(), 0);
    loop {
        let page = bench.get(&path).ok();
        pages += 1;
        seen.extend(page["alarms"].as_array().unwrap().iter().map(|alarm| alarm["alarm_id"].to_string()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/alarms?limit=2&cursor={cursor}");
    }
    assert_eq!((seen.len(), pages), (5, 3));
}
