//! The live feed: what a subscriber gets, how it chooses, and what becomes of one that doesn't keep up.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::harness::{
    Feed, Gateway, PATIENCE, Plc, Recorder, Site, assert_no_gap, chatty, numbers, until, until_true,
};

fn device(id: &str, plc: &Plc) -> Value {
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "50ms",
        "tags": [
            {"id": "every", "address": "holding:1"},
            {"id": "moved", "address": "holding:2", "deadband": 0.5},
        ]
    })
}

/// Two devices that are online, and their PLC.
fn start() -> (Gateway, Plc) {
    let plc = Plc::counting();
    let quick = json!({"supervision": {"plc_link": {"max_delay": "500ms", "parked_retry": "500ms"}}});
    let gateway = Site::with(&quick, &json!([device("a", &plc), device("b", &plc)])).start();
    gateway.good_tags("a");
    gateway.good_tags("b");
    (gateway, plc)
}

fn ids(frames: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let tags = frames.iter().filter(|frame| frame["type"] == "tag_update");
    let mut ids: Vec<_> = tags.map(|frame| (text(&frame["device_id"]), text(&frame["tag"]["id"]))).collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn a_new_subscriber_first_gets_the_last_known_value_of_every_tag() {
    let (gateway, plc) = start();
    let mut feed = gateway.feed(json!({}));
    // What hasn't moved comes only as a first value: its register is constant.
    let first: Vec<_> = (0..4).map(|_| feed.next()).collect();
    let expected = [("a", "every"), ("a", "moved"), ("b", "every"), ("b", "moved")];
    assert_eq!(ids(&first), expected.map(|(device, tag)| (device.to_owned(), tag.to_owned())), "{first:?}");
    for frame in &first {
        let value = if frame["tag"]["id"] == "every" { 1001 } else { 1002 };
        assert_eq!((&frame["tag"]["value"], &frame["tag"]["quality"]), (&json!(value), &json!("GOOD")));
        assert_eq!(frame["tag"]["device_id"], frame["device_id"]);
    }
    let later = feed.gather(Duration::from_millis(400));
    assert!(ids(&later).iter().all(|(_, tag)| tag == "every"), "{later:?}");
    // Until it moves.
    assert!(plc.memory().set_holding(2, 77));
    let moved = feed.find("the moved value", |frame| frame["tag"]["id"] == "moved");
    assert_eq!(moved["tag"]["value"], 77);
}

#[test]
fn devices_and_tags_are_chosen_and_chosen_anew() {
    let (gateway, _plc) = start();
    let mut feed = gateway.feed(json!({"devices": ["b"], "tags": ["every", "nothing"]}));
    let heard = feed.gather(Duration::from_millis(500));
    assert_eq!(ids(&heard), [("b".to_owned(), "every".to_owned())]);
    assert!(heard.len() >= 3, "{heard:?}");
    assert!(heard.iter().all(|frame| frame["type"] == "tag_update"), "{heard:?}");

    feed.subscribe(json!({"devices": ["a"]}));
    feed.find("device a", |frame| frame["device_id"] == "a");
    let heard = feed.gather(Duration::from_millis(300));
    assert!(ids(&heard).iter().all(|(device, _)| device == "a"), "{heard:?}");
}

#[test]
fn after_unsubscribing_nothing_comes_and_the_client_stays() {
    let (gateway, _plc) = start();
    let mut feed = gateway.feed(json!({}));
    feed.of_type("tag_update");
    feed.send(r#"{"type":"unsubscribe"}"#);
    feed.send(r#"{"type":"ping"}"#);
    feed.of_type("pong");
    // One that was being written may still come; then scans go by without a word.
    let scans = || gateway.stats("a")["scans_total"].as_u64().unwrap();
    let before = scans();
    let _ = feed.gather(Duration::from_millis(50));
    until_true("more scans", || scans() > before + 5);
    assert_eq!(feed.gather(Duration::from_millis(200)), Vec::<Value>::new());
    feed.subscribe(json!({}));
    feed.of_type("tag_update");
}

#[test]
fn max_rate_hz_bounds_the_updates_of_a_tag_and_is_no_lag() {
    let (gateway, _plc) = start();
    let mut feed = gateway.feed(json!({"devices": ["a"], "tags": ["every"], "max_rate_hz": 2}));
    feed.of_type("tag_update");
    let began = Instant::now();
    let heard = feed.gather(Duration::from_secs(3));
    let most = began.elapsed().as_secs_f64() * 2.0 + 1.5;
    let count = heard.len();
    assert!((2.0..=most).contains(&f64::from(u32::try_from(count).unwrap())), "{count} of at most {most}");
    assert!(heard.iter().all(|frame| frame["type"] == "tag_update"), "{heard:?}");
    let seqs = numbers(&heard, "a");
    assert!(seqs.windows(2).all(|pair| pair[1] > pair[0] + 2), "scans are left out: {seqs:?}");
}

#[test]
fn a_rate_holds_back_updates_but_no_answer_no_status_and_no_later_subscription() {
    let (gateway, plc) = start();
    let topics = json!(["device_data", "device_status"]);
    // The second round of updates would come in a quarter of an hour.
    let mut feed = gateway.feed(json!({"topics": topics, "devices": ["a"], "max_rate_hz": 0.001}));
    feed.of_type("tag_update");
    let scans = || gateway.stats("a")["scans_total"].as_u64().unwrap();
    let before = scans();
    until_true("updates that wait", || scans() > before + 5);
    feed.send(r#"{"type":"ping"}"#);
    feed.of_type("pong");
    plc.switch_off();
    feed.find("the status", |frame| frame["type"] == "device_status" && frame["state"] == "offline");
    feed.subscribe(json!({"devices": ["b"]}));
    feed.find("device b", |frame| frame["type"] == "tag_update" && frame["device_id"] == "b");
}

#[test]
fn who_subscribes_while_there_is_no_router_is_served_when_there_is_one() {
    let (gateway, _plc) = start();
    let order = |action: &str| {
        let answer = gateway.post(&format!("/api/actors/router/{action}"), &Value::Null);
        assert_eq!(answer.status, 202, "{action}: {}", answer.body);
    };
    order("stop");
    let mut feed = gateway.feed(json!({"tags": ["every"]}));
    feed.send(r#"{"type":"ping"}"#);
    // Requests are taken in order: the subscription was tried.
    assert_eq!(feed.next(), json!({"type": "pong"}));
    order("start");
    feed.of_type("tag_update");
}

#[test]
fn in_batches_the_tags_of_a_scan_come_together() {
    let (gateway, _plc) = start();
    let mut feed = gateway.feed(json!({"batch": true, "devices": ["a"]}));
    let first = feed.next();
    assert_eq!((&first["type"], &first["device_id"]), (&json!("tag_updates"), &json!("a")));
    // More may have come until the first frame was written.
    let first_two = [&first["tags"][0]["id"], &first["tags"][1]["id"]];
    assert_eq!(first_two, ["every", "moved"], "{first}");
    let heard = feed.gather(Duration::from_millis(300));
    assert!(!heard.is_empty() && heard.iter().all(|frame| frame["type"] == "tag_updates"), "{heard:?}");
    assert_no_gap(&numbers(&heard, "a"));
}

#[test]
fn statuses_events_and_alarms_come_to_those_who_asked() {
    let plc = Plc::counting();
    let strict = json!({"supervision": {"plc_link": {
        "initial_delay": "10ms", "max_delay": "50ms", "budget": 2, "parked_retry": "300ms"
    }}});
    let gateway = Site::with(&strict, &json!([device("a", &plc)])).start();
    gateway.good_tags("a");
    let mut feed = gateway.feed(json!({"topics": ["device_status", "events", "alarms"]}));
    let mut data = gateway.feed(json!({}));
    let status = feed.of_type("device_status");
    assert_eq!((&status["device_id"], &status["connected"]), (&json!("a"), &json!(true)), "{status}");
    let mut others = Recorder::start(feed);
    plc.switch_off();
    let wait = |others: &Recorder, what: &str, passes: &dyn Fn(&Value) -> bool| {
        until(what, || others.so_far().into_iter().find(|frame| passes(frame)))
    };
    let status = wait(&others, "the status", &|frame| frame["state"] == "offline");
    assert_eq!((&status["type"], &status["connected"]), (&json!("device_status"), &json!(false)));
    let event = wait(&others, "the event", &|frame| frame["event_type"] == "device_disconnected");
    assert_eq!((&event["type"], &event["severity"]), (&json!("event"), &json!("warning")), "{event}");
    let alarm = wait(&others, "the alarm", &|frame| frame["type"] == "alarm");
    assert_eq!(
        (&alarm["state"], &alarm["alarm_type"]),
        (&json!("active"), &json!("actor_failed")),
        "{alarm}"
    );
    let listed = gateway.json("/api/alarms?active=true");
    assert_eq!(listed["alarms"][0]["alarm_id"], alarm["alarm_id"], "{listed}");
    plc.switch_on();
    wait(&others, "the alarm's end", &|frame| frame["type"] == "alarm" && frame["state"] == "cleared");
    assert_eq!(gateway.json("/api/alarms?active=true")["count"], 0);
    assert!(others.so_far().iter().all(|frame| frame["type"] != "tag_update"));
    others = Recorder::start(gateway.feed(json!({"topics": ["alarms"]})));
    assert!(data.gather(Duration::from_millis(300)).iter().all(|frame| frame["type"] == "tag_update"));
    drop(others);
}

#[test]
fn what_is_no_request_is_answered_with_an_error_and_the_feed_goes_on() {
    let (gateway, _plc) = start();
    let mut feed = Feed::connect(&gateway.url);
    for request in [
        "",
        "{",
        "[]",
        "{\"type\":\"dance\"}",
        "{\"type\":\"subscribe\"}",
        "{\"type\":\"subscribe\",\"topics\":[]}",
        "{\"type\":\"subscribe\",\"topics\":[\"gossip\"]}",
        "{\"type\":\"subscribe\",\"topics\":[\"device_data\"],\"max_rate_hz\":0}",
        "{\"type\":\"subscribe\",\"topics\":[\"device_data\"],\"colour\":\"red\"}",
    ] {
        feed.send(request);
        let answer = feed.next();
        assert_eq!(answer["type"], "error", "{request}: {answer}");
        assert!(!answer["message"].as_str().unwrap().is_empty(), "{request}: {answer}");
    }
    feed.subscribe(json!({}));
    feed.of_type("tag_update");
    // A request that doesn't fit leaves the subscription as it is.
    feed.send("{\"type\":\"subscribe\",\"topics\":[]}");
    feed.of_type("error");
    feed.of_type("tag_update");
}

#[test]
fn a_client_that_stops_reading_gets_lagged_and_then_the_newest_and_slows_no_other() {
    let (plc, calm) = (Plc::counting(), Plc::counting());
    let few = json!({"limits": {"websocket_backlog": 100, "websocket_mailbox": 64}});
    let gateway = Site::with(&few, &json!([chatty(&plc), device("calm", &calm)])).start();
    gateway.good_tags("calm");
    let other = Recorder::start(gateway.feed(json!({"devices": ["calm"], "tags": ["every"], "batch": true})));
    let began = numbers(&other.so_far(), "calm").len();

    let next_seq = || gateway.info("chatty")["next_seq"].as_u64().unwrap();
    let mut feed = gateway.feed(json!({}));
    let clients = || {
        let clients = gateway.json("/api/actors/clients?detail=true")["children"].clone();
        let waiting = |client: &Value| client["detail"]["waiting"].as_u64().unwrap_or_default();
        clients.as_array().unwrap().iter().map(waiting).max().unwrap_or_default()
    };
    until_true("a client that is behind", || clients() >= 50);
    let behind = next_seq();
    until_true("a client that is far behind", || next_seq() > behind + 40);
    let newest = next_seq();

    let lagged = feed.of_type("lagged");
    assert!(lagged["skipped"].as_u64().unwrap() > 0, "{lagged}");
    feed.find("the newest", |frame| {
        frame["device_id"] == "chatty" && frame["tag"]["seq"].as_u64() >= Some(newest)
    });
    let heard = numbers(&other.so_far(), "calm");
    assert!(heard.len() > began + 30, "{} scans", heard.len());
    assert_no_gap(&heard);
    let stats = gateway.stats("calm");
    assert_eq!((&stats["scans_failed"], &stats["batches_dropped"]), (&json!(0), &json!(0)), "{stats}");
}

#[test]
fn of_the_pings_of_a_client_that_does_not_read_the_newest_is_answered() {
    const PINGS: u32 = 2000;
    let plc = Plc::counting();
    let gateway = Site::new(&json!([chatty(&plc)])).start();
    gateway.await_state("chatty", "online");
    let stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("{}/ws", gateway.url.replacen("http", "ws", 1));
    let (mut socket, _) = tungstenite::client(crate::harness::feed_request(&url), stream).unwrap();
    socket.send(Message::text(r#"{"type":"subscribe","topics":["device_data"]}"#)).unwrap();
    let client = || gateway.json("/api/actors/clients?detail=true")["children"][0]["detail"].clone();
    until_true("a client that is behind", || client()["waiting"].as_u64() > Some(200));
    for number in 1..=PINGS {
        socket.send(Message::Ping(number.to_string().into())).unwrap();
    }
    socket.send(Message::text(r#"{"type":"unsubscribe"}"#)).unwrap();
    until_true("all was heard", || client()["subscribed"] == false);

    let mut pongs = Vec::new();
    while pongs.last().is_none_or(|number| *number != PINGS.to_string()) {
        if let Message::Pong(number) = socket.read().unwrap() {
            pongs.push(String::from_utf8(number.to_vec()).unwrap());
        }
    }
    assert!(pongs.len() < 100, "{} answers waited", pongs.len());
}

#[test]
fn one_client_too_many_is_turned_away_until_another_leaves() {
    let plc = Plc::counting();
    let one = json!({"api": {"websocket_max_clients": 1}});
    let gateway = Site::with(&one, &json!([device("a", &plc)])).start();
    let mut feed = gateway.feed(json!({}));
    feed.of_type("tag_update");
    let answer = gateway.get("/ws");
    assert_eq!(
        (answer.status, answer.body["type"].as_str()),
        (503, Some("urn:bifrost:problem:too-many-clients"))
    );
    drop(feed);
    // No handshake: as many as there may be are gone when the request itself is what is refused.
    until_true("the place is free again", || gateway.get("/ws").status == 426);
    Feed::connect(&gateway.url);
}
