//! A clock that jumps by an hour, forward and back: nothing is lost or given up for it.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bifrost_model::Timestamp;
use serde_json::json;

use crate::{
    brokers::{Mosquitto, MqttWatcher, Network, Publication, TcpProxy, mqtt_publish},
    harness::{Gateway, Site, until_true},
    plant::{Plant, await_all, await_empty, await_spool, cloud, is_scan, messaging, scans, spool},
};

const HOUR: Duration = Duration::from_hours(1);

/// A gateway's clock, which tests move; what counts elapsed time isn't moved, as on a real machine.
struct Clock(PathBuf);

impl Clock {
    /// Starts the gateway on it.
    fn start(site: &Arc<Site>) -> (Self, Gateway) {
        let clock = Self(site.config().with_file_name("clock"));
        clock.set(Duration::ZERO);
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|target| format!("/usr/lib/{target}/faketime/libfaketimeMT.so.1"))
            .into_iter()
            .find(|path| fs::exists(path).unwrap())
            .expect("libfaketime is installed: run `make test`, which does that");
        let gateway = site.start_in(&[
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", clock.0.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]);
        (clock, gateway)
    }

    /// So far ahead of the right time, from now on.
    fn set(&self, ahead: Duration) {
        // Renamed into place: it is read at any moment.
        let new = self.0.with_extension("new");
        fs::write(&new, format!("+{}\n", ahead.as_secs())).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}

/// The time in so long, as messages carry it.
fn time_in(ahead: Duration) -> String {
    let micros = (SystemTime::now() + ahead).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    Timestamp::from_micros(i64::try_from(micros).unwrap()).to_string()
}

fn await_scans(gateway: &Gateway, plant: &Plant, count: u64) {
    let before = plant.last_numbers(gateway);
    until_true("more scans", || {
        plant.last_numbers(gateway).iter().all(|(id, last)| *last >= before[id] + count)
    });
}

/// Waits for scans of about this time.
fn await_time(watcher: &MqttWatcher, ahead: Duration) {
    let (from, to) = (time_in(ahead), time_in(ahead + HOUR / 2));
    watcher.find("a scan of that time", |heard| {
        let json = heard.json();
        let time = json["timestamp"].as_str().unwrap_or_default();
        is_scan(heard) && (from.as_str()..to.as_str()).contains(&time)
    });
}

#[test]
fn a_clock_that_jumps_makes_nothing_too_old_and_nothing_lost() {
    let (broker, plant) = (Mosquitto::start(), Plant::new(3, 20, "100ms"));
    let (watcher, network) = (MqttWatcher::everything(broker.port), TcpProxy::to(broker.port));
    // What waits may be half an hour old: less than the clock jumps.
    let section = json!({"mqtt": cloud(network.port), "spool": {"stall_after": "500ms", "max_age": "30m"}});
    let (clock, gateway) = Clock::start(&Site::with(&messaging(&section), &plant.devices()));
    await_time(&watcher, Duration::ZERO);
    // While connected …
    clock.set(HOUR);
    await_time(&watcher, HOUR);
    clock.set(Duration::ZERO);
    await_time(&watcher, Duration::ZERO);
    await_scans(&gateway, &plant, 20);
    // … and during an outage, for longer than it takes until the spool looks for what is too old.
    network.set(Network::Refusing);
    await_spool(&gateway, "a spool on disk", |spool| spool["depth"]["disk_messages"] != 0);
    await_scans(&gateway, &plant, 20);
    let outage = spool(&gateway);
    for ahead in [HOUR, Duration::ZERO] {
        clock.set(ahead);
        await_scans(&gateway, &plant, 110);
    }
    let now = spool(&gateway);
    assert_eq!((&now["oldest"], &now["dropped"]["messages"]), (&outage["oldest"], &json!(0)), "{now:#}");
    network.set(Network::Passing);
    await_spool(&gateway, "live again", |spool| spool["state"] == "live");
    let last = plant.silence(&gateway);
    await_all(&last, || scans(&watcher));
    assert_eq!(await_empty(&gateway)["dropped"]["messages"], 0);
    assert!(gateway.stop().success());
}

#[test]
fn a_command_expires_by_the_clock_that_is_set_now() {
    let (broker, plant) = (Mosquitto::start(), Plant::new(1, 2, "100ms"));
    let watcher = MqttWatcher::everything(broker.port);
    let mut devices = plant.devices();
    devices[0]["tags"][1]["writable"] = json!(true);
    let (clock, gateway) =
        Clock::start(&Site::with(&messaging(&json!({"mqtt": cloud(broker.port)})), &devices));
    watcher.await_messages(3, is_scan);
    let command = |id: &str, valid_for: Duration| {
        let order = json!({"command_id": id, "tag_id": "t1", "value": 5, "expires_at": time_in(valid_for)})
            .to_string();
        let topic = "bifrost/commands/plant-test/telemetry-0/write";
        let response_topic = Some("answers");
        mqtt_publish(
            broker.port,
            &Publication { topic, payload: &order, qos: 1, response_topic, ..Publication::default() },
        );
        let answer =
            watcher.find("an answer", |heard| heard.topic() == "answers" && heard.json()["command_id"] == id);
        answer.json()["status"].as_str().unwrap().to_owned()
    };
    let minutes = |count: u64| Duration::from_mins(count);
    assert_eq!(command("now", minutes(5)), "ok");
    clock.set(HOUR);
    assert_eq!(command("an hour late", minutes(5)), "expired");
    assert_eq!(command("in time", minutes(65)), "ok");
    clock.set(Duration::ZERO);
    assert_eq!(command("in time again", minutes(5)), "ok");
    assert!(gateway.stop().success());
}
