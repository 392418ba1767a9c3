//! What a broker refuses for good: kept with the reason, sent after all, and in nobody's way.

use std::{fs, sync::Arc};

use bifrost_model::DataType;
use bifrost_simulator::{PlcSettings, Signal, Table, Wave};
use serde_json::{Value, json};

use crate::{
    brokers::{Heard, Mosquitto, MqttWatcher, Publication, mqtt_publish},
    harness::{Gateway, Plc, Site, until, until_true},
};

const OPEN: &str = "bifrost/telemetry/plant-test/open";
const SECRET: &str = "bifrost/telemetry/plant-test/secret";

fn device(id: &str, plc: &Plc, tags: u16) -> Value {
    let tags: Vec<_> =
        (0..tags).map(|n| json!({"id": format!("tag-{n}"), "address": format!("holding:{n}")})).collect();
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "200ms", "tags": tags
    })
}

fn letters(gateway: &Gateway) -> Vec<Value> {
    gateway.json("/api/dead-letters?limit=1000")["letters"].as_array().unwrap().clone()
}

/// Those on this topic, the oldest first.
fn letters_on(gateway: &Gateway, topic: &str) -> Vec<Value> {
    letters(gateway).into_iter().rev().filter(|letter| letter["topic"] == topic).collect()
}

fn numbers(watcher: &MqttWatcher, topic: &str) -> Vec<u64> {
    let heard = watcher.so_far();
    heard
        .iter()
        .filter(|heard| heard.topic() == topic)
        .map(|heard| heard.json()["seq"].as_u64().unwrap())
        .collect()
}

#[track_caller]
fn assert_no_gap(numbers: &[u64]) {
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

/// A broker that refuses what one device says, and a gateway with that device and another.
fn refusing(more: Value) -> (Mosquitto, MqttWatcher, Plc, Arc<Site>) {
    let gateway = format!("topic readwrite bifrost/#\ntopic deny {SECRET}");
    let users = [("gateway", "secret", gateway.as_str()), ("watcher", "secret", "topic read #")];
    // Without a bound mosquitto 2.0.11 ends a connection on which it has refused something.
    let broker = Mosquitto::with_users(&users, "max_queued_messages 100000\n");
    let password = broker.folder().join("password");
    fs::write(&password, "secret\n").unwrap();
    let watcher = MqttWatcher::as_user(broker.port, "#", ("watcher", "secret"));
    let plc = Plc::counting();
    let mut messaging = json!({"mqtt": {
        "broker": broker.url(), "username": "gateway", "password_file": password, "qos": 1
    }});
    if let (Value::Object(messaging), Value::Object(more)) = (&mut messaging, more) {
        messaging.extend(more);
    }
    let devices = json!([device("open", &plc, 3), device("secret", &plc, 3)]);
    let site = Site::with(&json!({"messaging": messaging}), &devices);
    (broker, watcher, plc, site)
}

#[test]
fn what_the_broker_does_not_allow_is_a_dead_letter_and_goes_when_it_is_allowed() {
    let (mut broker, watcher, _plc, site) = refusing(json!({}));
    let gateway = site.start();
    let refused =
        until("dead letters", || Some(letters_on(&gateway, SECRET)).filter(|found| found.len() >= 3));
    let letter = &refused[0];
    assert!(letter["reason"].as_str().unwrap().contains("135"), "{letter}");
    assert_eq!((&letter["session"], &letter["device_id"]), (&json!("mqtt"), &json!("secret")), "{letter}");
    let (about_open, about_secret) =
        (|heard: &Heard| heard.topic() == OPEN, |heard: &Heard| heard.topic() == SECRET);
    watcher.await_messages(10, about_open);
    assert_no_gap(&numbers(&watcher, OPEN));
    assert_eq!(watcher.count(about_secret), 0);
    let spool = gateway.json("/api/spool");
    assert_eq!(spool["spools"][0]["dropped"]["messages"], 0, "{spool}");

    let rules = broker.folder().join("rules");
    let mended = fs::read_to_string(&rules).unwrap().replace(&format!("topic deny {SECRET}\n"), "");
    fs::write(&rules, mended).unwrap();
    broker.stop();
    broker.restart();
    watcher.find("what was refused before", about_secret);
    let id = letter["id"].as_u64().unwrap();
    let whole = gateway.json(&format!("/api/dead-letters/{id}"));
    let scan: Value = match &whole["payload"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    let replayed = gateway.post(&format!("/api/dead-letters/{id}/replay"), &Value::Null);
    assert_eq!((replayed.status, &replayed.body["outcome"]), (200, &json!("queued")), "{replayed:?}");
    let late = watcher.find("the letter", |heard| about_secret(heard) && heard.json()["seq"] == scan["seq"]);
    assert_eq!(late.json()["is_historical"], true);
    assert_eq!(late.json()["values"], scan["values"]);
    assert_eq!(gateway.get(&format!("/api/dead-letters/{id}")).status, 404);
    assert_eq!(gateway.post(&format!("/api/dead-letters/{id}/replay"), &Value::Null).status, 404);

    let left = letters_on(&gateway, SECRET);
    let next = left[0]["id"].as_u64().unwrap();
    let deleted = gateway.ask("DELETE", &format!("/api/dead-letters/{next}"), &Value::Null);
    assert_eq!((deleted.status, &deleted.body["deleted"]), (200, &json!(1)));
    let deleted = gateway.ask("DELETE", "/api/dead-letters?session=mqtt", &Value::Null);
    assert_eq!((deleted.status, deleted.body["deleted"].as_u64()), (200, Some(left.len() as u64 - 1)));
    assert_eq!(gateway.json("/api/dead-letters")["total"], 0);
}

#[test]
fn a_letter_that_is_refused_again_is_one_again() {
    let (_broker, _watcher, _plc, site) = refusing(json!({}));
    let gateway = site.start();
    let first = until("a dead letter", || letters_on(&gateway, SECRET).into_iter().next());
    let (id, seq) = (first["id"].as_u64().unwrap(), seq(&gateway, &first));
    assert_eq!(gateway.post(&format!("/api/dead-letters/{id}/replay"), &Value::Null).status, 200);
    let again = until("it again", || {
        letters_on(&gateway, SECRET)
            .into_iter()
            .find(|letter| letter["id"] != id && self::seq(&gateway, letter) == seq)
    });
    assert!(again["reason"].as_str().unwrap().contains("135"));
}

/// The number of the scan that a letter is of.
fn seq(gateway: &Gateway, letter: &Value) -> u64 {
    let answer = gateway.get(&format!("/api/dead-letters/{}", letter["id"]));
    let payload = &answer.body["payload"];
    let payload =
        payload.as_str().map_or_else(|| payload.clone(), |text| serde_json::from_str(text).unwrap());
    payload["seq"].as_u64().unwrap()
}

#[test]
fn dead_letters_are_bounded_and_the_newest_stay() {
    let (_broker, watcher, _plc, site) = refusing(json!({"dead_letters": {"max_messages": 5}}));
    let gateway = site.start();
    let full = until("letters that made room", || {
        let listed = gateway.json("/api/dead-letters");
        (listed["made_room"].as_u64() >= Some(10)).then_some(listed)
    });
    assert_eq!((&full["total"], &full["lost"]), (&json!(5), &json!(0)), "{full}");
    let numbers: Vec<_> = letters(&gateway).iter().map(|letter| letter["id"].as_u64().unwrap()).collect();
    assert!(numbers.len() == 5 && numbers.iter().all(|id| *id > 10), "{numbers:?}");
    watcher.await_messages(10, |heard| heard.topic() == OPEN);
}

#[test]
fn letters_are_kept_over_a_restart() {
    let (_broker, _watcher, _plc, site) = refusing(json!({}));
    let gateway = site.start();
    until_true("dead letters", || letters_on(&gateway, SECRET).len() >= 3);
    let before = letters_on(&gateway, SECRET);
    assert!(gateway.stop().success());
    let gateway = site.start();
    let after = letters_on(&gateway, SECRET);
    assert!(after.starts_with(&before), "{before:?}, then {after:?}");
}

#[test]
fn what_is_too_large_for_the_broker_is_a_dead_letter_and_the_rest_goes_on() {
    let broker = Mosquitto::with(|_| "allow_anonymous true\nmax_packet_size 1500\n".to_owned());
    let watcher = MqttWatcher::everything(broker.port);
    let signal = |n| Signal::new(Table::Holding, n, DataType::Uint16, Wave::Constant { value: 60_000.0 });
    let plc = Plc::tcp(PlcSettings { signals: (0..100).map(signal).collect(), ..PlcSettings::default() });
    let devices = json!([device("wide", &plc, 100), device("narrow", &plc, 3)]);
    let sections = json!({"messaging": {"mqtt": {"broker": broker.url(), "qos": 1}}});
    let site = Site::with(&sections, &devices);
    let gateway = site.start();
    let (wide, narrow) = ("bifrost/telemetry/plant-test/wide", "bifrost/telemetry/plant-test/narrow");
    let refused = until("dead letters", || Some(letters_on(&gateway, wide)).filter(|found| found.len() >= 3));
    assert!(refused.iter().all(|letter| letter["reason"].as_str().unwrap().contains("1500")), "{refused:?}");
    watcher.await_messages(10, |heard| heard.topic() == narrow);
    assert_no_gap(&numbers(&watcher, narrow));
    assert!(numbers(&watcher, wide).is_empty());
    let session = gateway.actor("brokers/mqtt/session");
    assert_eq!((&session["state"], &session["restarts"]), (&json!("running"), &json!(0)), "{session}");
}

#[test]
fn a_command_that_nobody_understands_is_a_dead_letter_that_can_be_tried_again() {
    let (broker, plc) = (Mosquitto::start(), Plc::counting());
    let watcher = MqttWatcher::everything(broker.port);
    let sections = json!({"messaging": {"mqtt": {"broker": broker.url()}}});
    let site = Site::with(&sections, &json!([device("plc", &plc, 1)]));
    let gateway = site.start();
    watcher.find("the gateway online", |heard| heard.topic().ends_with("/gateway/status"));
    let topic = "bifrost/commands/plant-test/plc/write";
    mqtt_publish(broker.port, &Publication { topic, payload: "{oops", qos: 1, ..Publication::default() });
    let letter = until("a dead letter", || letters(&gateway).pop());
    assert_eq!((&letter["topic"], &letter["session"]), (&json!(topic), &json!("mqtt")), "{letter}");
    assert!(!letter["reason"].as_str().unwrap().is_empty());
    let replayed = gateway.post(&format!("/api/dead-letters/{}/replay", letter["id"]), &Value::Null);
    assert_eq!(replayed.status, 409, "{replayed:?}");
    assert_eq!(letters(&gateway).len(), 1, "it stays, once");
    let told = watcher.find("its result", |heard| heard.topic().ends_with("/plc/command_result"));
    assert_eq!(told.json()["status"], "rejected");
}
