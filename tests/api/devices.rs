//! Which devices there are, how they are, and changing them while others run.

use serde_json::{Value, json};

use crate::bench::{Bench, press};

fn three() -> Bench {
    Bench::with(bifrost::api::ApiSettings::default(), |plc| {
        vec![press("press-1", plc), press("a/b ä%", plc), press("press-2", plc)]
    })
}

fn ids(list: &Value) -> Vec<&str> {
    list["devices"].as_array().unwrap().iter().map(|device| device["id"].as_str().unwrap()).collect()
}

#[test]
fn the_list_tells_how_each_device_is() {
    let bench = Bench::start();
    let list = bench.until("/api/devices", |list| list["devices"][0]["connected"] == true);
    let device = &list["devices"][0];
    assert_eq!((&list["count"], &list["total"]), (&json!(1), &json!(1)));
    assert_eq!(device["id"], "press-1");
    assert_eq!(device["name"], "press-1");
    assert_eq!(device["protocol"], "modbus-tcp");
    assert_eq!(device["address"], bench.plc_address().to_string());
    assert_eq!(
        (&device["unit_id"], &device["tags"], &device["tenant"]),
        (&json!(1), &json!(3), &json!("default"))
    );
    assert!(device["last_seen"].is_string() && device["last_error"].is_null());
}

#[test]
fn the_list_comes_in_pages() {
    let bench = three();
    let first = bench.get("/api/devices?limit=2").ok();
    assert_eq!(ids(&first), ["a/b ä%", "press-1"]);
    assert_eq!((&first["count"], &first["total"]), (&json!(2), &json!(3)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let last = bench.get(&format!("/api/devices?limit=2&cursor={cursor}")).ok();
    assert_eq!(ids(&last), ["press-2"]);
    assert!(last.get("next_cursor").is_none());
}

#[test]
fn parameters_that_do_not_fit_are_named() {
    let bench = Bench::start();
    for (query, key) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=!", "cursor"),
        ("limt=1", "limt"),
    ] {
        let answer = bench.get(&format!("/api/devices?{query}"));
        answer.problem(400, "invalid-query");
        assert_eq!(answer.keys(), [key], "{query}");
    }
}

#[test]
fn an_id_may_hold_any_character() {
    let bench = three();
    let device = bench.get("/api/devices/a%2Fb%20%C3%A4%25").ok();
    assert_eq!(device["id"], "a/b ä%");
    assert_eq!(bench.get("/api/devices/a%2Fb%20%C3%A4%25/tags").ok()["count"], 3);
    bench.get("/api/devices/%ff").problem(400, "invalid-path");
}

#[test]
fn a_device_is_shown_with_settings_that_can_be_put_back() {
    let bench = Bench::start();
    let device = bench.get("/api/devices/press-1").ok();
    assert_eq!(device["settings"]["poll_interval"], "50ms");
    let answer = bench.put("/api/devices/press-1", &device["settings"]).ok();
    assert_eq!(answer["changes"]["unchanged"], 1, "{answer}");
    assert_eq!(answer["changes"]["actors"], json!([]));
}

#[test]
fn what_there_is_not_is_a_problem_at_every_path() {
    let bench = Bench::start();
    for path in ["", "/tags", "/stats", "/info"] {
        let problem = bench.get(&format!("/api/devices/nobody{path}")).problem(404, "unknown-device");
        assert!(problem["detail"].as_str().unwrap().contains("\"nobody\""));
    }
    bench.delete("/api/devices/nobody").problem(404, "unknown-device");
    bench.post("/api/devices/nobody/forget", &json!(null)).problem(404, "unknown-device");
    bench.put("/api/devices/nobody", &press("nobody", bench.plc_address())).problem(404, "unknown-device");
}

#[test]
fn a_device_comes_and_goes_and_its_neighbour_is_left_alone() {
    let bench = Bench::start();
    bench.until_online("press-1");
    let answer = bench.post("/api/devices", &press("new one", bench.plc_address()));
    assert_eq!((answer.status, answer.header("location")), (201, Some("/api/devices/new%20one")));
    let answer = answer.json();
    assert_eq!(answer["device"]["id"], "new one");
    assert_eq!(answer["changes"]["added"], json!(["new one"]));
    assert_eq!(answer["changes"]["actors"], json!(["devices/new%20one"]));
    bench.until_online("new%20one");
    let answer = bench.delete("/api/devices/new%20one").ok();
    assert_eq!(answer["changes"]["removed"], json!(["new one"]));
    assert_eq!(answer["changes"]["actors"], json!(["devices/new%20one"]));
    bench.get("/api/devices/new%20one").problem(404, "unknown-device");
    assert_eq!(bench.get("/api/actors/devices/press-1").ok()["restarts"], 0);
}

#[test]
fn a_change_names_its_keys_and_restarts_that_device_alone() {
    let bench = three();
    let mut wanted = press("press-1", bench.plc_address());
    wanted["poll_interval"] = json!("70ms");
    wanted["tags"][0]["max"] = json!(50);
    let answer = bench.put("/api/devices/press-1", &wanted).ok();
    assert_eq!(answer["changes"]["changed"], json!([{"id": "press-1", "keys": ["poll_interval", "tags"]}]));
    assert_eq!(answer["changes"]["actors"], json!(["devices/press-1"]));
    assert_eq!(answer["device"]["settings"]["poll_interval"], "70ms");
    bench.until_online("press-1");
}

#[test]
fn a_device_that_exists_is_not_created_again() {
    let bench = Bench::start();
    let problem =
        bench.post("/api/devices", &press("press-1", bench.plc_address())).problem(409, "device-exists");
    assert!(problem["detail"].as_str().unwrap().contains("PUT /api/devices/press-1"));
}

#[test]
fn a_device_keeps_its_id() {
    let bench = Bench::start();
    let answer = bench.put("/api/devices/press-1", &press("press-2", bench.plc_address()));
    answer.problem(400, "invalid-body");
    assert_eq!(answer.keys(), ["id"]);
}

#[test]
fn settings_of_another_shape_are_told_all_at_once() {
    let bench = Bench::start();
    let mut device = press("new", bench.plc_address());
    device["pol_interval"] = json!("1s");
    device["unit_id"] = json!(256);
    device["protocol"] = json!("modbus");
    device["tags"][1].as_object_mut().unwrap().remove("address");
    let answer = bench.post("/api/devices", &device);
    let problem = answer.problem(422, "invalid-settings");
    let mut keys = answer.keys();
    keys.sort_unstable();
    assert_eq!(keys, ["pol_interval", "protocol", "tags[1].address", "unit_id"]);
    assert!(problem.to_string().contains("did you mean \\\"poll_interval\\\"?"), "{problem}");
}

#[test]
fn settings_that_cannot_work_are_told_all_at_once_and_change_nothing() {
    let bench = Bench::start();
    let mut device = press("new", bench.plc_address());
    device["poll_interval"] = json!("0s");
    device["tags"][0]["address"] = json!("90001");
    device["tags"][2]["id"] = json!("count");
    let answer = bench.post("/api/devices", &device);
    answer.problem(422, "invalid-settings");
    let keys = answer.keys();
    for key in ["poll_interval", "tags[0].address", "tags[2].id"] {
        assert!(keys.iter().any(|named| named == key), "{key} isn't among {keys:?}");
    }
    bench.get("/api/devices/new").problem(404, "unknown-device");
}

#[test]
fn files_of_the_gateway_are_not_read_for_whoever_asks() {
    let bench = Bench::start();
    let mut device = press("new", bench.plc_address());
    device["tags_file"] = json!("/etc/passwd");
    let answer = bench.post("/api/devices", &device);
    answer.problem(422, "invalid-settings");
    assert_eq!(answer.keys(), ["tags_file"]);
}

#[test]
fn a_device_may_be_called_like_the_scan() {
    let bench = Bench::start();
    assert_eq!(bench.post("/api/devices", &press("discover", bench.plc_address())).status, 201);
    assert_eq!(bench.get("/api/devices/discover").ok()["id"], "discover");
    bench.delete("/api/devices/discover").ok();
    bench.get("/api/devices/discover").problem(404, "unknown-device");
}

#[test]
fn tags_are_listed_in_configured_order_with_last_values() {
    let bench = Bench::start();
    bench.plc.memory().set_holding(0, 42);
    let list = bench.until("/api/devices/press-1/tags?limit=2", |list| list["tags"][0]["value"] == 42);
    let tag = &list["tags"][0];
    assert_eq!(
        (&tag["id"], &tag["device_id"], &tag["quality"]),
        (&json!("speed"), &json!("press-1"), &json!("GOOD"))
    );
    assert!(tag["seq"].is_u64() && tag["timestamp"].is_string());
    assert_eq!((&list["count"], &list["total"]), (&json!(2), &json!(3)));
    let cursor = list["next_cursor"].as_str().unwrap();
    let rest = bench.get(&format!("/api/devices/press-1/tags?limit=2&cursor={cursor}")).ok();
    assert_eq!(rest["tags"][0]["id"], "running");
    assert!(rest.get("next_cursor").is_none());
}

#[test]
fn counters_count() {
    let bench = Bench::start();
    let stats = bench.until("/api/devices/press-1/stats", |stats| stats["scans_total"].as_u64() > Some(2));
    assert!(stats["requests_total"].as_u64() >= stats["requests_successful"].as_u64());
    assert!(stats["avg_response_time"].as_f64().unwrap() > 0.0);
    assert_eq!(stats["requests_failed"], 0);
}

#[test]
fn what_was_learned_is_shown_and_can_be_forgotten() {
    let bench = Bench::start();
    bench.until_online("press-1");
    let info = bench.get("/api/devices/press-1/info").ok();
    assert_eq!(
        (&info["id"], &info["poll_interval_ms"], &info["timeout_ms"]),
        (&json!("press-1"), &json!(50), &json!(300))
    );
    assert!(info["learned"].is_object(), "{info}");
    assert_eq!(bench.post("/api/devices/press-1/forget", &json!(null)).status, 204);
}
