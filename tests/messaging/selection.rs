//! What each broker's session carries: filters, and what downsampling leaves out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bifrost_model::{DataType, Timestamp};
use bifrost_simulator::{PlcSettings, Signal, Table, Wave};
use serde_json::{Value, json};

use crate::{
    brokers::{Heard, Mosquitto, MqttWatcher},
    harness::{Plc, Site},
};

/// A session whose topics begin with its name.
fn session(name: &str, broker: &Mosquitto, more: &Value) -> Value {
    let mut session = json!({
        "name": name, "broker": broker.url(), "client_id": format!("gateway-{name}"), "qos": 1,
        "commands": {"enabled": false},
        "topics": {
            "telemetry": format!("{name}/values/{{device_id}}"), "events": format!("{name}/events/{{device_id}}"),
            "alarms": format!("{name}/alarms/{{device_id}}")
        }
    });
    let all = session.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    session
}

fn device(id: &str, tenant: &str, plc: &Plc) -> Value {
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms", "tenant": tenant,
        "tags": [
            {"id": "temperature", "address": "holding:1"},
            {"id": "state", "address": "holding:2", "class": "status"},
            {"id": "door", "address": "holding:3", "class": "critical"},
        ]
    })
}

/// Topics of scans by one session, with the tags that were in them.
fn carried(watcher: &MqttWatcher, name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let begin = format!("{name}/values/");
    let mut carried = BTreeMap::<_, BTreeSet<_>>::new();
    for heard in watcher.so_far() {
        if let Some(device) = heard.topic().strip_prefix(&begin) {
            let json = heard.json();
            let tags = json["values"].as_object().unwrap().keys().cloned();
            carried.entry(device.to_owned()).or_default().extend(tags);
        }
    }
    carried
}

fn expected(devices: &[&str], tags: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let tags: BTreeSet<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    devices.iter().map(|device| ((*device).to_owned(), tags.clone())).collect()
}

#[test]
fn each_session_carries_what_its_filter_lets_pass() {
    let (broker, plc) = (Mosquitto::start(), Plc::counting());
    let watcher = MqttWatcher::everything(broker.port);
    let with = |name, filter: Value| session(name, &broker, &json!({"filter": filter}));
    let sessions = json!([
        with("all", json!({})),
        with("presses", json!({"devices": ["press-*"], "tags": ["*e*"]})),
        with("doors", json!({"classes": ["critical"], "tenants": ["north"]})),
        with("nothing", json!({"devices": ["other"]})),
    ]);
    let devices = json!([
        device("press-1", "north", &plc),
        device("press-2", "south", &plc),
        device("boiler", "north", &plc)
    ]);
    let gateway = Site::with(&json!({"messaging": {"mqtt": sessions}}), &devices).start();
    let of = |topic: &'static str| move |heard: &Heard| heard.topic() == topic;
    for topic in
        ["all/values/boiler", "presses/values/press-1", "presses/values/press-2", "doors/values/press-1"]
    {
        watcher.await_messages(10, of(topic));
    }
    watcher.await_messages(10, of("doors/values/boiler"));
    let every = ["temperature", "state", "door"];
    assert_eq!(carried(&watcher, "all"), expected(&["press-1", "press-2", "boiler"], &every));
    assert_eq!(carried(&watcher, "presses"), expected(&["press-1", "press-2"], &["temperature", "state"]));
    assert_eq!(carried(&watcher, "doors"), expected(&["press-1", "boiler"], &["door"]));
    assert!(carried(&watcher, "nothing").is_empty());

    // What is told of devices follows the same filter.
    let told = watcher.find("what is known of a tag", of("doors/events/press-1/tags")).json();
    assert!(told["tags"].as_object().unwrap().keys().eq(["door"]), "{told}");
    watcher.find("an event", of("doors/events/press-1/device_connected"));
    watcher.find("an event of another tenant", of("all/events/press-2/device_connected"));
    let strange = |heard: &Heard| {
        let topic = heard.topic();
        topic.starts_with("doors/") && topic.contains("press-2")
            || topic.starts_with("presses/") && topic.contains("boiler")
            || topic.starts_with("nothing/") && !topic.contains("/gateway/")
    };
    assert_eq!(watcher.count(strange), 0);
    assert!(gateway.stop().success());
}

/// A value of one scan, as it was heard.
#[derive(Clone, Copy)]
struct Point {
    micros: i64,
    value: f64,
}

/// The points of one tag by the numbers of their scans.
fn points(watcher: &MqttWatcher, name: &str, tag: &str) -> BTreeMap<u64, Point> {
    let topic = format!("{name}/values/plc");
    let heard = watcher.so_far();
    let scans = heard.iter().filter(|heard| heard.topic() == topic).map(Heard::json);
    let point = |scan: Value| {
        let value = scan["values"][tag].as_f64()?;
        let timestamp: Timestamp = serde_json::from_value(scan["timestamp"].clone()).unwrap();
        Some((scan["seq"].as_u64().unwrap(), Point { micros: timestamp.as_micros(), value }))
    };
    scans.filter_map(point).collect()
}

/// All that the PLC said, and what is left of it by each kind of downsampling.
struct Ramp {
    watcher: MqttWatcher,
}

impl Ramp {
    fn run() -> Self {
        let broker = Mosquitto::start();
        let watcher = MqttWatcher::everything(broker.port);
        let period = Duration::from_secs(8);
        let ramp = Wave::Ramp { min: 0.0, max: 80.0, period };
        let sine = Wave::Sine { mean: 50.0, amplitude: 40.0, period };
        let signals = vec![
            Signal::new(Table::Holding, 0, DataType::Float32, ramp),
            Signal::new(Table::Holding, 2, DataType::Float32, sine),
        ];
        let plc = Plc::tcp(PlcSettings { signals, ..PlcSettings::default() });
        let device = json!({
            "id": "plc", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "50ms",
            "tags": [
                {"id": "ramp", "address": "holding:0", "data_type": "float32"},
                {"id": "sine", "address": "holding:2", "data_type": "float32"},
            ]
        });
        let with = |name, downsample: Value| session(name, &broker, &json!({"downsample": downsample}));
        let sessions = json!([
            with("all", json!({})),
            with("deadband", json!({"deadband": 5})),
            with("interval", json!({"min_interval": "1s"})),
            with("door", json!({"swinging_door": 1.0})),
        ]);
        let gateway = Site::with(&json!({"messaging": {"mqtt": sessions}}), &json!([device])).start();
        watcher.await_messages(250, |heard| heard.topic() == "all/values/plc");
        // What was held back until now is told at the end.
        assert!(gateway.stop().success());
        Self { watcher }
    }

    /// What is left, and of which all are points that there were.
    fn left(&self, name: &str, tag: &str) -> (BTreeMap<u64, Point>, Vec<(u64, Point)>) {
        let all = points(&self.watcher, "all", tag);
        let left = points(&self.watcher, name, tag);
        for (seq, point) in &left {
            if let Some(known) = all.get(seq) {
                assert!(known.value.to_bits() == point.value.to_bits() && known.micros == point.micros);
            }
        }
        assert!(
            left.len() >= 3 && left.len() * 2 < all.len(),
            "{name} {tag}: {} of {}",
            left.len(),
            all.len()
        );
        (all, left.into_iter().collect())
    }
}

#[test]
fn downsampling_leaves_out_what_its_rule_says_and_nothing_more() {
    let ramp = Ramp::run();
    for tag in ["ramp", "sine"] {
        let (all, left) = ramp.left("deadband", tag);
        // The last one comes whatever it is, since nothing follows it.
        for pair in left[..left.len() - 1].windows(2) {
            let ((from, before), (to, after)) = (pair[0], pair[1]);
            assert!(
                (after.value - before.value).abs() >= 5.0,
                "{tag}: {} then {}",
                before.value,
                after.value
            );
            let near = |point: &Point| (point.value - before.value).abs() < 5.0;
            assert!(all.range(from..to).all(|(_, point)| near(point)), "{tag}: more has moved");
        }
        let (_, left) = ramp.left("interval", tag);
        assert!(
            left[..left.len() - 1].windows(2).all(|pair| pair[1].1.micros - pair[0].1.micros >= 1_000_000)
        );
        let (all, left) = ramp.left("door", tag);
        for pair in left.windows(2) {
            let ((from, before), (to, after)) = (pair[0], pair[1]);
            for point in all.range(from..=to).map(|(_, point)| point) {
                #[expect(clippy::cast_precision_loss, reason = "some seconds")]
                let part = (point.micros - before.micros) as f64 / (after.micros - before.micros) as f64;
                let line = before.value + part * (after.value - before.value);
                assert!((point.value - line).abs() < 1.001, "{tag}: {} is not near {line}", point.value);
            }
        }
        let (last, _) = left.last().unwrap();
        assert!(all.range(last + 1..).count() <= 1, "{tag}: what was held back came at the end");
    }
}
