mod examples;
mod news;

use bifrost_model::{Alarm, AlarmState, DataType, Event, Quality, Reading, Reason, Severity, TagClass};
use bifrost_model::{TagInfo, Timestamp, Value};
use bytes::Bytes;
use serde_json::json as object;

use super::*;
use crate::broker::{Class, Dialect, Kind, Texts};

fn identity() -> Identity {
    Identity { gateway_id: "gw-1".into(), site_id: "plant-a".into(), hostname: "pc".into() }
}

fn routes(telemetry: &str) -> Arc<Routes> {
    let texts = Texts {
        telemetry,
        commands: "bifrost/commands/{site_id}/{device_id}",
        alarms: "bifrost/alarms/{site_id}/{device_id}",
        events: "bifrost/events/{site_id}/{device_id}",
        diagnostics: "bifrost/diagnostics/{site_id}/{device_id}",
    };
    Arc::new(Routes::new(Dialect::Mqtt, &identity(), &texts))
}

const PER_DEVICE: &str = "bifrost/telemetry/{site_id}/{device_id}";
const PER_TAG: &str = "bifrost/telemetry/{site_id}/{device_id}/{tag_name}";

/// With a filter and downsampling as a configuration has them.
fn encoder(telemetry: &str, filter: serde_json::Value, downsample: serde_json::Value) -> Encoder {
    let (filter, downsample) =
        (serde_json::from_value(filter).unwrap(), serde_json::from_value(downsample).unwrap());
    Encoder::new(identity(), routes(telemetry), &filter, &downsample, false)
}

fn plain(telemetry: &str) -> Encoder {
    encoder(telemetry, object!({}), object!({}))
}

fn tags(device: &str, ids: &[(&str, TagClass)]) -> Arc<DeviceTags> {
    let tag = |(n, (id, class)): (usize, &(&'static str, TagClass))| TagInfo {
        id,
        name: if n == 0 { "Erster" } else { id },
        address: "40001",
        data_type: DataType::Float32,
        unit: "degC",
        description: "",
        writable: n == 0,
        class: *class,
    };
    // The texts of tests live as long as the program.
    let ids: Vec<(&'static str, TagClass)> = ids.iter().map(|(id, class)| (leak(id), *class)).collect();
    Arc::new(DeviceTags::new(device, "default", ids.iter().enumerate().map(tag)))
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.into())
}

fn telemetry(device: &str, ids: &[&str]) -> Arc<DeviceTags> {
    let ids: Vec<_> = ids.iter().map(|id| (*id, TagClass::Telemetry)).collect();
    tags(device, &ids)
}

/// 2026-01-31T12:00:00.123456Z, and so many seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_769_860_800_123_456 + seconds * 1_000_000)
}

fn good(tag: u32, value: Value) -> Reading {
    Reading { tag, quality: Quality::Good, reason: Reason::None, value }
}

fn batch(device: &Arc<DeviceTags>, seq: u64, readings: Vec<Reading>) -> TagBatch {
    let seconds = i64::try_from(seq).unwrap() - 4711;
    TagBatch { device: Arc::clone(device), seq, timestamp: at(seconds), readings }
}

fn scan(encoder: &mut Encoder, batch: &TagBatch) -> Vec<Outgoing> {
    let mut out = Vec::new();
    encoder.scan(batch, &mut out);
    out
}

fn text(message: &Outgoing) -> &str {
    std::str::from_utf8(&message.payload).unwrap()
}

#[test]
fn a_scan_is_one_message_of_its_device() {
    let device = telemetry("press-1", &["temperature", "running"]);
    let readings = vec![good(0, Value::Float32(25.4)), good(1, Value::Bool(true))];
    let out = scan(&mut plain(PER_DEVICE), &batch(&device, 4711, readings));
    let [message] = &out[..] else { panic!("{out:?}") };
    assert_eq!(
        text(message),
        concat!(
            r#"{"device_id":"press-1","site_id":"plant-a","seq":4711,"timestamp":"2026-01-31T12:00:00.123456Z","#,
            r#""values":{"temperature":25.4,"running":true}}"#
        )
    );
    assert_eq!(&*message.topic, "bifrost/telemetry/plant-a/press-1");
    assert_eq!((message.kind, message.class, message.retain), (Kind::Telemetry, Class::Telemetry, false));
    assert_eq!((&*message.device, message.seq, message.values, &*message.part), ("press-1", 4711, 2, ""));
    assert_eq!((message.made, message.historical), (at(0), false));
    assert_eq!(message.id("gw-1"), "gw-1-press-1-4711");
}

#[test]
fn what_is_not_good_is_named_beside_the_values() {
    let device = telemetry("press-1", &["a", "b", "c"]);
    let readings = vec![
        good(0, Value::Int(-3)),
        Reading { quality: Quality::Stale, reason: Reason::Stopped, ..good(1, Value::Uint(7)) },
        Reading { quality: Quality::Bad, reason: Reason::Timeout, ..good(2, Value::Null) },
    ];
    let out = scan(&mut plain(PER_DEVICE), &batch(&device, 4711, readings));
    assert!(
        text(&out[0]).ends_with(r#","values":{"a":-3,"b":7,"c":null},"quality":{"b":"STALE","c":"BAD"}}"#),
        "{}",
        text(&out[0])
    );
}

#[test]
fn each_tag_can_have_a_message_of_its_own_with_its_json() {
    let device = tags("a/b c+ä#", &[("x.y", TagClass::Critical), ("%41", TagClass::Telemetry)]);
    let readings = vec![good(0, Value::Float32(0.1)), good(1, Value::Text("say \"hi\"\n".into()))];
    let batch = batch(&device, 4711, readings);
    let out = scan(&mut plain(PER_TAG), &batch);
    let [first, second] = &out[..] else { panic!("{out:?}") };
    assert_eq!(&*first.topic, "bifrost/telemetry/plant-a/a%2Fb c%2Bä%23/x.y");
    assert_eq!(&*second.topic, "bifrost/telemetry/plant-a/a%2Fb c%2Bä%23/%2541");
    assert_eq!(
        text(first),
        concat!(
            r#"{"id":"x.y","device_id":"a/b c+ä#","name":"Erster","address":"40001","data_type":"float32","#,
            r#""value":0.1,"quality":"GOOD","timestamp":"2026-01-31T12:00:00.123456Z","seq":4711,"#,
            r#""unit":"degC","writable":true,"description":""}"#
        )
    );
    let json: Vec<_> = batch.tags().map(|tag| serde_json::to_string(&tag).unwrap()).collect();
    assert_eq!([text(first), text(second)], json[..]);
    assert_eq!((first.class, second.class), (Class::Critical, Class::Telemetry));
    assert_eq!((first.values, &*first.part), (1, "x.y"));
    assert_eq!(first.id("gw-1"), "gw-1-a/b c+ä#-4711:x.y");
}

#[test]
fn values_have_the_digits_that_a_tags_json_has() {
    let values = [
        Value::Null,
        Value::Text("\"\\\u{1}ä\u{2028}".into()),
        Value::Float64(-0.0),
        Value::Float64(1e300),
        Value::Float64(0.1),
        Value::Float32(0.1),
        Value::Float32(f32::MIN_POSITIVE),
        Value::Uint(u64::MAX),
        Value::Int(i64::MIN),
        Value::Bool(false),
        Value::Float64(f64::NAN),
    ];
    let ids: Vec<_> = (0..values.len()).map(|n| format!("t{n}")).collect();
    let device = telemetry("press-1", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let readings: Vec<_> = (0..).zip(values.clone()).map(|(tag, value)| good(tag, value)).collect();
    let out = scan(&mut plain(PER_DEVICE), &batch(&device, 4711, readings));
    let members: Vec<_> = ids
        .iter()
        .zip(&values)
        .map(|(id, v)| format!("\"{id}\":{}", serde_json::to_string(v).unwrap()))
        .collect();
    assert!(
        text(&out[0]).ends_with(&format!(r#""values":{{{}}}}}"#, members.join(","))),
        "{}",
        text(&out[0])
    );
    assert!(text(&out[0]).contains(r#""t2":-0.0,"t3":1e+300,"t4":0.1,"t5":0.1,"#), "{}", text(&out[0]));
    assert!(text(&out[0]).contains(r#""t7":18446744073709551615,"t8":-9223372036854775808,"#));
}

#[test]
fn ids_with_quotes_are_escaped_in_every_form() {
    let device = telemetry("pre\"ss\\", &["te\"mp"]);
    for form in [PER_DEVICE, PER_TAG] {
        let mut encoder = plain(form);
        let description = encoder.description(&device).unwrap();
        let out = scan(&mut encoder, &batch(&device, 1, vec![good(0, Value::Int(1))]));
        for message in [&description, &out[0]] {
            let json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!(json["device_id"], "pre\"ss\\");
            assert!(text(message).contains(r#""te\"mp""#));
        }
    }
}

#[test]
fn a_message_has_the_highest_class_of_its_tags() {
    let device = tags("p", &[("a", TagClass::Telemetry), ("b", TagClass::Critical), ("c", TagClass::Status)]);
    let mut encoder = plain(PER_DEVICE);
    for (given, class) in
        [(vec![0, 1, 2], Class::Critical), (vec![0], Class::Telemetry), (vec![2, 0], Class::Status)]
    {
        let readings = given.iter().map(|tag| good(*tag, Value::Int(1))).collect();
        assert_eq!(scan(&mut encoder, &batch(&device, 1, readings))[0].class, class, "{given:?}");
    }
    let status = tags("p", &[("a", TagClass::Status)]);
    assert_eq!(scan(&mut encoder, &batch(&status, 1, vec![good(0, Value::Null)]))[0].class, Class::Status);
}

#[test]
fn what_the_filter_keeps_back_is_counted_and_leaves_no_empty_message() {
    let device = telemetry("p", &["a", "b", "c"]);
    let mut encoder = encoder(PER_DEVICE, object!({"tags": ["b"]}), object!({}));
    let all = (0..3).map(|tag| good(tag, Value::Int(1))).collect();
    let out = scan(&mut encoder, &batch(&device, 1, all));
    assert!(text(&out[0]).ends_with(r#""values":{"b":1}}"#));
    assert_eq!(scan(&mut encoder, &batch(&device, 2, vec![good(2, Value::Int(1))])), []);
    assert_eq!(scan(&mut encoder, &batch(&device, 3, vec![])), []);
    assert_eq!(encoder.counts(), Counts { passed: 1, filtered: 3, thinned_out: 0 });
    let mut encoder = self::encoder(PER_TAG, object!({"devices": ["x"]}), object!({"deadband": 1.0}));
    assert_eq!(scan(&mut encoder, &batch(&device, 1, vec![good(0, Value::Int(1))])), []);
    assert_eq!(encoder.counts(), Counts { passed: 0, filtered: 1, thinned_out: 0 });
}

#[test]
fn a_device_with_other_tags_is_told_apart_from_what_it_was() {
    let (before, after) = (telemetry("p", &["a", "b"]), telemetry("p", &["b", "a"]));
    let mut encoder = plain(PER_DEVICE);
    assert!(!encoder.knows(&before));
    scan(&mut encoder, &batch(&before, 1, vec![good(0, Value::Int(1))]));
    assert!(encoder.knows(&before) && !encoder.knows(&after));
    let out = scan(&mut encoder, &batch(&after, 2, vec![good(0, Value::Int(1))]));
    assert!(text(&out[0]).ends_with(r#""values":{"b":1}}"#));
}

#[test]
fn a_reading_of_an_unknown_tag_is_left_out() {
    let device = telemetry("p", &["a"]);
    for (form, downsample) in
        [(PER_DEVICE, object!({})), (PER_TAG, object!({})), (PER_DEVICE, object!({"deadband": 1.0}))]
    {
        let mut encoder = encoder(form, object!({}), downsample);
        let readings = vec![good(9, Value::Int(1)), good(0, Value::Int(1))];
        let out = scan(&mut encoder, &batch(&device, 1, readings));
        assert_eq!(out.iter().map(|message| message.values).sum::<u32>(), 1);
    }
}

#[test]
fn values_that_were_held_back_come_with_their_own_scan_before_the_newer() {
    let device = telemetry("p", &["ramp", "flag"]);
    let door = object!({"swinging_door": 0.1});
    let mut encoder = encoder(PER_DEVICE, object!({}), door.clone());
    let mut per_tag = self::encoder(PER_TAG, object!({}), door);
    let (mut out, mut singles) = (Vec::new(), Vec::new());
    for (seq, ramp, flag) in [(4711, 0, false), (4712, 1, false), (4713, 2, false), (4714, 0, true)] {
        let batch = batch(&device, seq, vec![good(0, Value::Int(ramp)), good(1, Value::Bool(flag))]);
        encoder.scan(&batch, &mut out);
        per_tag.scan(&batch, &mut singles);
    }
    let given: Vec<_> =
        out.iter().map(|m| (m.seq, m.made, m.id("g"), text(m).split_once("\"values\"").unwrap().1)).collect();
    assert_eq!(
        given,
        [
            (4711, at(0), "g-p-4711".to_owned(), r#":{"ramp":0,"flag":false}}"#),
            (4713, at(2), "g-p-4713:4714".to_owned(), r#":{"ramp":2}}"#),
            (4714, at(3), "g-p-4714".to_owned(), r#":{"flag":true}}"#),
        ]
    );
    assert!(text(&out[1]).contains(r#""seq":4713,"timestamp":"2026-01-31T12:00:02.123456Z""#));
    let ids: Vec<_> = singles.iter().map(|message| message.id("g")).collect();
    assert_eq!(ids, ["g-p-4711:ramp", "g-p-4711:flag", "g-p-4713:ramp", "g-p-4714:flag"]);
    assert_eq!(encoder.counts(), Counts { passed: 4, filtered: 0, thinned_out: 3 });
    out.clear();
    encoder.flush(&mut out);
    assert_eq!(out.iter().map(|message| message.id("g")).collect::<Vec<_>>(), ["g-p-4714:end"]);
    assert_eq!(encoder.counts(), Counts { passed: 5, filtered: 0, thinned_out: 3 });
}

#[test]
fn what_was_held_back_is_not_lost_with_a_devices_old_tags() {
    let (before, after) = (telemetry("p", &["a"]), telemetry("p", &["b"]));
    let mut encoder = encoder(PER_DEVICE, object!({}), object!({"min_interval": "1h"}));
    for seq in [1, 2] {
        scan(&mut encoder, &batch(&before, seq, vec![good(0, Value::Uint(seq))]));
    }
    encoder.description(&after);
    let out = scan(&mut encoder, &batch(&after, 3, vec![good(0, Value::Int(3))]));
    let given: Vec<_> = out.iter().map(|m| (m.seq, text(m).split_once("\"values\"").unwrap().1)).collect();
    assert_eq!(given, [(2, r#":{"a":2}}"#), (3, r#":{"b":3}}"#)]);
}

#[test]
fn a_devices_tags_are_described_once_and_retained() {
    let device = tags("press-1", &[("temperature", TagClass::Critical), ("b", TagClass::Telemetry)]);
    let mut encoder = plain(PER_DEVICE);
    let message = encoder.description(&device).unwrap();
    assert_eq!(&*message.topic, "bifrost/events/plant-a/press-1/tags");
    assert_eq!((message.kind, message.class, message.retain), (Kind::Description, Class::Status, true));
    assert_eq!(
        text(&message),
        format!(
            concat!(
                r#"{{"device_id":"press-1","site_id":"plant-a","gateway_id":"gw-1","timestamp":"{}","tags":{{"#,
                r#""temperature":{{"name":"Erster","address":"40001","data_type":"float32","unit":"degC","#,
                r#""writable":true,"description":"","class":"critical"}},"#,
                r#""b":{{"name":"b","address":"40001","data_type":"float32","unit":"degC","#,
                r#""writable":false,"description":"","class":"telemetry"}}}}}}"#
            ),
            message.made
        )
    );
    assert!(encoder.knows(&device));
    let cleared = encoder.forget("press-1").unwrap();
    assert_eq!((&*cleared.topic, cleared.payload.len(), cleared.retain), (&*message.topic, 0, true));
    assert_eq!(cleared.kind, Kind::Description);
    assert!(!encoder.knows(&device));
}

#[test]
fn a_description_tells_nothing_of_what_the_filter_keeps_back() {
    let filter = object!({"devices": ["p"], "classes": ["status"]});
    let mut encoder = encoder(PER_DEVICE, filter, object!({}));
    let some = tags("p", &[("a", TagClass::Telemetry), ("b", TagClass::Status)]);
    let described: serde_json::Value =
        serde_json::from_slice(&encoder.description(&some).unwrap().payload).unwrap();
    assert_eq!(described["tags"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    let none = telemetry("p", &["a", "b"]);
    assert_eq!(encoder.description(&none).map(|message| message.payload), Some(Bytes::new()));
    assert_eq!(encoder.description(&none), None);
    assert_eq!(encoder.forget("p"), None);
    assert_eq!(encoder.description(&telemetry("q", &["b"])), None);
    assert_eq!(encoder.forget("q"), None);
    assert_eq!(encoder.forget("r"), None);
    assert!(encoder.forget("p").is_some(), "it may have been described before");
}

#[test]
fn a_figure_stands_under_its_name() {
    let encoder = encoder(PER_DEVICE, object!({"devices": ["p"]}), object!({}));
    let message = encoder.diagnostics(&"p".into(), "scans", &object!({"failed": 3})).unwrap();
    assert_eq!(&*message.topic, "bifrost/diagnostics/plant-a/p/scans");
    assert_eq!(
        text(&message),
        format!(
            concat!(
                r#"{{"device_id":"p","site_id":"plant-a","gateway_id":"gw-1","timestamp":"{}","#,
                r#""metric":"scans","value":{{"failed":3}}}}"#
            ),
            message.made
        )
    );
    assert_eq!((message.kind, message.class), (Kind::Diagnostics, Class::Telemetry));
    assert_eq!(encoder.diagnostics(&"q".into(), "scans", &1), None);
}

#[test]
fn what_waited_on_disk_is_marked_as_its_last_member() {
    for (payload, marked) in [
        (r#"{"a":{}}"#, r#"{"a":{},"is_historical":true}"#),
        ("{}", r#"{"is_historical":true}"#),
        (" { } \n", r#"{"is_historical":true}"#),
        ("", ""),
        ("[1]", "[1]"),
        ("{", "{"),
    ] {
        assert_eq!(as_historical(&Bytes::from_static(payload.as_bytes())), marked.as_bytes(), "{payload}");
    }
}

#[test]
fn telemetry_is_retained_where_that_is_wanted() {
    let settings = (FilterSettings::default(), DownsampleSettings::default());
    let mut encoder = Encoder::new(identity(), routes(PER_DEVICE), &settings.0, &settings.1, true);
    let out = scan(&mut encoder, &batch(&telemetry("p", &["a"]), 1, vec![good(0, Value::Int(1))]));
    assert!(out[0].retain);
}
