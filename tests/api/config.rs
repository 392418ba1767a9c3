//! Reading the configuration anew.

use bifrost::api::{ControlError, KeyProblem, ReloadReport};
use bifrost_actors::gateway::{Change, Changes};
use serde_json::json;

use crate::bench::Bench;

fn prepare(bench: &Bench, next: Result<ReloadReport, ControlError>) {
    *bench.reload.lock().unwrap() = Some(next);
}

fn report() -> ReloadReport {
    let change = Change { id: "press-1".to_owned(), keys: vec!["timeout".to_owned()] };
    let changes =
        Changes { changed: vec![change], actors: vec!["devices/press-1".to_owned()], ..Changes::default() };
    ReloadReport { applied: true, changes, restart_needed: vec!["gateway.port".to_owned()] }
}

#[test]
fn a_reload_tells_what_it_did_and_a_dry_run_what_it_would() {
    let bench = Bench::start();
    for (query, applied) in [("", true), ("?dry_run=true", false), ("?dry_run=false", true)] {
        prepare(&bench, Ok(report()));
        let answer = bench.post(&format!("/api/config/reload{query}"), &json!(null)).ok();
        assert_eq!(
            answer,
            json!({
                "applied": applied,
                "changes": {
                    "added": [], "removed": [], "changed": [{"id": "press-1", "keys": ["timeout"]}],
                    "unchanged": 0, "actors": ["devices/press-1"]
                },
                "restart_needed": ["gateway.port"]
            })
        );
    }
}

#[test]
fn an_invalid_configuration_is_told_key_by_key() {
    let bench = Bench::start();
    let problems =
        vec![KeyProblem::new("devices[0].id", "is empty"), KeyProblem::new("gateway.prt", "unknown")];
    prepare(&bench, Err(ControlError::Invalid(problems)));
    let answer = bench.post("/api/config/reload", &json!(null));
    answer.problem(422, "invalid-settings");
    assert_eq!(answer.keys(), ["devices[0].id", "gateway.prt"]);
}

#[test]
fn what_keeps_a_reload_from_being_done_is_told() {
    let bench = Bench::start();
    prepare(&bench, Err(ControlError::Unavailable("the gateway is stopping".to_owned())));
    bench.post("/api/config/reload", &json!(null)).problem(503, "not-ready");
    prepare(&bench, Err(ControlError::NotKept("the disk is full".to_owned())));
    let problem = bench.post("/api/config/reload", &json!(null)).problem(500, "internal");
    assert_eq!(problem["detail"], "the disk is full");
    bench.post("/api/config/reload?dryrun=true", &json!(null)).problem(400, "invalid-query");
}

#[test]
fn a_panic_ends_its_request_and_nothing_else() {
    let bench = Bench::start();
    bench.post("/api/config/reload", &json!(null)).problem(500, "internal");
    // The mutex of the panicking control is poisoned, the server isn't.
    assert_eq!(bench.get("/health").status, 200);
    assert_eq!(bench.get("/api/devices").ok()["total"], 1);
}
