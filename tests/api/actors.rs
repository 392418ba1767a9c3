//! The supervisor tree, and its branches by hand.

use serde_json::{Value, json};

use crate::bench::{Bench, press};

fn paths(node: &Value, into: &mut Vec<String>) {
    into.push(node["path"].as_str().unwrap().to_owned());
    node["children"].as_array().unwrap().iter().for_each(|child| paths(child, into));
}

#[test]
fn the_tree_is_shown_from_its_root() {
    let bench = Bench::start();
    let tree = bench.until("/api/actors", |tree| tree.to_string().contains("devices/press-1"));
    let mut all = Vec::new();
    paths(&tree, &mut all);
    for path in ["/", "router", "sequence", "devices", "links", "devices/press-1"] {
        assert!(all.iter().any(|known| known == path), "{path} isn't among {all:?}");
    }
    let device = bench.until("/api/actors/devices/press-1", |node| node["state"] == "running");
    assert_eq!((&device["kind"], &device["restarts"]), (&json!("plc_connection"), &json!(0)));
    assert!(device["mailbox"]["capacity"].as_u64() > Some(0));
    assert!(device.get("detail").is_none() && device["since"].is_string());
}

#[test]
fn each_actor_tells_what_it_sees_when_asked() {
    let bench = Bench::start();
    bench.until_online("press-1");
    let device = bench.get("/api/actors/devices/press-1?detail=true").ok();
    assert!(device["detail"].is_object(), "{device}");
    assert!(bench.get("/api/actors?detail=true").ok().to_string().contains("\"detail\""));
}

#[test]
fn an_actor_is_restarted_stopped_and_started() {
    let bench = Bench::start();
    bench.until_online("press-1");
    let path = "/api/actors/devices/press-1";
    let answer = bench.post(&format!("{path}/restart"), &json!(null));
    assert_eq!((answer.status, &answer.json()["path"]), (202, &json!("devices/press-1")));
    bench.until_online("press-1");
    let answer = bench.post(&format!("{path}/stop"), &json!(null));
    assert_eq!(answer.status, 202);
    bench.until(path, |node| node["state"] == "stopped");
    bench.post(&format!("{path}/start"), &json!(null));
    bench.until(path, |node| node["state"] == "running");
    bench.until_online("press-1");
}

#[test]
fn names_in_paths_are_encoded_and_may_be_actions() {
    let bench = Bench::with(bifrost::api::ApiSettings::default(), |plc| {
        vec![press("a/b c", plc), press("restart", plc)]
    });
    bench.until_online("restart");
    assert_eq!(bench.get("/api/actors/devices/a%2Fb%20c").ok()["path"], "devices/a%2Fb%20c");
    assert_eq!(bench.get("/api/actors/devices/%72estart").ok()["path"], "devices/restart");
    let answer = bench.post("/api/actors/devices/restart/restart", &json!(null));
    assert_eq!((answer.status, &answer.json()["path"]), (202, &json!("devices/restart")));
}

#[test]
fn what_is_no_actor_and_no_action_is_a_problem() {
    let bench = Bench::start();
    bench.get("/api/actors/devices/nobody").problem(404, "unknown-actor");
    bench.get("/api/actors//").problem(404, "unknown-actor");
    bench.post("/api/actors/devices/nobody/restart", &json!(null)).problem(404, "unknown-actor");
    bench.post("/api/actors/restart", &json!(null)).problem(404, "unknown-actor");
    bench.post("/api/actors/devices/press-1/pause", &json!(null)).problem(404, "unknown-path");
    let problem = bench.delete("/api/actors/devices/press-1").problem(405, "method-not-allowed");
    assert!(problem["detail"].as_str().unwrap().contains("GET"));
}

#[test]
fn while_the_router_is_stopped_what_needs_it_is_not_ready() {
    let bench = Bench::start();
    assert_eq!(bench.post("/api/actors/router/stop", &json!(null)).status, 202);
    for path in ["/api/events", "/api/alarms", "/api/devices/press-1/tags"] {
        bench.get(path).problem(503, "not-ready");
    }
    let readiness = bench.get("/readiness");
    assert_eq!((readiness.status, &readiness.json()["ready"]), (503, &json!(false)));
    assert_eq!(bench.get("/health").status, 200);
    bench.post("/api/actors/router/start", &json!(null));
    bench.until("/readiness", |readiness| readiness["ready"] == true);
}
