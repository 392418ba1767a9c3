//! The description names what is served, and describes what is really sent.

use std::collections::{BTreeMap, BTreeSet};

use bifrost::api;
use bifrost_actors::spool::{
    Depth, DroppedReport, LastDrop, PendingRange, ReplayReport, SpoolReport, SpoolState,
};
use bifrost_model::{Severity, Timestamp};
use serde_json::{Value, json};

use crate::bench::Bench;

fn description() -> Value {
    serde_json::to_value(api::description()).unwrap()
}

fn operations(description: &Value) -> BTreeMap<(String, String), Value> {
    let paths = description["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| ((method.to_uppercase(), path.clone()), operation.clone()))
    });
    operations.collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let described: BTreeSet<_> = operations(&description()).into_keys().collect();
    let served: BTreeSet<_> =
        api::routes().into_iter().map(|(method, path)| (method.to_string(), path.to_owned())).collect();
    assert_eq!(described, served);
}

#[test]
fn every_described_route_is_served() {
    let bench = Bench::start();
    for (method, path) in operations(&description()).into_keys() {
        let path =
            path.replace("{id}", "nobody").replace("{path}", "devices/nobody").replace("{action}", "stop");
        let answer = match method.as_str() {
            "GET" => bench.get(&path),
            "POST" if path == "/api/config/reload" => continue,
            "POST" => bench.post(&path, &json!({})),
            "PUT" => bench.put(&path, &json!({})),
            _ => bench.delete(&path),
        };
        assert!(![405, 500].contains(&answer.status), "{method} {path}: {answer:?}");
        assert!(!answer.body.contains("unknown-path"), "{method} {path}: {answer:?}");
    }
}

#[test]
fn it_is_openapi_3_1_and_complete_in_itself() {
    let bench = Bench::start();
    let served = bench.get("/api/openapi.json").ok();
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut references = Vec::new();
    collect_references(&served, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(served.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(json: &Value, into: &mut Vec<String>) {
    match json {
        Value::Object(object) => {
            into.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}

#[test]
fn every_operation_has_a_name_a_text_and_problems() {
    let description = description();
    let operations = operations(&description);
    let names: BTreeSet<_> =
        operations.values().map(|operation| operation["operationId"].to_string()).collect();
    assert_eq!(names.len(), operations.len());
    for (route, operation) in &operations {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{route:?}");
        let problem = operation.pointer("/responses/default/content/application~1problem+json/schema/$ref");
        assert_eq!(problem, Some(&json!("#/components/schemas/Problem")), "{route:?}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(status.as_str() < "4" || response["content"].is_object(), "{route:?} {status}");
        }
    }
}

/// Compares what was sent with a schema: no key that isn't described, none missing that is required.
#[track_caller]
fn fits(description: &Value, schema: &str, sent: &Value) {
    let schema = &description["components"]["schemas"][schema];
    let mut described = BTreeSet::new();
    let mut required = BTreeSet::new();
    gather(description, schema, &mut described, &mut required);
    let keys: BTreeSet<String> = sent.as_object().expect("an object").keys().cloned().collect();
    assert!(keys.is_subset(&described), "not described: {:?}", keys.difference(&described));
    assert!(required.is_subset(&keys), "required and not sent: {:?}", required.difference(&keys));
}

fn gather(
    description: &Value,
    schema: &Value,
    described: &mut BTreeSet<String>,
    required: &mut BTreeSet<String>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let inner = description.pointer(reference.trim_start_matches('#')).unwrap();
        return gather(description, inner, described, required);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(description, part, described, required);
    }
    described.extend(schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
    let names = schema["required"].as_array().into_iter().flatten();
    required.extend(names.map(|name| name.as_str().unwrap().to_owned()));
}

#[test]
fn what_is_sent_is_what_is_described() {
    let bench = Bench::start();
    bench.until_online("press-1");
    bench.gateway.events().raise("hot", "too_hot", Severity::Warning, "press-1", "too hot");
    let alarms = bench.until("/api/alarms", |list| list["total"] == 1);
    let events = bench.until("/api/events", |list| list["count"] != 0);
    let description = description();
    let fits = |schema: &str, sent: &Value| fits(&description, schema, sent);
    let device = bench.get("/api/devices/press-1").ok();
    fits("DeviceDetail", &device);
    fits("DeviceSettings", &device["settings"]);
    fits("TagSettings", &device["settings"]["tags"][0]);
    fits("DeviceList", &bench.get("/api/devices").ok());
    fits("DeviceInfo", &bench.get("/api/devices/press-1/info").ok());
    fits("DeviceStats", &bench.get("/api/devices/press-1/stats").ok());
    let tags = bench.get("/api/devices/press-1/tags").ok();
    fits("TagList", &tags);
    fits("Tag", &tags["tags"][0]);
    let missing = bench.get("/api/tags/read?device_id=press-1&tag_address=holding:5000").ok();
    fits("Tag", &missing["tags"][0]);
    fits("AlarmList", &alarms);
    fits("Alarm", &alarms["alarms"][0]);
    fits("EventList", &events);
    fits("Event", &events["events"][0]);
    let tree = bench.get("/api/actors/devices/press-1?detail=true").ok();
    fits("Actor", &tree);
    fits("Mailbox", &tree["mailbox"]);
    let order = json!({"device_id": "press-1", "tag_id": "speed", "value": 1, "read_back": true});
    fits("CommandResult", &bench.post("/api/tags/write", &order).ok());
    let mut settings = device["settings"].clone();
    settings["timeout"] = json!("1s");
    let changed = bench.put("/api/devices/press-1", &settings).ok();
    fits("DeviceChanged", &changed);
    fits("Changes", &changed["changes"]);
    fits("Change", &changed["changes"]["changed"][0]);
    crate::letters::bury(&bench, "cloud", b"{}");
    let letters = bench.get("/api/dead-letters").ok();
    fits("LetterList", &letters);
    fits("LetterRow", &letters["letters"][0]);
    fits("LettersDeleted", &bench.delete("/api/dead-letters").ok());
    fits("LetterReplayed", &json!({"id": 1, "outcome": "queued"}));
    fits("SpoolList", &bench.get("/api/spool").ok());
    let spool = serde_json::to_value(spool()).unwrap();
    fits("Spool", &spool);
    fits("SpoolDepth", &spool["depth"]);
    fits("SpoolDrops", &spool["dropped"]);
    fits("SpoolDrop", &spool["dropped"]["last"]);
    fits("PendingRange", &spool["pending"][0]);
    fits("SpoolReplay", &spool["replay"]);
    fits("Health", &bench.get("/health").ok());
    fits("Problem", &bench.get("/api/devices?limit=0").json());
}

fn spool() -> SpoolReport {
    let last = LastDrop { reason: "full".to_owned(), at: Timestamp::now() };
    SpoolReport {
        session: "cloud".into(),
        state: SpoolState::Live,
        connected: true,
        depth: Depth { memory_messages: 1, memory_bytes: 2, disk_messages: 3, disk_values: 4, disk_bytes: 5 },
        in_flight: 1,
        oldest: None,
        dropped: DroppedReport { messages: 1, values: 2, last: Some(last) },
        written_bytes_per_value: None,
        pending: vec![PendingRange { device_id: "press-1".into(), from: 1, to: 2 }],
        pending_truncated: false,
        replay: ReplayReport { active: false, values_per_second: 1000 },
        disk_error: None,
    }
}
