//! A PLC that is switched off and on again, as an operator sees it, while its neighbours are read on.

use serde_json::{Value, json};

use crate::harness::{Gateway, Plc, Recorder, Site, assert_no_gap, numbers, until, until_true};

fn device(id: &str, plc: &Plc) -> Value {
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms",
        "timeout": "500ms", "stale_after": "1s", "bad_after": "2500ms", "retry_max": "500ms",
        "tags": [{"id": "t", "address": "holding:7"}]
    })
}

/// Retries that a test can wait for.
fn quick() -> Value {
    json!({"supervision": {"plc_link": {"max_delay": "500ms", "parked_retry": "500ms"}}})
}

fn link(gateway: &Gateway, plc: &Plc) -> Value {
    gateway.actor(&format!("links/{}", plc.address()))
}

/// How a tag's quality went, each step once.
fn course(frames: &[Value], device: &str) -> Vec<String> {
    let tags = frames.iter().filter(|frame| frame["device_id"] == device && frame["type"] == "tag_update");
    let mut course: Vec<_> = tags.map(|frame| frame["tag"]["quality"].as_str().unwrap().to_owned()).collect();
    course.dedup();
    course
}

#[test]
fn a_plc_that_goes_and_returns_is_followed_by_quality_state_events_and_actors() {
    let plc = Plc::counting();
    let gateway = Site::with(&quick(), &json!([device("plc", &plc)])).start();
    let first = gateway.await_quality("plc", "t", "GOOD");
    let feed = Recorder::start(gateway.feed(json!({"topics": ["device_data", "device_status", "events"]})));
    plc.switch_off();
    let offline = gateway.await_state("plc", "offline");
    assert_eq!(offline["connected"], false);
    assert!(offline["last_error"].as_str().is_some_and(|text| !text.is_empty()), "{offline}");
    let uncertain = gateway.await_quality("plc", "t", "UNCERTAIN");
    let stale = gateway.await_quality("plc", "t", "STALE");
    for kept in [&uncertain, &stale] {
        assert_eq!((&kept["value"], kept["quality_reason"].is_string()), (&first["value"], true), "{kept}");
    }
    let bad = gateway.await_quality("plc", "t", "BAD");
    assert_eq!((&bad["value"], &bad["quality_reason"]), (&Value::Null, &json!("device not reachable")));

    let backoff = until("the link in backoff or parked", || {
        let link = link(&gateway, &plc);
        (link["state"] != "running" && link["restarts"].as_u64() >= Some(2)).then_some(link)
    });
    assert!(["backoff", "failed"].contains(&backoff["state"].as_str().unwrap()), "{backoff}");
    assert!(backoff["last_error"].as_str().unwrap().contains("refused"), "{backoff}");
    assert_eq!(gateway.actor("devices/plc")["restarts"], 0, "the device's own actor has no part in it");

    plc.switch_on();
    gateway.await_state("plc", "online");
    let again = gateway.await_quality("plc", "t", "GOOD");
    assert_eq!(again["value"], first["value"]);
    until_true("the link runs", || link(&gateway, &plc)["state"] == "running");
    assert_eq!(gateway.event_types("plc"), ["device_connected", "device_disconnected", "device_connected"]);
    feed.await_frames(2, |frame| frame["type"] == "event");
    feed.await_frames(3, |frame| frame["type"] == "device_status");
    let heard = feed.so_far();
    assert_eq!(course(&heard, "plc"), ["GOOD", "UNCERTAIN", "STALE", "BAD", "GOOD"]);
    assert_no_gap(&numbers(&heard, "plc"));
    let statuses = heard.iter().filter(|frame| frame["type"] == "device_status");
    let connected: Vec<_> = statuses.map(|status| status["connected"].as_bool().unwrap()).collect();
    assert!(connected.ends_with(&[false, true]), "{connected:?}");
}

#[test]
fn the_neighbours_of_a_plc_that_goes_and_returns_miss_no_scan() {
    let plcs: Vec<_> = (0..4).map(|_| Plc::counting()).collect();
    let devices: Value = plcs.iter().zip(["a", "b", "c", "d"]).map(|(plc, id)| device(id, plc)).collect();
    let gateway = Site::with(&quick(), &devices).start();
    for id in ["a", "b", "c", "d"] {
        gateway.await_state(id, "online");
    }
    let feed = Recorder::start(gateway.feed(json!({"devices": ["b", "c", "d"]})));
    for _ in 0..2 {
        plcs[0].switch_off();
        gateway.await_state("a", "offline");
        gateway.await_quality("a", "t", "STALE");
        plcs[0].switch_on();
        gateway.await_state("a", "online");
    }
    let heard = feed.so_far();
    for id in ["b", "c", "d"] {
        let numbers = numbers(&heard, id);
        assert!(numbers.len() >= 10, "{id}: {numbers:?}");
        assert_no_gap(&numbers);
        assert_eq!(course(&heard, id), ["GOOD"]);
        let stats = gateway.stats(id);
        assert_eq!(
            (&stats["scans_failed"], &stats["requests_failed"]),
            (&json!(0), &json!(0)),
            "{id}: {stats}"
        );
        assert_eq!(gateway.event_types(id), ["device_connected"]);
    }
}

#[test]
fn a_plc_that_was_never_there_is_bad_at_once_and_found_when_it_comes() {
    let plc = Plc::counting();
    plc.switch_off();
    let gateway = Site::with(&quick(), &json!([device("plc", &plc)])).start();
    gateway.await_state("plc", "offline");
    let tag = gateway.tag("plc", "t");
    assert_eq!((&tag["quality"], &tag["value"]), (&json!("BAD"), &Value::Null));
    plc.switch_on();
    assert_eq!(gateway.await_quality("plc", "t", "GOOD")["value"], 1007);
    assert_eq!(gateway.event_types("plc"), ["device_disconnected", "device_connected"]);
}

#[test]
fn metrics_tell_which_devices_are_connected() {
    let (here, gone) = (Plc::counting(), Plc::counting());
    gone.switch_off();
    let gateway = Site::new(&json!([device("here", &here), device("gone", &gone)])).start();
    gateway.await_state("here", "online");
    gateway.await_state("gone", "offline");
    let url = format!("{}/metrics", gateway.url);
    let text = ureq::get(&url)
        .header("authorization", format!("Bearer {}", crate::harness::identity::TOKEN))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    let connected = |id: &str| {
        let of_device = format!("device_id=\"{id}\"");
        let line = text
            .lines()
            .find(|line| line.starts_with("bifrost_device_connected{") && line.contains(&of_device));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!(
        (connected("here").as_deref(), connected("gone").as_deref()),
        (Some("1"), Some("0")),
        "{text}"
    );
}
