//! Dead letters and spools by REST.

use bifrost_actors::{
    broker::{CommandSettings, Kind, Outgoing, Request},
    commands::Protocol,
    dead_letters::{Bury, NewLetter},
    gateway::{BrokerKind, BrokerSettings},
    spool::SpoolSettings,
};
use bifrost_model::{TagClass, Timestamp};
use serde_json::{Value, json};

use crate::bench::Bench;

pub(crate) fn bury(bench: &Bench, session: &str, payload: &'static [u8]) {
    let message = Outgoing {
        topic: "bifrost/telemetry/plant-a/press-1".into(),
        payload: payload.into(),
        kind: Kind::Telemetry,
        class: TagClass::Telemetry,
        retain: false,
        device: "press-1".into(),
        seq: 1,
        values: 1,
        part: "".into(),
        made: Timestamp::now(),
        historical: false,
    };
    let letter = NewLetter::message(session.into(), "refused by the broker: 135", message);
    bench.gateway.dead_letters().unwrap().bury.try_send(Bury(letter)).unwrap();
}

/// A command as a session hands it over.
fn command(bench: &Bench, payload: &Value) -> Value {
    let answering = bench.gateway.commands().answering(Protocol::Mqtt, CommandSettings::default());
    let request = Request {
        session: "plant".into(),
        topic: "bifrost/commands/plant-a/press-1/write".into(),
        device_id: Some("press-1".to_owned()),
        verb: "write".to_owned(),
        payload: payload.to_string().into(),
        wants_reply: true,
    };
    let reply = actix::System::new().block_on(answering(request));
    serde_json::from_slice(&reply.payload).unwrap()
}

fn ids(list: &Value) -> Vec<u64> {
    list["letters"].as_array().unwrap().iter().map(|letter| letter["id"].as_u64().unwrap()).collect()
}

#[test]
fn letters_are_listed_newest_first_in_pages_and_by_session() {
    let bench = Bench::start();
    for n in 0..5 {
        bury(&bench, if n % 2 == 0 { "cloud" } else { "plant" }, b"{}");
    }
    let all = bench.get("/api/dead-letters").ok();
    assert_eq!((ids(&all), &all["total"], &all["lost"]), (vec![5, 4, 3, 2, 1], &json!(5), &json!(0)));
    let mut path = "/api/dead-letters?limit=2&session=cloud".to_owned();
    let first = bench.get(&path).ok();
    assert_eq!((ids(&first), &first["total"], &first["count"]), (vec![5, 3], &json!(3), &json!(2)));
    path = format!("{path}&cursor={}", first["next_cursor"].as_str().unwrap());
    let last = bench.get(&path).ok();
    assert_eq!((ids(&last), last.get("next_cursor")), (vec![1], None));
    bench.get("/api/dead-letters?limit=0").problem(400, "invalid-query");
    bench.get("/api/dead-letters?cursor=YWJj").problem(400, "invalid-query");
    let alarms = bench.until("/api/alarms?active=true", |alarms| alarms["total"] == 2);
    assert!(alarms.to_string().contains("dead_letters/plant"), "{alarms}");
}

#[test]
fn a_payload_is_shown_as_json_or_in_base64_and_left_out_of_lists_when_it_is_long() {
    let bench = Bench::start();
    bury(&bench, "cloud", br#"{"value":25.4}"#);
    bury(&bench, "cloud", b"\xFF\x00");
    let long = format!("[{}1]", "1,".repeat(3000)).into_bytes().leak();
    bury(&bench, "cloud", long);
    let list = bench.get("/api/dead-letters").ok();
    let [long, bytes, json] = [0, 1, 2].map(|n| list["letters"][n].clone());
    assert_eq!((&json["payload"], &json["payload_bytes"]), (&json!({"value": 25.4}), &json!(14)));
    assert_eq!((&bytes["payload_base64"], bytes.get("payload")), (&json!("/wA="), None));
    assert_eq!((long.get("payload"), &long["payload_bytes"]), (None, &json!(6003)));
    let whole = bench.get("/api/dead-letters/3").ok();
    assert_eq!(whole["payload"].as_array().unwrap().len(), 3001);
    for (key, value) in [
        ("session", "cloud"),
        ("kind", "message"),
        ("topic", "bifrost/telemetry/plant-a/press-1"),
        ("reason", "refused by the broker: 135"),
        ("device_id", "press-1"),
    ] {
        assert_eq!(whole[key], value);
    }
}

#[test]
fn letters_are_deleted_one_by_one_by_session_or_all() {
    let bench = Bench::start();
    for session in ["cloud", "cloud", "plant", "plant", "edge"] {
        bury(&bench, session, b"{}");
    }
    assert_eq!(bench.delete("/api/dead-letters/1").ok(), json!({"deleted": 1}));
    bench.delete("/api/dead-letters/1").problem(404, "unknown-letter");
    bench.get("/api/dead-letters/1").problem(404, "unknown-letter");
    bench.get("/api/dead-letters/first").problem(404, "unknown-letter");
    assert_eq!(bench.delete("/api/dead-letters?session=plant").ok(), json!({"deleted": 2}));
    assert_eq!(ids(&bench.get("/api/dead-letters").ok()), [5, 2]);
    bench.delete("/api/dead-letters?sesion=edge").problem(400, "invalid-query");
    assert_eq!(bench.delete("/api/dead-letters").ok(), json!({"deleted": 2}));
    bench.until("/api/alarms?active=true", |alarms| alarms["total"] == 0);
}

#[test]
fn a_command_that_nobody_understood_is_replayed_once_it_can_be() {
    let mqtt = serde_json::from_value(json!({"broker": "mqtt://127.0.0.1:1"})).unwrap();
    let kind = BrokerKind::Mqtt(Box::new(mqtt));
    let plant = BrokerSettings { name: "plant".to_owned(), kind, spool: SpoolSettings::default() };
    let bench = Bench::with_brokers(bifrost::api::ApiSettings::default(), vec![plant], |_| Vec::new());
    let order = json!({"command_id": "c-1", "tag_id": "speed", "value": 42});
    assert_eq!(command(&bench, &order)["status"], "rejected");
    let problem = bench.post("/api/dead-letters/1/replay", &json!(null)).problem(409, "replay-refused");
    assert!(problem["detail"].as_str().unwrap().contains("press-1"), "{problem}");
    let device = crate::bench::press("press-1", bench.plc_address());
    assert_eq!(bench.post("/api/devices", &device).status, 201);
    bench.until_online("press-1");
    let replayed = bench.post("/api/dead-letters/1/replay", &json!(null)).ok();
    assert_eq!((&replayed["outcome"], &replayed["answer"]["status"]), (&json!("answered"), &json!("ok")));
    assert_eq!(bench.plc.memory().holding(0), Some(42));
    bench.post("/api/dead-letters/1/replay", &json!(null)).problem(404, "unknown-letter");
}

#[test]
fn a_message_of_a_session_that_is_not_there_stays() {
    let bench = Bench::start();
    bury(&bench, "gone", b"{}");
    let problem = bench.post("/api/dead-letters/1/replay", &json!(null)).problem(503, "not-ready");
    assert!(problem["detail"].as_str().unwrap().contains("gone"), "{problem}");
    assert_eq!(bench.get("/api/dead-letters").ok()["total"], 1);
}

#[test]
fn a_stopped_store_is_not_ready() {
    let bench = Bench::start();
    assert_eq!(bench.post("/api/actors/dead_letters/stop", &json!(null)).status, 202);
    bench.get("/api/dead-letters").problem(503, "not-ready");
    bench.delete("/api/dead-letters/1").problem(503, "not-ready");
    assert_eq!(bench.post("/api/actors/dead_letters/start", &json!(null)).status, 202);
    bench.until("/api/dead-letters", |list| list["total"] == 0);
}

#[test]
fn without_brokers_there_are_no_spools() {
    let bench = Bench::start();
    assert_eq!(bench.get("/api/spool").ok(), json!({"spools": [], "count": 0}));
}
