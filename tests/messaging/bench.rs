//! The harness itself: what watches must see everything, and what fails must fail.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use nats::jetstream::stream::{Config, StorageType};
use serde_json::json;

use crate::{
    brokers::{
        Heard, Mosquitto, MqttWatcher, NatsCluster, NatsServer, NatsWatcher, Network, Noted, Publication,
        TcpProxy, Version, block_on, mqtt_publish, read_stream,
    },
    harness::until_true,
};

fn publication<'a>(topic: &'a str, payload: &'a str) -> Publication<'a> {
    Publication { topic, payload, qos: 1, ..Publication::default() }
}

fn about(topic: &str) -> impl Fn(&Heard) -> bool {
    move |heard| heard.topic() == topic
}

fn on(subject: &str) -> impl Fn(&Noted) -> bool {
    move |noted| noted.subject() == subject
}

#[test]
fn a_watcher_sees_a_message_as_it_was_published() {
    let broker = Mosquitto::start();
    let watcher = MqttWatcher::everything(broker.port);
    let question = Publication {
        qos: 2,
        retain: true,
        response_topic: Some("answers"),
        correlation: Some(b"4711"),
        ..publication("a/b", r#"{"n":1}"#)
    };
    mqtt_publish(broker.port, &question);
    let heard = watcher.find("the message", |_| true);
    assert_eq!((heard.topic(), heard.json(), heard.qos()), ("a/b", json!({"n": 1}), 2));
    assert!(heard.is_retained() && heard.at.elapsed() < Duration::from_secs(30));
    assert!(heard.time.elapsed().is_ok());
    assert_eq!(heard.correlation().as_deref(), Some(&b"4711"[..]));
    assert_eq!(heard.expiry().or(heard.user_property("x").map(|_| 0)), None);
}

#[test]
fn a_watcher_comes_back_after_the_broker() {
    let mut broker = Mosquitto::start();
    let watcher = MqttWatcher::everything(broker.port);
    broker.kill();
    broker.restart();
    watcher.await_connections(2);
    mqtt_publish(broker.port, &publication("after", "1"));
    watcher.await_messages(1, about("after"));
    watcher.forget();
    assert!(watcher.so_far().is_empty());
    assert!(!broker.log().is_empty() && broker.url().ends_with(&broker.port.to_string()));
}

#[test]
fn a_persistent_watcher_misses_nothing_while_it_is_cut_off() {
    let mut broker = Mosquitto::with(|folder| {
        format!("allow_anonymous true\npersistence true\npersistence_location {}/\n", folder.display())
    });
    let proxy = TcpProxy::to(broker.port);
    let watcher = MqttWatcher::persistent(proxy.port, "#");
    proxy.set(Network::Refusing);
    mqtt_publish(broker.port, &publication("one", "1"));
    broker.stop();
    broker.restart();
    mqtt_publish(broker.port, &publication("two", "2"));
    proxy.set(Network::Passing);
    for topic in ["one", "two"] {
        watcher.find(topic, about(topic));
    }
}

#[test]
fn users_may_what_their_rules_say() {
    let users = [("in", "secret", "topic readwrite a/#"), ("out", "secret", "topic read b/#")];
    let broker = Mosquitto::with_users(&users, "max_packet_size 20000\n");
    let watcher = MqttWatcher::as_user(broker.port, "a/#", ("in", "secret"));
    assert_eq!(watcher.connections(), 1);
    assert!(broker.folder().join("rules").exists());
}

#[test]
fn a_silent_broker_is_silent_until_it_goes_on() {
    let broker = Mosquitto::start();
    let watcher = MqttWatcher::everything(broker.port);
    broker.silence();
    let port = broker.port;
    let publishing = std::thread::spawn(move || {
        // No answer within its patience, or a late one: both are right.
        let _ = std::panic::catch_unwind(|| mqtt_publish(port, &publication("late", "1")));
    });
    assert_eq!(watcher.count(|_| true), 0);
    broker.go_on();
    publishing.join().unwrap();
    mqtt_publish(broker.port, &publication("later", "1"));
    watcher.find("what came after the silence", about("later"));
}

#[test]
fn a_watcher_keeps_up_with_twenty_thousand_messages() {
    let broker = Mosquitto::start();
    let watcher = MqttWatcher::everything(broker.port);
    let mut command = std::process::Command::new("mosquitto_pub");
    let args = ["-p", &broker.port.to_string(), "-q", "1", "-t", "many", "-l"];
    let mut publisher = command.args(args).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufWriter::new(publisher.stdin.take().unwrap());
    (0..20_000).for_each(|n| writeln!(lines, "{{\"seq\":{n}}}").unwrap());
    drop(lines);
    watcher.await_messages(20_000, about("many"));
    publisher.wait().unwrap();
    let numbers: Vec<_> =
        watcher.so_far().iter().map(|heard| heard.json()["seq"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..20_000));
}

fn stream(replicas: usize) -> Config {
    Config {
        name: "S".to_owned(),
        subjects: vec!["bifrost.>".to_owned()],
        storage: StorageType::File,
        num_replicas: replicas,
        ..Config::default()
    }
}

#[test]
fn both_servers_hold_a_stream_over_a_kill_and_tell_duplicates() {
    for version in [Version::Old, Version::New] {
        let mut server = NatsServer::start(version);
        let watcher = NatsWatcher::everything(&[server.url()]);
        let jetstream = server.jetstream();
        block_on(jetstream.create_stream(stream(1))).unwrap();
        for n in [1, 2, 2] {
            let mut headers = nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", n.to_string());
            let payload = json!({ "n": n }).to_string();
            let sent =
                block_on(jetstream.publish_with_headers("bifrost.x", headers, payload.into())).unwrap();
            block_on(sent.into_future()).unwrap();
        }
        watcher.await_messages(3, |noted| noted.header("Nats-Msg-Id").is_some());
        server.kill();
        server.restart();
        let stored = read_stream(&server.jetstream(), "S");
        let ids: Vec<_> = stored.iter().filter_map(|message| message.id.as_deref()).collect();
        assert_eq!(ids, ["1", "2"], "{version:?}");
        assert_eq!((stored[1].number, &stored[1].json), (2, &json!({"n": 2})));
        until_true("the watcher back", || {
            let _ = block_on(watcher.client().publish("bifrost.y", "{}".into()));
            watcher.count(on("bifrost.y")) > 0
        });
        let first = watcher.find("the first", |noted| noted.json()["n"] == 1);
        assert!(first.at.elapsed() > Duration::ZERO && first.time.elapsed().is_ok());
        assert!(watcher.so_far().len() > 3 && stored[0].subject == "bifrost.x");
        assert!(!server.log().is_empty() && server.folder().exists());
    }
}

#[test]
fn a_silent_nats_server_answers_when_it_goes_on() {
    let server = NatsServer::with(Version::Old, |_| "ping_interval: \"2s\"\n".to_owned());
    let client = server.client();
    server.silence();
    let ask = || {
        block_on(async {
            let question = client.request("nobody", "".into());
            tokio::time::timeout(Duration::from_millis(300), question).await
        })
    };
    assert!(ask().is_err(), "silence");
    server.go_on();
    until_true("an answer, that nobody serves this", || ask().is_ok_and(|answer| answer.is_err()));
}

#[test]
fn a_cluster_goes_on_without_a_streams_leader() {
    let mut cluster = NatsCluster::start(Version::New);
    let jetstream = cluster.jetstream();
    until_true("a stream on three servers", || block_on(jetstream.create_stream(stream(3))).is_ok());
    let publish = || {
        block_on(async {
            jetstream.publish("bifrost.x", "{}".into()).await?.await.map_err(nats::Error::from)?;
            Ok::<_, nats::Error>(())
        })
    };
    until_true("a message kept", || publish().is_ok());
    let leader = cluster.leader("S");
    let name = leader.name.clone();
    leader.kill();
    until_true("a message kept by the others", || publish().is_ok());
    assert_ne!(cluster.leader("S").name, name);
    assert_eq!(cluster.urls().len(), 3);
}

/// A server that repeats what it hears.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    port
}

#[test]
fn a_proxy_passes_stalls_cuts_and_refuses() {
    let proxy = TcpProxy::to(echo());
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream
    };
    let mut stream = connect();
    let mut answer = [0; 5];
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(proxy.carried(), (5, 5));
    proxy.set(Network::Stalled);
    stream.write_all(b"later").unwrap();
    assert!(stream.read(&mut answer).is_err(), "nothing is carried");
    assert!(connect().write_all(b"x").is_ok(), "a stalled network accepts");
    proxy.set(Network::Passing);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"later");
    proxy.cut();
    assert!(!matches!(stream.read(&mut answer), Ok(1..)), "the connection has ended");
    assert!(connect().write_all(b"x").is_ok());
    proxy.set(Network::Refusing);
    assert!(TcpStream::connect(("127.0.0.1", proxy.port)).is_err());
    proxy.set(Network::Passing);
    connect().write_all(b"again").unwrap();
}
