//! `docs/wire-format.md` says what is written.

use super::*;
use crate::broker::status;

const DOCUMENT: &str = include_str!("../../../../../docs/wire-format.md");

/// The JSON that follows the example's mark.
fn documented(name: &str) -> &'static str {
    let mark = format!("<!-- example: {name} -->\n```json\n");
    let (_, after) = DOCUMENT.split_once(&mark).unwrap_or_else(|| panic!("no example {name}"));
    after.split_once("\n```").expect("its end").0
}

fn press() -> Arc<DeviceTags> {
    let tag = |id, name, address, data_type, unit, class| TagInfo {
        id,
        name,
        address,
        data_type,
        unit,
        description: if id == "temperature" { "of the oil" } else { "" },
        writable: id == "temperature",
        class,
    };
    Arc::new(DeviceTags::new(
        "press-1",
        "default",
        [
            tag("temperature", "Temperature", "40001", DataType::Float32, "degC", TagClass::Telemetry),
            tag("running", "running", "00001", DataType::Bool, "", TagClass::Status),
            tag("level", "level", "40010", DataType::Uint16, "mm", TagClass::Telemetry),
        ],
    ))
}

fn press_scan() -> TagBatch {
    let level = Reading { quality: Quality::Bad, reason: Reason::Timeout, ..good(2, Value::Null) };
    batch(&press(), 4711, vec![good(0, Value::Float32(25.4)), good(1, Value::Bool(true)), level])
}

/// Messages that tell of this moment, as if it were that of the examples.
fn at_that_time(message: &Outgoing) -> String {
    text(message).replace(&message.made.to_string(), &at(0).to_string())
}

#[test]
fn the_examples_of_a_scan_are_what_is_written() {
    let out = scan(&mut plain(PER_DEVICE), &press_scan());
    assert_eq!(text(&out[0]), documented("scan"));
    assert_eq!(as_historical(&out[0].payload), documented("historical").as_bytes());
}

#[test]
fn the_example_of_a_tag_is_what_is_written() {
    let out = scan(&mut plain(PER_TAG), &press_scan());
    assert_eq!(text(&out[0]), documented("tag"));
}

#[test]
fn the_example_of_a_description_is_what_is_written() {
    let message = plain(PER_DEVICE).description(&press()).unwrap();
    assert_eq!(&*message.topic, "bifrost/events/plant-a/press-1/tags");
    assert_eq!(at_that_time(&message), documented("tags"));
}

#[test]
fn the_examples_of_news_are_what_is_written() {
    let event = |kind, text: &str, data| Event {
        timestamp: at(0),
        ..Event::new("press-1", kind, Severity::Info, text).with(data)
    };
    let connected = event("device_connected", "device answers", object!({ "address": "192.0.2.10:502" }));
    assert_eq!(text(&plain(PER_DEVICE).event(&connected).unwrap()), documented("event"));
    let result = object!({ "command_id": "7c0e", "status": "ok", "tag_id": "setpoint" });
    let message = plain(PER_DEVICE).event(&event("command_result", "written", result)).unwrap();
    assert_eq!(&*message.topic, "bifrost/events/plant-a/press-1/command_result");
    assert_eq!(text(&message), documented("command_result"));
    let alarm = Alarm {
        alarm_id: "actor_failed/devices/press-1".to_owned(),
        device_id: "press-1".into(),
        alarm_type: "actor_failed",
        severity: Severity::Error,
        state: AlarmState::Active,
        timestamp: at(0),
        message: "failed too often".to_owned(),
        value: None,
        threshold: None,
        acknowledged: false,
    };
    let message = plain(PER_DEVICE).alarm(&alarm).unwrap();
    assert_eq!(&*message.topic, "bifrost/alarms/plant-a/press-1/error");
    assert_eq!(text(&message), documented("alarm"));
}

#[test]
fn the_example_of_the_gateways_status_is_what_is_written() {
    let message = status(&identity(), &routes(PER_DEVICE), true, Some("0.1.0"));
    assert_eq!(&*message.topic, "bifrost/events/plant-a/gateway/status");
    assert_eq!(at_that_time(&message), documented("status"));
}
