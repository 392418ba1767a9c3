//! Sequence numbers count scans up by one and never repeat, however the process ends.

use serde_json::{Value, json};

use crate::harness::{Gateway, Plc, Recorder, Site, assert_no_gap, numbers, until};

const BLOCK: u64 = 500;

fn site(plcs: &[(&str, &Plc)]) -> std::sync::Arc<Site> {
    let device = |(id, plc): &(&str, &Plc)| {
        json!({
            "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "50ms",
            "tags": [{"id": "t", "address": "holding:7"}]
        })
    };
    let devices: Value = plcs.iter().map(device).collect();
    Site::with(&json!({"limits": {"sequence_block": BLOCK}}), &devices)
}

fn all() -> Value {
    json!({"topics": ["device_data"], "batch": true})
}

#[test]
fn a_clean_restart_goes_on_without_a_gap() {
    let plc = Plc::counting();
    let site = site(&[("plc", &plc)]);
    let mut course = Vec::new();
    for _ in 0..3 {
        let gateway = site.start();
        let feed = Recorder::start(gateway.feed(all()));
        feed.await_frames(8, |_| true);
        assert!(gateway.stop().success());
        course.extend(numbers(&feed.hear_out(), "plc"));
    }
    assert_eq!(course.first(), course.iter().min(), "{course:?}");
    // The feed may close before the very last scans of a run: no number repeats, and nearly none is unheard.
    assert!(course.windows(2).all(|pair| pair[0] < pair[1]), "{course:?}");
    let unheard = course.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(unheard <= 2 && course.windows(2).all(|pair| pair[1] - pair[0] < 20), "{course:?}");
    let gateway = site.start();
    assert!(gateway.events("plc").iter().all(|event| event["event_type"] != "seq_skipped"));
}

#[test]
fn counting_begins_where_the_last_clean_run_ended() {
    let plc = Plc::counting();
    let site = site(&[("plc", &plc)]);
    let gateway = site.start();
    gateway.good_tags("plc");
    // Nothing is published any more once its actor has stopped: this is the next number, for certain.
    plc.switch_off();
    gateway.await_state("plc", "offline");
    let next = gateway.info("plc")["next_seq"].as_u64().unwrap();
    assert_eq!(gateway.tag("plc", "t")["seq"], next - 1);
    assert!(gateway.stop().success());
    plc.switch_on();
    let gateway = site.start();
    let mut feed = gateway.feed(all());
    let first = feed.find("a scan", |frame| !frame["tags"][0]["seq"].is_null());
    let first = first["tags"][0]["seq"].as_u64().unwrap();
    assert!(first >= next, "{first} was given before {next}");
    let heard = Recorder::start(feed);
    heard.await_frames(3, |_| true);
    assert_no_gap(&numbers(&heard.so_far(), "plc"));
}

#[test]
fn after_kill_9_no_number_repeats_and_an_event_names_exactly_those_never_used() {
    let (one, two) = (Plc::counting(), Plc::counting());
    let site = site(&[("one", &one), ("two", &two)]);
    let mut heard: [Vec<u64>; 2] = Default::default();
    for _ in 0..3 {
        let mut gateway = site.start();
        for (heard, id) in heard.iter_mut().zip(["one", "two"]) {
            if let Some(last) = heard.last().copied() {
                assert_skip_is_exact(&gateway, id, last);
            }
        }
        let feed = Recorder::start(gateway.feed(all()));
        for id in ["one", "two"] {
            feed.await_frames(8, |frame| frame["device_id"] == id);
        }
        gateway.process.kill();
        let frames = feed.hear_out();
        for (heard, id) in heard.iter_mut().zip(["one", "two"]) {
            let numbers = numbers(&frames, id);
            assert_no_gap(&numbers);
            assert!(numbers.first() > heard.last(), "{id}: {numbers:?} after {:?}", heard.last());
            heard.extend(numbers);
        }
    }
}

/// The event must begin right behind the last number that was used: the last that was heard, or one that was
/// on its way to the feed when the process died.
#[track_caller]
fn assert_skip_is_exact(gateway: &Gateway, id: &str, last_heard: u64) {
    let is_skip = |event: &Value| event["event_type"] == "seq_skipped";
    let skipped = until("the event", || {
        let skipped: Vec<_> = gateway.events(id).into_iter().filter(is_skip).collect();
        (!skipped.is_empty()).then_some(skipped)
    });
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    let data = &skipped[0]["data"];
    let (from, to) = (data["from"].as_u64().unwrap(), data["to"].as_u64().unwrap());
    assert!(from > last_heard && from <= last_heard + 10, "{last_heard} was heard last, {data}");
    assert!(to >= from && to - from < 2 * BLOCK, "{data}");
    assert_eq!(data["exact"], true, "{data}");
}

#[test]
fn the_first_number_after_a_crash_is_the_one_behind_those_skipped() {
    let plc = Plc::counting();
    let site = site(&[("plc", &plc)]);
    let mut gateway = site.start();
    gateway.good_tags("plc");
    // Silent: from the last step of its quality on nothing is published, and the last number is known.
    plc.switch_off();
    gateway.await_state("plc", "offline");
    let next = gateway.info("plc")["next_seq"].as_u64().unwrap();
    gateway.process.kill();
    let gateway = site.start();
    let event = until("the event", || {
        gateway.events("plc").into_iter().find(|event| event["event_type"] == "seq_skipped")
    });
    assert_eq!(event["data"]["from"], next, "{event}");
    plc.switch_on();
    gateway.good_tags("plc");
    let to = event["data"]["to"].as_u64().unwrap();
    let first = gateway.info("plc")["next_seq"].as_u64().unwrap();
    assert!(first > to && first < to + 200, "{event}, and now at {first}");
    assert_eq!(event["severity"], "warning");
}

#[test]
fn an_actor_that_is_restarted_goes_on_without_a_gap() {
    let plc = Plc::counting();
    let gateway = site(&[("plc", &plc)]).start();
    gateway.good_tags("plc");
    let feed = Recorder::start(gateway.feed(all()));
    for _ in 0..3 {
        let before = feed.so_far().len();
        assert_eq!(gateway.post("/api/actors/devices/plc/restart", &Value::Null).status, 202);
        feed.await_frames(before + 4, |_| true);
    }
    assert_no_gap(&numbers(&feed.so_far(), "plc"));
    assert!(gateway.events("plc").iter().all(|event| event["event_type"] != "seq_skipped"));
}
