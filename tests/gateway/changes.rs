//! A configuration that changes while the gateway runs: only the actors concerned restart, and what was
//! changed by REST is kept.

use std::{fs, sync::Arc};

use serde_json::{Value, json};

use crate::harness::{Gateway, Plc, Recorder, Site, assert_no_gap, numbers, until, until_true};

fn device(id: &str, plc: &Plc) -> Value {
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms",
        "tags": [{"id": "t", "address": "holding:7"}]
    })
}

fn none() -> Value {
    json!({})
}

/// What shows that an actor was left alone: its incarnation, and the one of its link.
fn incarnations(gateway: &Gateway, id: &str, plc: &Plc) -> (Value, Value) {
    (gateway.actor(&format!("devices/{id}")), gateway.actor(&format!("links/{}", plc.address())))
}

struct Plant {
    stays: Plc,
    changes: Plc,
    goes: Plc,
    comes: Plc,
}

impl Plant {
    fn new() -> Self {
        let [stays, changes, goes, comes] = std::array::from_fn(|_| Plc::counting());
        Self { stays, changes, goes, comes }
    }

    fn before(&self) -> Value {
        json!([device("stays", &self.stays), device("changes", &self.changes), device("goes", &self.goes)])
    }

    fn after(&self) -> Value {
        let mut changed = device("changes", &self.changes);
        changed["tags"] = json!([{"id": "u", "address": "holding:8"}]);
        changed["poll_interval"] = json!("200ms");
        json!([device("comes", &self.comes), changed, device("stays", &self.stays)])
    }
}

#[track_caller]
fn assert_applied(gateway: &Gateway, plant: &Plant, untouched: &(Value, Value), feed: &Recorder) {
    assert_eq!(gateway.await_quality("comes", "t", "GOOD")["value"], 1007);
    assert_eq!(gateway.await_quality("changes", "u", "GOOD")["value"], 1008);
    assert_eq!(gateway.get("/api/devices/goes").status, 404);
    assert_eq!(gateway.get("/api/actors/devices/goes").status, 404);
    until_true("the link of what went is closed", || plant.goes.stats().connections_open == 0);
    assert_eq!(gateway.get(&format!("/api/actors/links/{}", plant.goes.address())).status, 404);
    assert_eq!(incarnations(gateway, "stays", &plant.stays), *untouched);
    assert_eq!(plant.stays.stats().connections_total, 1);
    let before = feed.so_far().len();
    feed.await_frames(before + 5, |frame| frame["device_id"] == "stays");
    assert_no_gap(&numbers(&feed.so_far(), "stays"));
    assert_eq!(gateway.stats("stays")["scans_failed"], 0);
}

#[test]
fn reloading_by_rest_touches_only_what_differs_and_tells_what_it_did() {
    let plant = Plant::new();
    let site = Site::new(&plant.before());
    let gateway = site.start();
    for id in ["stays", "changes", "goes"] {
        gateway.good_tags(id);
    }
    let feed = Recorder::start(gateway.feed(json!({"devices": ["stays"]})));
    let untouched = incarnations(&gateway, "stays", &plant.stays);
    site.configure(&none(), &plant.after());

    let plan = gateway.post("/api/config/reload?dry_run=true", &Value::Null);
    assert_eq!((plan.status, &plan.body["applied"]), (200, &json!(false)), "{}", plan.body);
    assert_eq!(gateway.get("/api/devices/goes").status, 200, "a dry run changes nothing");

    let report = gateway.post("/api/config/reload", &Value::Null);
    assert_eq!((report.status, &report.body["applied"]), (200, &json!(true)), "{}", report.body);
    let changes = &report.body["changes"];
    assert_eq!((&changes["added"], &changes["removed"]), (&json!(["comes"]), &json!(["goes"])));
    assert_eq!(changes["changed"], json!([{"id": "changes", "keys": ["poll_interval", "tags"]}]));
    assert_eq!(changes["unchanged"], 1);
    let actors = changes["actors"].to_string();
    for concerned in ["devices/comes", "devices/goes", "devices/changes"] {
        assert!(actors.contains(concerned), "{actors}");
    }
    assert!(!actors.contains("stays") && !actors.contains(&plant.stays.address()), "{actors}");
    for key in ["added", "removed", "changed", "unchanged"] {
        assert_eq!(plan.body["changes"][key], changes[key], "{key}");
    }
    assert_applied(&gateway, &plant, &untouched, &feed);

    let again = gateway.post("/api/config/reload", &Value::Null);
    let nothing = json!({"added": [], "removed": [], "changed": [], "unchanged": 3, "actors": []});
    assert_eq!((again.status, &again.body["changes"]), (200, &nothing), "{}", again.body);
}

#[test]
fn sighup_reloads_and_logs_the_difference() {
    let plant = Plant::new();
    let site = Site::new(&plant.before());
    let gateway = site.start();
    for id in ["stays", "changes", "goes"] {
        gateway.good_tags(id);
    }
    let feed = Recorder::start(gateway.feed(json!({"devices": ["stays"]})));
    let untouched = incarnations(&gateway, "stays", &plant.stays);
    site.configure(&none(), &plant.after());
    gateway.process.signal("HUP");
    let record = gateway.await_log("configuration reloaded");
    let changes: Value = serde_json::from_str(record["changes"].as_str().unwrap()).unwrap();
    assert_eq!((&changes["added"], &changes["removed"]), (&json!(["comes"]), &json!(["goes"])), "{record}");
    assert_applied(&gateway, &plant, &untouched, &feed);
}

#[test]
fn an_invalid_file_changes_nothing_and_everything_wrong_is_told() {
    let plc = Plc::counting();
    let site = Site::new(&json!([device("stays", &plc)]));
    let gateway = site.start();
    gateway.good_tags("stays");
    let feed = Recorder::start(gateway.feed(json!({})));
    let untouched = incarnations(&gateway, "stays", &plc);
    let good = fs::read_to_string(site.config()).unwrap();

    let mut wrong = device("new", &plc);
    wrong["unit_id"] = json!(999);
    wrong["adress"] = json!("x");
    site.configure(&none(), &json!([wrong]));
    let answer = gateway.post("/api/config/reload", &Value::Null);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let told = answer.body["errors"].to_string();
    assert!(told.contains("unit_id") && told.contains("adress") && told.contains("did you mean"), "{told}");
    gateway.process.signal("HUP");
    let logged = gateway.await_log("nothing was changed");
    assert!(logged["message"].as_str().unwrap().contains("unit_id"), "{logged}");
    assert_eq!(logged["level"], "ERROR");

    for text in ["devices: [", "", "\u{0}"] {
        site.write(text);
        let answer = gateway.post("/api/config/reload?dry_run=true", &Value::Null);
        assert!([200, 422].contains(&answer.status), "{text:?}: {}", answer.body);
    }
    fs::remove_file(site.config()).unwrap();
    assert_eq!(gateway.post("/api/config/reload", &Value::Null).status, 422);

    assert_eq!(incarnations(&gateway, "stays", &plc), untouched);
    let before = feed.so_far().len();
    feed.await_frames(before + 5, |_| true);
    assert_no_gap(&numbers(&feed.so_far(), "stays"));
    site.write(&good);
    let answer = gateway.post("/api/config/reload", &Value::Null);
    assert_eq!((answer.status, &answer.body["changes"]["unchanged"]), (200, &json!(1)), "{}", answer.body);
}

#[test]
fn keys_that_need_a_restart_are_named_and_wait_for_it() {
    let site = Site::new(&json!([]));
    let gateway = site.start();
    site.configure(&json!({"gateway": {"site_id": "elsewhere"}, "limits": {"events": 5}}), &json!([]));
    for _ in 0..2 {
        let report = gateway.post("/api/config/reload", &Value::Null).body;
        assert_eq!(report["restart_needed"], json!(["gateway.site_id", "limits.events"]), "{report}");
    }
}

fn restart(gateway: Gateway, site: &Arc<Site>, by_kill: bool) -> Gateway {
    let mut gateway = gateway;
    if by_kill {
        gateway.process.kill();
    } else {
        assert!(gateway.stop().success());
    }
    site.start()
}

#[test]
fn devices_added_changed_and_removed_by_rest_survive_a_restart() {
    let plant = Plant::new();
    let site = Site::new(&plant.before());
    let mut gateway = site.start();
    gateway.good_tags("stays");
    gateway.good_tags("changes");
    let untouched = incarnations(&gateway, "stays", &plant.stays);

    let added = gateway.post("/api/devices", &device("comes", &plant.comes));
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.body["changes"]["added"], json!(["comes"]), "{}", added.body);
    let mut changed = device("changes", &plant.changes);
    changed["name"] = json!("Renamed");
    changed["tags"][0]["address"] = json!("holding:9");
    let put = gateway.ask("PUT", "/api/devices/changes", &changed);
    assert_eq!(put.status, 200, "{}", put.body);
    assert_eq!(put.body["changes"]["changed"][0]["keys"], json!(["name", "tags"]), "{}", put.body);
    let removed = gateway.ask("DELETE", "/api/devices/goes", &Value::Null);
    assert_eq!((removed.status, &removed.body["changes"]["removed"]), (200, &json!(["goes"])));
    assert_eq!(incarnations(&gateway, "stays", &plant.stays), untouched);

    for by_kill in [false, true] {
        assert_eq!(gateway.await_quality("comes", "t", "GOOD")["value"], 1007);
        until_true("the changed tag", || gateway.tag("changes", "t")["value"] == 1009);
        assert_eq!(gateway.device("changes")["name"], "Renamed");
        assert_eq!(gateway.get("/api/devices/goes").status, 404);
        // What was changed by REST wins over the file, and the file is read again without harm.
        let report = gateway.post("/api/config/reload", &Value::Null);
        assert_eq!(report.body["changes"]["unchanged"], 3, "{}", report.body);
        gateway = restart(gateway, &site, by_kill);
    }
    until_true("the changed tag", || gateway.tag("changes", "t")["value"] == 1009);
    let again = gateway.post("/api/devices", &device("goes", &plant.goes));
    assert_eq!(again.status, 201, "{}", again.body);
    assert_eq!(gateway.await_quality("goes", "t", "GOOD")["value"], 1007);
}

#[test]
fn a_device_that_moves_to_another_address_leaves_the_old_one_alone() {
    let (old, new) = (Plc::counting(), Plc::counting());
    let gateway = Site::new(&json!([device("plc", &old)])).start();
    gateway.good_tags("plc");
    let answer = gateway.ask("PUT", "/api/devices/plc", &device("plc", &new));
    assert_eq!(answer.body["changes"]["changed"][0]["keys"], json!(["address"]), "{}", answer.body);
    until_true("it is read there", || new.stats().requests >= 3);
    until_true("the old connection is closed", || old.stats().connections_open == 0);
    gateway.await_quality("plc", "t", "GOOD");
    assert_eq!(gateway.get(&format!("/api/actors/links/{}", old.address())).status, 404);
}

#[test]
fn a_changed_device_goes_on_counting_where_it_was() {
    let plc = Plc::counting();
    let gateway = Site::new(&json!([device("plc", &plc)])).start();
    gateway.good_tags("plc");
    let feed = Recorder::start(gateway.feed(json!({"batch": true})));
    for name in ["a", "b", "c"] {
        let mut changed = device("plc", &plc);
        changed["name"] = json!(name);
        assert_eq!(gateway.ask("PUT", "/api/devices/plc", &changed).status, 200);
        let before = feed.so_far().len();
        feed.await_frames(before + 4, |_| true);
    }
    let numbers = numbers(&feed.so_far(), "plc");
    // What the old incarnation had under way may be left out, and nothing repeats.
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] <= 2), "{numbers:?}");
    assert!(gateway.events("plc").iter().all(|event| event["event_type"] != "seq_skipped"));
}

#[test]
fn changes_that_cannot_be_are_refused_and_change_nothing() {
    let plc = Plc::counting();
    let gateway = Site::new(&json!([device("plc", &plc)])).start();
    gateway.good_tags("plc");
    let untouched = incarnations(&gateway, "plc", &plc);
    let mut bad_tag = device("plc", &plc);
    bad_tag["tags"][0]["address"] = json!("holding:99999");
    let mut bad_key = device("plc", &plc);
    bad_key["colour"] = json!("red");
    let other = device("other", &plc);
    for (method, path, body, status) in [
        ("POST", "/api/devices", &device("plc", &plc), 409),
        ("POST", "/api/devices", &json!({"id": "x"}), 422),
        ("PUT", "/api/devices/plc", &bad_tag, 422),
        ("PUT", "/api/devices/plc", &bad_key, 422),
        ("PUT", "/api/devices/plc", &other, 400),
        ("PUT", "/api/devices/other", &other, 404),
        ("DELETE", "/api/devices/other", &Value::Null, 404),
    ] {
        let answer = gateway.ask(method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
        assert!(!answer.body["detail"].as_str().unwrap().is_empty(), "{}", answer.body);
    }
    assert_eq!(incarnations(&gateway, "plc", &plc), untouched);
    until("it is read on", || (gateway.stats("plc")["scans_failed"] == 0).then_some(()));
    assert_eq!(gateway.json("/api/devices")["count"], 1);
}
