//! The supervisor tree by hand: seen, restarted, stopped and started, branch by branch.

use serde_json::{Value, json};

use crate::harness::{Gateway, Plc, Recorder, Site, assert_no_gap, numbers, until, until_true};

fn device(id: &str, plc: &Plc) -> Value {
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "50ms",
        "tags": [{"id": "t", "address": "holding:7", "writable": true}]
    })
}

fn start() -> (Gateway, Plc, Plc) {
    let (one, two) = (Plc::counting(), Plc::counting());
    let gateway = Site::new(&json!([device("one", &one), device("two", &two)])).start();
    gateway.good_tags("one");
    gateway.good_tags("two");
    (gateway, one, two)
}

#[track_caller]
fn order(gateway: &Gateway, path: &str, action: &str) -> Value {
    let answer = gateway.post(&format!("/api/actors/{path}/{action}"), &Value::Null);
    assert_eq!(answer.status, 202, "{action} {path}: {}", answer.body);
    answer.body
}

fn scans(gateway: &Gateway, id: &str) -> u64 {
    gateway.stats(id)["scans_total"].as_u64().unwrap()
}

#[track_caller]
fn await_scans(gateway: &Gateway, id: &str, count: u64) {
    let before = scans(gateway, id);
    until_true("more scans", || scans(gateway, id) >= before + count);
}

#[test]
fn the_tree_lists_every_actor_with_what_an_operator_asks_for() {
    let (gateway, one, two) = start();
    let _feed = gateway.feed(json!({}));
    let tree = gateway.json("/api/actors");
    let mut paths = Vec::new();
    let mut todo = vec![&tree];
    while let Some(node) = todo.pop() {
        assert_eq!(node["state"], "running", "{node}");
        assert_eq!((&node["restarts"], &node["last_error"]), (&json!(0), &Value::Null), "{node}");
        assert!(node["since"].is_string() && node["kind"].is_string(), "{node}");
        let is_leaf = node["kind"] != "branch";
        assert_eq!(is_leaf, node["mailbox"]["capacity"].as_u64() > Some(0), "{node}");
        assert!(!is_leaf || node["mailbox"]["dropped"] == 0, "{node}");
        paths.push(node["path"].as_str().unwrap().to_owned());
        todo.extend(node["children"].as_array().unwrap());
    }
    for path in [
        "/",
        "sequence",
        "router",
        "dead_letters",
        "commands",
        "brokers",
        "clients",
        "links",
        "devices",
        "devices/one",
        "devices/two",
    ] {
        assert!(paths.iter().any(|known| known == path), "{path} is none of {paths:?}");
    }
    for plc in [&one, &two] {
        assert!(paths.contains(&format!("links/{}", plc.address())), "{paths:?}");
    }
    assert!(paths.iter().any(|path| path.starts_with("clients/")), "{paths:?}");
}

#[test]
fn a_device_that_is_restarted_by_hand_is_read_again_and_its_neighbour_is_not_touched() {
    let (gateway, _one, _two) = start();
    let (before, neighbour) = (gateway.actor("devices/one"), gateway.actor("devices/two"));
    let feed = Recorder::start(gateway.feed(json!({"devices": ["two"]})));
    order(&gateway, "devices/one", "restart");
    let after = until("another incarnation that runs", || {
        let now = gateway.actor("devices/one");
        (now["since"] != before["since"] && now["state"] == "running").then_some(now)
    });
    assert_eq!(after["last_error"], Value::Null, "an order is no failure: {after}");
    gateway.await_quality("one", "t", "GOOD");
    await_scans(&gateway, "two", 5);
    assert_eq!(gateway.actor("devices/two"), neighbour);
    assert_no_gap(&numbers(&feed.so_far(), "two"));
}

#[test]
fn a_device_that_is_stopped_is_not_polled_until_it_is_started() {
    let (gateway, one, _two) = start();
    let stopped = order(&gateway, "devices/one", "stop");
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    let requests = one.stats().requests;
    await_scans(&gateway, "two", 10);
    assert_eq!(one.stats().requests, requests);
    let row = gateway.device("one");
    assert_eq!((&row["connected"], &row["state"]), (&json!(false), &json!("offline")), "{row}");
    assert!(row["last_error"].as_str().unwrap().contains("stopped"), "{row}");
    // Its last values are there, and nobody takes them for confirmed.
    let tag = gateway.await_quality("one", "t", "STALE");
    assert_eq!((&tag["value"], &tag["quality_reason"]), (&json!(1007), &json!("polling stopped")), "{tag}");
    assert_eq!(gateway.write("one", "t", &json!(1))["status"], "rejected");
    let live = gateway.post("/api/tags/read", &json!({"device_id": "one"}));
    assert_eq!(live.status, 503, "{}", live.body);

    order(&gateway, "devices/one", "start");
    gateway.await_quality("one", "t", "GOOD");
    until_true("it is polled", || one.stats().requests > requests + 3);
    assert_eq!(one.memory().holding(7), Some(1007), "the rejected write was not carried out");
}

#[test]
fn a_link_that_is_stopped_takes_its_devices_offline_and_no_other() {
    let (gateway, one, _two) = start();
    let link = format!("links/{}", one.address());
    order(&gateway, &link, "stop");
    gateway.await_state("one", "offline");
    until_true("the connection is closed", || one.stats().connections_open == 0);
    assert_eq!(gateway.device("two")["connected"], true);
    assert_eq!(gateway.actor("devices/one")["state"], "running");
    order(&gateway, &link, "start");
    gateway.await_state("one", "online");
    gateway.await_quality("one", "t", "GOOD");
}

#[test]
fn the_whole_branch_of_devices_can_be_stopped_and_started() {
    let (gateway, one, two) = start();
    order(&gateway, "devices", "stop");
    until_true("all stopped", || {
        let branch = gateway.actor("devices");
        branch["children"].as_array().unwrap().iter().all(|child| child["state"] == "stopped")
    });
    let requests = (one.stats().requests, two.stats().requests);
    order(&gateway, "devices", "start");
    for id in ["one", "two"] {
        gateway.await_state(id, "online");
        gateway.await_quality(id, "t", "GOOD");
    }
    assert!(one.stats().requests > requests.0 && two.stats().requests > requests.1);
}

#[test]
fn a_router_that_is_rebuilt_knows_every_value_again_and_its_subscribers_go_on() {
    let (gateway, _one, _two) = start();
    let feed = Recorder::start(gateway.feed(json!({"batch": true})));
    feed.await_frames(4, |_| true);
    order(&gateway, "router", "restart");
    until_true("values as before", || {
        ["one", "two"].iter().all(|id| {
            let answer = gateway.get(&format!("/api/devices/{id}/tags"));
            answer.body["tags"][0]["quality"] == "GOOD" && answer.body["tags"][0]["value"] == 1007
        })
    });
    let before = feed.so_far().len();
    feed.await_frames(before + 10, |_| true);
    assert_eq!(gateway.actor("router")["state"], "running");
    assert!(gateway.is_alive());
}

#[test]
fn a_sequence_store_that_is_rebuilt_gives_no_number_twice() {
    let (gateway, _one, _two) = start();
    let feed = Recorder::start(gateway.feed(json!({"batch": true})));
    for _ in 0..3 {
        order(&gateway, "sequence", "restart");
        order(&gateway, "devices/one", "restart");
        gateway.await_state("one", "online");
        let before = feed.so_far().len();
        feed.await_frames(before + 6, |_| true);
    }
    for id in ["one", "two"] {
        assert_no_gap(&numbers(&feed.so_far(), id));
    }
}

#[test]
fn a_client_of_the_feed_can_be_sent_away_and_not_be_restarted() {
    let (gateway, _one, _two) = start();
    let feed = Recorder::start(gateway.feed(json!({})));
    feed.await_frames(1, |_| true);
    let clients = gateway.actor("clients");
    let path = clients["children"][0]["path"].as_str().unwrap().to_owned();
    let answer = gateway.post(&format!("/api/actors/{path}/restart"), &Value::Null);
    assert_eq!(answer.status, 409, "{}", answer.body);
    // The answer may find it gone already.
    let answer = gateway.post(&format!("/api/actors/{path}/stop"), &Value::Null);
    assert!([202, 404].contains(&answer.status), "{}", answer.body);
    feed.hear_out();
    until_true("it is gone from the tree", || gateway.actor("clients")["children"] == json!([]));
}

#[test]
fn what_is_not_there_or_cannot_be_done_is_told() {
    let (gateway, _one, _two) = start();
    for (method, path, kind) in [
        ("GET", "devices/three", "unknown-actor"),
        ("POST", "devices/three/restart", "unknown-actor"),
        ("POST", "devices/one/explode", "unknown-path"),
        ("POST", "restart", "unknown-actor"),
    ] {
        let answer = gateway.ask(method, &format!("/api/actors/{path}"), &Value::Null);
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        assert_eq!(answer.body["type"], format!("urn:bifrost:problem:{kind}"), "{path}");
    }
}
