//! A plant that says much, sections of brokers for it, and which of its scans arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use bifrost_model::DataType;
use bifrost_simulator::{PlcSettings, Signal, Table, Wave};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    brokers::{Heard, MqttWatcher, Stored},
    harness::{Gateway, PATIENCE, Plc, until},
};

/// Classes of tags, the least important first; devices have them by turns.
pub(crate) const CLASSES: [&str; 3] = ["telemetry", "status", "critical"];

/// Devices, each on a PLC of its own; the first tag of each has the class that its id begins with.
pub(crate) struct Plant {
    pub(crate) plcs: Vec<Plc>,
    tags: usize,
    interval: &'static str,
}

impl Plant {
    /// So many devices with so many tags, read so often.
    pub(crate) fn new(devices: usize, tags: usize, interval: &'static str) -> Self {
        Self { plcs: (0..devices).map(|_| Plc::counting()).collect(), tags, interval }
    }

    /// The same with values that no compression can do much about.
    pub(crate) fn noisy(devices: usize, tags: usize, interval: &'static str) -> Self {
        let wave = Wave::Constant { value: 30_000.0 };
        let signal =
            Signal { repeat: 100, ..Signal::new(Table::Holding, 0, DataType::Uint16, wave).noisy(8_000.0) };
        let settings = PlcSettings { signals: vec![signal], ..PlcSettings::default() };
        Self { plcs: (0..devices).map(|_| Plc::tcp(settings.clone())).collect(), tags, interval }
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        (0..self.plcs.len()).map(|n| format!("{}-{n}", CLASSES[n % CLASSES.len()])).collect()
    }

    /// As a configuration has them.
    pub(crate) fn devices(&self) -> Value {
        let device = |(id, plc): (String, &Plc)| {
            let class = id.split('-').next().unwrap().to_owned();
            let tag = |at: usize| {
                let class = if at == 0 { &class } else { CLASSES[0] };
                json!({"id": format!("t{at}"), "address": format!("holding:{at}"), "class": class})
            };
            json!({
                "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": self.interval,
                "tags": (0..self.tags).map(tag).collect::<Vec<_>>()
            })
        };
        self.ids().into_iter().zip(&self.plcs).map(device).collect()
    }

    /// The number of each device's last scan.
    pub(crate) fn last_numbers(&self, gateway: &Gateway) -> Numbers {
        let last = |id: &String| gateway.info(id)["next_seq"].as_u64().unwrap() - 1;
        self.ids().iter().map(|id| (id.clone(), last(id))).collect()
    }

    /// Switches everything off; answers each device's last number when nothing more is read.
    pub(crate) fn silence(&self, gateway: &Gateway) -> Numbers {
        self.plcs.iter().for_each(Plc::switch_off);
        for id in self.ids() {
            gateway.await_state(&id, "offline");
        }
        self.last_numbers(gateway)
    }
}

/// A number per device.
pub(crate) type Numbers = BTreeMap<String, u64>;

/// A configuration with brokers, and retries that a test can wait for.
pub(crate) fn messaging(section: &Value) -> Value {
    json!({
        "supervision": {"broker_session": {"max_delay": "500ms", "parked_retry": "500ms"}},
        "messaging": section
    })
}

/// An MQTT broker on a port of loopback, with acknowledgements for every class.
pub(crate) fn cloud(port: u16) -> Value {
    json!({"name": "cloud", "broker": format!("mqtt://127.0.0.1:{port}"), "qos_by_class": {"telemetry": 1}})
}

/// What a gateway says of its only spool.
#[track_caller]
pub(crate) fn spool(gateway: &Gateway) -> Value {
    gateway.json("/api/spool")["spools"][0].clone()
}

/// Waits until what it says is so.
#[track_caller]
pub(crate) fn await_spool(gateway: &Gateway, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(what, || {
            last = spool(gateway);
            is_so(&last).then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("{what}: {last:#}"))
}

/// Waits until nothing waits and nothing is out.
#[track_caller]
pub(crate) fn await_empty(gateway: &Gateway) -> Value {
    await_spool(gateway, "an empty spool", |spool| {
        let depth = &spool["depth"];
        let none = |value: &Value| *value == json!(0);
        none(&depth["memory_messages"]) && none(&depth["disk_messages"]) && none(&spool["in_flight"])
    })
}

/// A scan as it arrived.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Scan {
    pub(crate) device_id: String,
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) is_historical: bool,
}

/// Whether this is the topic of a scan.
pub(crate) fn is_scan(heard: &Heard) -> bool {
    heard.topic().starts_with("bifrost/telemetry/")
}

/// The scans that a watcher heard, in the order in which they came.
pub(crate) fn scans(watcher: &MqttWatcher) -> Vec<Scan> {
    let heard = watcher.so_far();
    let scans = heard.iter().filter(|heard| is_scan(heard));
    scans.map(|heard| serde_json::from_slice(heard.message.payload()).unwrap()).collect()
}

/// The scans that a stream holds.
pub(crate) fn stored_scans(stored: &[Stored]) -> Vec<Scan> {
    let scans = stored.iter().filter(|message| message.subject.starts_with("bifrost.telemetry."));
    scans.map(|message| serde_json::from_value(message.json.clone()).unwrap()).collect()
}

/// Which numbers of each device arrived.
pub(crate) fn arrived(scans: &[Scan]) -> BTreeMap<String, BTreeSet<u64>> {
    let mut arrived = BTreeMap::<String, BTreeSet<u64>>::new();
    for scan in scans {
        arrived.entry(scan.device_id.clone()).or_default().insert(scan.seq);
    }
    arrived
}

/// Runs of numbers from 1 to this that aren't there.
pub(crate) fn holes(there: &BTreeSet<u64>, last: u64) -> Vec<(u64, u64)> {
    let mut holes = Vec::new();
    let mut next = 1;
    for number in there.iter().copied().filter(|number| *number <= last).chain([last + 1]) {
        if number > next {
            holes.push((next, number - 1));
        }
        next = number + 1;
    }
    holes
}

/// What is missing of each device's numbers up to the last.
fn missing(scans: &[Scan], last: &Numbers) -> BTreeMap<String, Vec<(u64, u64)>> {
    let mut arrived = arrived(scans);
    let missing =
        last.iter().map(|(id, last)| (id.clone(), holes(arrived.entry(id.clone()).or_default(), *last)));
    missing.filter(|(_, holes)| !holes.is_empty()).collect()
}

/// Waits until every number of every device has arrived.
#[track_caller]
pub(crate) fn await_all(last: &Numbers, arrived: impl Fn() -> Vec<Scan>) -> Vec<Scan> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let scans = arrived();
        let missing = missing(&scans, last);
        if missing.is_empty() {
            return scans;
        }
        assert!(Instant::now() < deadline, "{} scans arrived; missing: {missing:?}", scans.len());
        thread::sleep(Duration::from_millis(250));
    }
}
