//! Brokers that can't be reached, don't answer or don't want us: what is told, and that all is well by itself
//! once it is mended.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    brokers::{Mosquitto, MqttWatcher, NatsServer, Network, TcpProxy, Version, read_stream},
    harness::{Gateway, Site, until},
    plant::{
        Plant, arrived, await_all, await_empty, await_spool, cloud, is_scan, messaging, scans, stored_scans,
    },
};

fn plant() -> Plant {
    Plant::new(3, 20, "100ms")
}

fn start(plant: &Plant, section: &Value) -> Gateway {
    Site::with(&messaging(section), &plant.devices()).start()
}

/// Waits until the session is away with this reason.
#[track_caller]
fn await_reason(gateway: &Gateway, broker: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    until(&format!("a session without a connection because {reason:?}"), || {
        last = gateway.actor(&format!("brokers/{broker}/session"));
        let away = ["backoff", "failed", "starting"].contains(&last["state"].as_str().unwrap());
        (away && last["last_error"].as_str().is_some_and(|said| said.contains(reason))).then(|| last.clone())
    })
}

/// Waits until messages flow, and what waited has gone.
#[track_caller]
fn await_recovery(gateway: &Gateway, broker: &str) {
    await_spool(gateway, "live again", |spool| spool["state"] == "live" && spool["connected"] == true);
    assert_eq!(gateway.actor(&format!("brokers/{broker}/session"))["state"], "running");
}

#[test]
fn a_network_that_goes_silent_under_mqtt_ends_the_session_and_loses_nothing() {
    let (broker, plant) = (Mosquitto::start(), plant());
    let watcher = MqttWatcher::everything(broker.port);
    let proxy = TcpProxy::to(broker.port);
    let mut section = cloud(proxy.port);
    section["ack_timeout"] = json!("3s");
    section["connect_timeout"] = json!("2s");
    let gateway = start(&plant, &json!({"mqtt": section, "spool": {"stall_after": "500ms"}}));
    watcher.await_messages(30, is_scan);

    let began = Instant::now();
    proxy.set(Network::Stalled);
    await_reason(&gateway, "cloud", "has acknowledged nothing for 3s");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    await_reason(&gateway, "cloud", "didn't answer within 2s");
    proxy.set(Network::Passing);
    await_recovery(&gateway, "cloud");
    let last = plant.silence(&gateway);
    await_all(&last, || scans(&watcher));
    await_empty(&gateway);
}

#[test]
fn a_network_that_goes_silent_under_nats_ends_the_session_and_repeats_nothing() {
    let (server, plant) = (NatsServer::start(Version::Old), plant());
    let proxy = TcpProxy::to(server.port);
    let section = json!({
        "name": "plant", "servers": [format!("nats://127.0.0.1:{}", proxy.port)], "ack_timeout": "1s",
        "connect_timeout": "2s", "ping_interval": "5s", "jetstream": {"enabled": true}
    });
    let gateway = start(&plant, &json!({"nats": section, "spool": {"stall_after": "500ms"}}));
    await_recovery(&gateway, "plant");

    proxy.set(Network::Stalled);
    await_reason(&gateway, "plant", "has acknowledged nothing for 3s");
    proxy.set(Network::Passing);
    await_recovery(&gateway, "plant");
    let last = plant.silence(&gateway);
    await_empty(&gateway);
    let stored = await_all(&last, || stored_scans(&read_stream(&server.jetstream(), "BIFROST_plant-test")));
    let once: usize = arrived(&stored).values().map(std::collections::BTreeSet::len).sum();
    assert_eq!(stored.len(), once, "the stream holds a scan twice");
}

#[test]
fn a_broker_that_starts_later_gets_all_that_was_read_before() {
    let (mut broker, plant) = (Mosquitto::start(), plant());
    let watcher = MqttWatcher::everything(broker.port);
    broker.kill();
    let proxy = TcpProxy::to(broker.port);
    proxy.set(Network::Refusing);
    let gateway = start(&plant, &json!({"mqtt": cloud(proxy.port)}));
    await_reason(&gateway, "cloud", "can't be reached");
    broker.restart();
    watcher.await_connections(2);
    proxy.set(Network::Passing);
    await_recovery(&gateway, "cloud");
    let last = plant.silence(&gateway);
    await_all(&last, || scans(&watcher));
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_is_found_in_its_file() {
    let users = [("gw", "right", "topic readwrite #"), ("eye", "sees", "topic read #")];
    let (broker, plant) = (Mosquitto::with_users(&users, ""), plant());
    let watcher = MqttWatcher::as_user(broker.port, "#", ("eye", "sees"));
    let file = broker.folder().join("secret");
    fs::write(&file, "wrong\n").unwrap();
    let mut section = cloud(broker.port);
    section["username"] = json!("gw");
    section["password_file"] = json!(file);
    let gateway = start(&plant, &json!({"mqtt": section}));
    let away = await_reason(&gateway, "cloud", "check username and password");
    assert!(!away.to_string().contains("wrong"), "{away}");
    assert!(scans(&watcher).is_empty());
    fs::write(&file, "right\n").unwrap();
    await_recovery(&gateway, "cloud");
    let last = plant.silence(&gateway);
    await_all(&last, || scans(&watcher));
}

/// A certificate that is its own authority, and its key.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]);
    command
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key);
    let made = command.output().expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[test]
fn a_broker_that_nobody_vouches_for_is_refused_until_the_right_authority_is_there() {
    let (folder, plant) = (TempDir::new().unwrap(), plant());
    let (certificate_file, key) = certificate(folder.path(), "server");
    let (trusted, _) = certificate(folder.path(), "trusted");
    let broker = Mosquitto::with(|_| {
        format!("allow_anonymous true\ncertfile {}\nkeyfile {}\n", certificate_file.display(), key.display())
    });
    let mut section = cloud(broker.port);
    section["broker"] = json!(format!("mqtts://127.0.0.1:{}", broker.port));
    section["tls"] = json!({"ca_file": trusted});
    let gateway = start(&plant, &json!({"mqtt": section}));
    await_reason(&gateway, "cloud", "TLS with");
    let waiting =
        await_spool(&gateway, "something that waits", |spool| spool["depth"]["memory_messages"] != 0);
    assert_eq!(waiting["connected"], false, "{waiting:#}");
    fs::copy(&certificate_file, &trusted).unwrap();
    await_recovery(&gateway, "cloud");
    plant.silence(&gateway);
    assert_eq!(await_empty(&gateway)["dropped"]["messages"], 0);
}

#[test]
fn the_second_broker_is_taken_when_the_first_is_away_and_the_other_way_round() {
    let (mut first, mut second, plant) = (Mosquitto::start(), Mosquitto::start(), plant());
    let watchers = [MqttWatcher::everything(first.port), MqttWatcher::everything(second.port)];
    first.kill();
    let mut section = cloud(first.port);
    section["failover"] = json!([second.url()]);
    let gateway = start(&plant, &json!({"mqtt": section}));
    watchers[1].await_messages(30, is_scan);
    assert_eq!(watchers[0].count(is_scan), 0);
    // The watcher of the first is there before the second is gone.
    first.restart();
    watchers[0].await_connections(2);
    second.kill();
    watchers[0].await_messages(30, is_scan);
    await_recovery(&gateway, "cloud");
    let last = plant.silence(&gateway);
    await_all(&last, || watchers.iter().flat_map(scans).collect());
}
