//! Events, alarms, and whether the gateway is there.

use super::*;

fn event(device: &str, event_type: &'static str, severity: Severity, data: serde_json::Value) -> Event {
    Event { timestamp: at(0), ..Event::new(device, event_type, severity, "it \"happened\"").with(data) }
}

#[test]
fn an_event_is_its_json_on_the_topic_of_its_type() {
    let event = event("gateway", "seq_skipped", Severity::Warning, object!({"from": 5, "to": 9}));
    let message = plain(PER_DEVICE).event(&event).unwrap();
    assert_eq!(&*message.topic, "bifrost/events/plant-a/%67ateway/seq_skipped");
    assert_eq!(
        text(&message),
        concat!(
            r#"{"device_id":"gateway","event_type":"seq_skipped","severity":"warning","#,
            r#""timestamp":"2026-01-31T12:00:00.123456Z","message":"it \"happened\"","data":{"from":5,"to":9}}"#
        )
    );
    assert_eq!((message.kind, message.class, message.retain), (Kind::Event, Class::Status, false));
    assert_eq!((message.seq, message.values, message.made), (0, 0, at(0)));
}

#[test]
fn a_commands_result_reads_like_an_answer() {
    let data = object!({
        "command_id": "c-1", "status": "ok", "read_back": 7, "tag_id": "t", "message": "not the event's", "error": null
    });
    let message = plain(PER_DEVICE).event(&event("p", "command_result", Severity::Info, data)).unwrap();
    assert_eq!(&*message.topic, "bifrost/events/plant-a/p/command_result");
    assert_eq!(
        text(&message),
        concat!(
            r#"{"device_id":"p","event_type":"command_result","severity":"info","#,
            r#""timestamp":"2026-01-31T12:00:00.123456Z","message":"it \"happened\"","#,
            r#""data":{"command_id":"c-1","error":null,"message":"not the event's","read_back":7,"status":"ok","tag_id":"t"},"#,
            r#""command_id":"c-1","error":null,"read_back":7,"status":"ok","tag_id":"t"}"#
        )
    );
    let message =
        plain(PER_DEVICE).event(&event("p", "command_result", Severity::Info, object!({}))).unwrap();
    assert!(text(&message).ends_with(r#""data":{}}"#));
}

fn alarm(device: &str, severity: Severity) -> Alarm {
    Alarm {
        alarm_id: "actor/plc".to_owned(),
        device_id: device.into(),
        alarm_type: "actor_failed",
        severity,
        state: AlarmState::Active,
        timestamp: at(0),
        message: "down".to_owned(),
        value: Some(Value::Float32(0.1)),
        threshold: None,
        acknowledged: false,
    }
}

#[test]
fn an_alarm_is_its_json_on_the_level_of_its_severity() {
    let encoder = plain(PER_DEVICE);
    let message = encoder.alarm(&alarm("", Severity::Critical)).unwrap();
    assert_eq!(&*message.topic, "bifrost/alarms/plant-a/gateway/critical");
    assert_eq!(
        text(&message),
        concat!(
            r#"{"alarm_id":"actor/plc","device_id":"","alarm_type":"actor_failed","severity":"critical","#,
            r#""state":"active","timestamp":"2026-01-31T12:00:00.123456Z","message":"down","value":0.1,"#,
            r#""acknowledged":false}"#
        )
    );
    assert_eq!((message.kind, message.class), (Kind::Alarm, Class::Critical));
    assert_eq!(encoder.alarm(&alarm("p", Severity::Error)).unwrap().class, Class::Status);
}

#[test]
fn two_events_of_the_same_moment_have_two_ids_and_the_same_event_has_one() {
    let encoder = plain(PER_DEVICE);
    let id =
        |n: u32| encoder.event(&event("p", "x", Severity::Info, object!({ "n": n }))).unwrap().id("gw-1");
    assert_ne!(id(1), id(2));
    assert_eq!(id(1), id(1));
    let taken_note = Alarm { acknowledged: true, ..alarm("p", Severity::Error) };
    let ids =
        [taken_note, alarm("p", Severity::Error)].map(|alarm| encoder.alarm(&alarm).unwrap().id("gw-1"));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn events_and_alarms_of_other_devices_and_tenants_do_not_pass() {
    let mut encoder = encoder(PER_DEVICE, object!({"devices": ["p*"], "tenants": ["default"]}), object!({}));
    encoder.description(&telemetry("p1", &["a"]));
    let passes = |device: &str| {
        let event = encoder.event(&event(device, "x", Severity::Info, object!({}))).is_some();
        assert_eq!(encoder.alarm(&alarm(device, Severity::Info)).is_some(), event);
        event
    };
    assert!(passes("p1") && passes(""));
    assert!(!passes("q") && !passes("p2"));
    assert!(encoder.passes_device("p2", Some("default")) && !encoder.passes_device("p1", Some("acme")));
}

#[test]
fn an_event_of_the_gateway_names_no_devices_of_others() {
    let range = |device: &str| object!({"device_id": device, "from": 5, "to": 9});
    let told = |encoder: &Encoder, device: &str| {
        let data = object!({"ranges": [range("p1"), range("q"), range("p2")], "messages": 3});
        let message = encoder.event(&event(device, "spool_dropped", Severity::Error, data)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(json["data"]["messages"], 3);
        json["data"]["ranges"].clone()
    };
    let all = object!([range("p1"), range("q"), range("p2")]);
    assert_eq!(told(&plain(PER_DEVICE), ""), all);
    let devices = encoder(PER_DEVICE, object!({"devices": ["p*"]}), object!({}));
    assert_eq!(told(&devices, ""), object!([range("p1"), range("p2")]));
    assert_eq!(told(&devices, "p1"), all, "what is told of one device is its own affair");
    let mut tenants = encoder(PER_DEVICE, object!({"tenants": ["default"]}), object!({}));
    tenants.description(&telemetry("p1", &["a"]));
    assert_eq!(told(&tenants, ""), object!([range("p1")]));
}

#[test]
fn the_gateway_says_whether_it_is_there() {
    let routes = routes(PER_DEVICE);
    let birth = status(&identity(), &routes, true, Some("0.1.0"));
    assert_eq!(&*birth.topic, "bifrost/events/plant-a/gateway/status");
    assert_eq!(
        text(&birth),
        format!(
            r#"{{"gateway_id":"gw-1","site_id":"plant-a","online":true,"timestamp":"{}","version":"0.1.0"}}"#,
            birth.made
        )
    );
    assert_eq!((birth.kind, birth.class, birth.retain), (Kind::Description, Class::Status, true));
    let will = status(&identity(), &routes, false, None);
    let said =
        format!(r#"{{"gateway_id":"gw-1","site_id":"plant-a","online":false,"timestamp":"{}"}}"#, will.made);
    assert_eq!(text(&will), said);
}
