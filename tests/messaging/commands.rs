//! Commands through brokers: what is carried out, what is refused, and that every asker hears of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use nats::HeaderMap;
use serde_json::{Value, json};

use crate::{
    brokers::{
        Heard, Mosquitto, MqttWatcher, NatsServer, NatsWatcher, Publication, Version, block_on, mqtt_publish,
    },
    harness::{Gateway, Plc, Site, until, until_true},
};

/// A broker, a PLC with tags that can be written, and a client that hears everything.
struct Bench {
    broker: Mosquitto,
    plc: Plc,
    watcher: MqttWatcher,
    site: Arc<Site>,
}

fn devices(plc: &Plc) -> Value {
    json!([{
        "id": "plc", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms",
        "tags": [
            {"id": "speed", "address": "holding:2", "writable": true},
            {"id": "limited", "address": "holding:4", "writable": true, "min": 10, "max": 100},
            {"id": "fixed", "address": "holding:5"},
            {"id": "level", "address": "holding:90", "data_type": "float32", "writable": true},
        ]
    }])
}

impl Bench {
    fn new(session: Value) -> Self {
        Self::with(session, &json!({}))
    }

    fn with(mut session: Value, limits: &Value) -> Self {
        let (broker, plc) = (Mosquitto::start(), Plc::counting());
        let watcher = MqttWatcher::everything(broker.port);
        session["broker"] = broker.url().into();
        let sections = json!({"messaging": {"mqtt": session}, "limits": limits});
        let site = Site::with(&sections, &devices(&plc));
        Self { broker, plc, watcher, site }
    }

    /// Starts the gateway, and waits until it takes commands by the broker.
    #[track_caller]
    fn start(&self) -> Gateway {
        self.watcher.forget();
        let gateway = self.site.start();
        gateway.good_tags("plc");
        let online =
            |heard: &Heard| heard.topic().ends_with("/gateway/status") && heard.json()["online"] == true;
        self.watcher.find("the gateway online", online);
        gateway
    }

    /// Sends a request that wants an answer.
    fn send(&self, device: &str, verb: &str, payload: &str, correlation: &str) {
        let topic = format!("bifrost/commands/plant-test/{device}/{verb}");
        let publication = Publication {
            topic: &topic,
            payload,
            qos: 1,
            response_topic: Some("answers"),
            correlation: Some(correlation.as_bytes()),
            ..Publication::default()
        };
        mqtt_publish(self.broker.port, &publication);
    }

    /// The answer to the request with this correlation data.
    #[track_caller]
    fn answer(&self, correlation: &str) -> Value {
        let mine = |heard: &Heard| {
            heard.topic() == "answers" && heard.correlation().as_deref() == Some(correlation.as_bytes())
        };
        self.watcher.find(&format!("the answer to {correlation}"), mine).json()
    }

    #[track_caller]
    fn ask(&self, device: &str, verb: &str, payload: &Value, correlation: &str) -> Value {
        self.send(device, verb, &payload.to_string(), correlation);
        self.answer(correlation)
    }

    /// Sends a command to the PLC, and its result as everybody hears it.
    #[track_caller]
    fn tell(&self, payload: &Value) -> Value {
        let topic = "bifrost/commands/plant-test/plc/write";
        let payload_text = payload.to_string();
        mqtt_publish(
            self.broker.port,
            &Publication { topic, payload: &payload_text, qos: 1, ..Publication::default() },
        );
        let id = &payload["command_id"];
        self.watcher.find("its result", |heard| is_result(heard) && heard.json()["command_id"] == *id).json()
    }

    /// How many requests to write the PLC has had.
    fn writes(&self) -> u64 {
        [5, 6, 15, 16, 22, 23].iter().filter_map(|code| self.plc.stats().functions.get(code).copied()).sum()
    }
}

fn is_result(heard: &Heard) -> bool {
    heard.topic().ends_with("/command_result")
}

/// Data of all events of results that the gateway remembers, the oldest first.
fn results(gateway: &Gateway, device: &str) -> Vec<Value> {
    let mut path = format!("/api/events?limit=1000&device_id={device}");
    let mut all = Vec::new();
    loop {
        let page = gateway.json(&path);
        let events = page["events"].as_array().unwrap();
        let told = events.iter().filter(|event| event["event_type"] == "command_result");
        all.extend(told.map(|event| event["data"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/events?limit=1000&device_id={device}&cursor={cursor}");
    }
    all.reverse();
    all
}

#[test]
fn a_write_and_a_read_by_mqtt_5_are_answered_where_the_asker_says() {
    let bench = Bench::new(json!({}));
    let gateway = bench.start();
    let order = json!({"command_id": "a", "tag_id": "level", "value": 42.5, "read_back": true});
    let answer = bench.ask("plc", "write", &order, "w");
    assert_eq!((&answer["command_id"], &answer["status"]), (&json!("a"), &json!("ok")), "{answer}");
    assert_eq!(answer["read_back"], 42.5);
    assert!(answer["timestamp"].is_string());
    assert_eq!(gateway.read("plc", &["level"])["level"]["value"], 42.5);
    let told = bench.watcher.find("the result for all", is_result);
    assert_eq!(told.topic(), "bifrost/events/plant-test/plc/command_result");
    assert_eq!((&told.json()["command_id"], &told.json()["status"]), (&json!("a"), &json!("ok")));
    let event = until("the event", || results(&gateway, "plc").pop());
    let expected = (&json!("ok"), &json!("level"), &json!("mqtt:mqtt"), &json!(42.5));
    assert_eq!((&event["status"], &event["tag_id"], &event["origin"], &event["read_back"]), expected);

    let answer = bench.ask("plc", "read", &json!({"tag_ids": ["level", "speed"]}), "r");
    assert_eq!((&answer["status"], &answer["count"]), (&json!("ok"), &json!(2)), "{answer}");
    let values: Vec<_> = answer["tags"].as_array().unwrap().iter().map(|tag| &tag["value"]).collect();
    assert_eq!(values, [&json!(42.5), &json!(1002)]);
    bench.send("plc", "read", "", "all");
    assert_eq!(bench.answer("all")["count"], 4);
    assert_eq!(bench.ask("plc", "read", &json!({"cached": true}), "cached")["count"], 4);
    assert!(gateway.stop().success());
}

#[test]
fn by_mqtt_3_1_1_a_result_is_told_to_all_and_nowhere_else() {
    let bench = Bench::new(json!({"version": "3.1.1"}));
    let gateway = bench.start();
    let told = bench.tell(&json!({"command_id": "a", "tag_id": "speed", "value": 7, "read_back": true}));
    assert_eq!((&told["event_type"], &told["status"]), (&json!("command_result"), &json!("ok")), "{told}");
    assert_eq!((&told["data"]["read_back"], bench.plc.memory().holding(2)), (&json!(7), Some(7)));
    let told = bench.tell(&json!({"command_id": "b", "tag_id": "fixed", "value": 7}));
    assert_eq!(told["status"], "rejected");
    assert_eq!(results(&gateway, "plc").len(), 2);
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_the_reason_and_never_reaches_the_plc() {
    let bench = Bench::new(json!({}));
    let gateway = bench.start();
    let long_ago = "2020-01-01T00:00:00Z";
    let cases = [
        ("plc", json!({"tag_id": "fixed", "value": 1}), "rejected", "writ"),
        ("plc", json!({"tag_id": "speed", "value": "fast"}), "rejected", "fast"),
        ("plc", json!({"tag_id": "speed", "value": 70_000}), "rejected", "70000"),
        ("plc", json!({"tag_id": "limited", "value": 9}), "rejected", "10"),
        ("plc", json!({"tag_id": "limited", "value": 101}), "rejected", "100"),
        ("plc", json!({"tag_id": "speed", "value": 1, "expires_at": long_ago}), "expired", ""),
        ("plc", json!({"tag_id": "nosuch", "value": 1}), "rejected", "nosuch"),
        ("nobody", json!({"tag_id": "speed", "value": 1}), "rejected", "nobody"),
        ("plc", json!({"tag_id": "speed", "valu": 1}), "rejected", "valu"),
        ("plc", json!({"tag_id": "speed"}), "rejected", "value"),
    ];
    for (n, (device, mut order, status, part)) in cases.into_iter().enumerate() {
        let id = format!("c{n}");
        order["command_id"] = id.as_str().into();
        let answer = bench.ask(device, "write", &order, &id);
        assert_eq!(
            (&answer["status"], &answer["command_id"]),
            (&json!(status), &json!(id)),
            "{order}: {answer}"
        );
        assert!(answer["error"].as_str().unwrap().contains(part), "{order}: {answer}");
        let told =
            bench.watcher.find("its result", |heard| is_result(heard) && heard.json()["command_id"] == id);
        assert_eq!(told.json()["status"], status);
    }
    for (verb, payload) in [("write", "{no JSON"), ("write", ""), ("read", "[1")] {
        bench.send("plc", verb, payload, payload);
        let answer = bench.answer(payload);
        assert_eq!(answer["status"], "rejected", "{verb} {payload}: {answer}");
        bench.watcher.forget();
    }
    assert_eq!(bench.writes(), 0);
    let letters = until("dead letters", || {
        let listed = gateway.json("/api/dead-letters");
        (listed["total"] == 7).then_some(listed)
    });
    let topics: BTreeSet<_> = letters["letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["topic"].as_str().unwrap())
        .collect();
    let topic = |end: &str| format!("bifrost/commands/plant-test/{end}");
    let expected = [topic("nobody/write"), topic("plc/read"), topic("plc/write")];
    assert!(topics.into_iter().eq(expected.iter().map(String::as_str)), "{letters}");
    assert!(letters["letters"].as_array().unwrap().iter().all(|letter| letter["reason"] != ""));
}

#[test]
fn a_command_id_is_carried_out_once_over_a_restart_and_over_kill_9() {
    let bench = Bench::new(json!({}));
    let gateway = bench.start();
    let order = |id: &str, value: u16| json!({"command_id": id, "tag_id": "speed", "value": value});
    assert_eq!(bench.ask("plc", "write", &order("a", 7), "1")["status"], "ok");
    let assert_duplicate = |correlation: &str| {
        let answer = bench.ask("plc", "write", &order("a", 9), correlation);
        assert_eq!(
            (&answer["status"], &answer["command_id"]),
            (&json!("duplicate"), &json!("a")),
            "{answer}"
        );
        assert!(answer["error"].as_str().unwrap().contains("ended ok"), "{answer}");
    };
    assert_duplicate("2");
    assert!(gateway.stop().success());
    let mut gateway = bench.start();
    assert_duplicate("3");
    assert_eq!(bench.ask("plc", "write", &order("b", 8), "4")["status"], "ok");
    // Taken durably before it is carried out.
    gateway.process.kill();
    let _gateway = bench.start();
    assert_duplicate("5");
    assert_eq!(bench.ask("plc", "write", &order("b", 9), "6")["status"], "duplicate");
    assert_eq!((bench.writes(), bench.plc.memory().holding(2)), (2, Some(8)));
}

#[test]
fn a_retained_command_is_old_and_is_ignored() {
    let bench = Bench::new(json!({}));
    let topic = "bifrost/commands/plant-test/plc/write";
    let payload = json!({"command_id": "old", "tag_id": "speed", "value": 7}).to_string();
    let retained = Publication { topic, payload: &payload, qos: 1, retain: true, ..Publication::default() };
    mqtt_publish(bench.broker.port, &retained);
    let gateway = bench.start();
    assert_eq!(bench.ask("plc", "write", &json!({"tag_id": "limited", "value": 50}), "new")["status"], "ok");
    assert_eq!((bench.writes(), bench.plc.memory().holding(2)), (1, Some(1002)));
    assert!(results(&gateway, "plc").iter().all(|event| event["command_id"] != "old"));
}

/// Publishes many commands over one connection, each with its answer's topic.
fn pour(broker: &Mosquitto, commands: impl Iterator<Item = Value>) {
    let lines: Vec<_> = commands.map(|command| command.to_string()).collect();
    let port = broker.port.to_string();
    let args = ["-V", "5", "-p", &port, "-q", "1", "-t", "bifrost/commands/plant-test/plc/write", "-l"];
    let mut command = Command::new("mosquitto_pub");
    command.args(args).args(["-D", "publish", "response-topic", "answers"]).stdin(Stdio::piped());
    let mut publisher = command.spawn().unwrap();
    publisher.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    assert!(publisher.wait().unwrap().success());
}

#[test]
fn writes_to_one_device_are_carried_out_in_the_order_in_which_they_came() {
    let bench = Bench::with(json!({}), &json!({"device_writes": 100}));
    let gateway = bench.start();
    let line =
        |n: u16| json!({"command_id": n.to_string(), "tag_id": "speed", "value": n, "read_back": true});
    pour(&bench.broker, (1..=50).map(line));
    let is_answer = |heard: &Heard| heard.topic() == "answers";
    bench.watcher.await_messages(50, is_answer);
    let answers: Vec<_> =
        bench.watcher.so_far().iter().filter(|heard| is_answer(heard)).map(Heard::json).collect();
    for answer in &answers {
        let value: u16 = answer["command_id"].as_str().unwrap().parse().unwrap();
        assert_eq!((&answer["status"], &answer["read_back"]), (&json!("ok"), &json!(value)), "{answer}");
    }
    assert_eq!(bench.plc.memory().holding(2), Some(50));
    let told = until("all events", || {
        let told = results(&gateway, "plc");
        (told.len() == 50).then_some(told)
    });
    let order: Vec<_> = told.iter().map(|event| event["command_id"].as_str().unwrap().to_owned()).collect();
    assert!(order.into_iter().eq((1..=50).map(|n| n.to_string())));
    bench.watcher.await_messages(50, is_result);
}

#[test]
fn in_a_storm_every_command_is_answered_and_polling_goes_on() {
    const STORM: usize = 2000;
    let bench = Bench::with(json!({}), &json!({"events": 5000}));
    let gateway = bench.start();
    let scans = || gateway.stats("plc")["scans_total"].as_u64().unwrap();
    let before = scans();
    let line = |n: usize| json!({"command_id": format!("s{n}"), "tag_id": "speed", "value": n});
    pour(&bench.broker, (0..STORM).map(line));
    let is_answer = |heard: &Heard| heard.topic() == "answers";
    until_true("all answers", || bench.watcher.count(is_answer) == STORM);
    until_true("all results", || bench.watcher.count(is_result) == STORM);
    let mut statuses = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for heard in bench.watcher.so_far().iter().filter(|heard| is_answer(heard)) {
        let answer = heard.json();
        *statuses.entry(answer["status"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        assert!(answer["status"] == "ok" || answer["error"].is_string(), "{answer}");
        ids.insert(answer["command_id"].as_str().expect("which it is").to_owned());
    }
    assert_eq!((ids.len(), statuses.values().sum::<usize>()), (STORM, STORM), "{statuses:?}");
    let ok = statuses["ok"];
    assert!(ok >= 32 && statuses.keys().all(|status| status == "ok" || status == "rejected"), "{statuses:?}");
    assert_eq!(bench.writes(), ok as u64);
    assert_eq!(results(&gateway, "plc").len(), STORM);
    until_true("polling", || scans() > before + 20);
    // And it is calm again.
    let answer =
        bench.ask("plc", "write", &json!({"tag_id": "speed", "value": 3, "read_back": true}), "after");
    assert_eq!((&answer["status"], &answer["read_back"]), (&json!("ok"), &json!(3)));
}

#[test]
fn requests_by_nats_are_answered_to_whoever_asks() {
    let (server, plc) = (NatsServer::start(Version::New), Plc::counting());
    let watcher = NatsWatcher::everything(&[server.url()]);
    let sections = json!({"messaging": {"nats": {"servers": [server.url()]}}});
    let site = Site::with(&sections, &devices(&plc));
    let gateway = site.start();
    gateway.good_tags("plc");
    let ask = |end: &str, payload: &str| -> Option<(Value, Option<HeaderMap>)> {
        let subject = format!("bifrost.commands.plant-test.{end}");
        let asked = block_on(watcher.client().request(subject, payload.to_owned().into())).ok()?;
        Some((serde_json::from_slice(&asked.payload).unwrap(), asked.headers))
    };
    let order = json!({"command_id": "a", "tag_id": "level", "value": 42.5, "read_back": true}).to_string();
    let (answer, headers) = until("an answer", || ask("plc.write", &order));
    let expected = (&json!("ok"), &json!("a"), &json!(42.5));
    assert_eq!((&answer["status"], &answer["command_id"], &answer["read_back"]), expected, "{answer}");
    assert!(headers.is_none_or(|headers| headers.get("Nats-Service-Error").is_none()));
    let (answer, headers) = ask("plc.write", &order).unwrap();
    let header = |name: &str| headers.as_ref().unwrap().get(name).unwrap().to_string();
    assert_eq!(answer["status"], "duplicate");
    assert!(header("Nats-Service-Error").contains("ended ok"));
    assert_eq!(header("Nats-Service-Error-Code"), "400");
    for (end, payload, part) in [
        ("plc.write", r#"{"tag_id":"fixed","value":1}"#, "writ"),
        ("plc.write", "{no JSON", ""),
        ("nobody.write", r#"{"tag_id":"speed","value":1}"#, "nobody"),
    ] {
        let (answer, headers) = ask(end, payload).unwrap();
        assert_eq!(answer["status"], "rejected", "{end} {payload}");
        assert!(answer["error"].as_str().unwrap().contains(part));
        assert!(headers.unwrap().get("Nats-Service-Error").is_some());
    }
    let (answer, _) = ask("plc.read", r#"{"tag_ids":["level"]}"#).unwrap();
    assert_eq!((&answer["tags"][0]["value"], &answer["count"]), (&json!(42.5), &json!(1)), "{answer}");
    watcher.await_messages(4, |noted| noted.subject() == "bifrost.events.plant-test.plc.command_result");
    assert_eq!(gateway.json("/api/dead-letters")["total"], 2);
    assert!(gateway.stop().success());
}

/// What comes back is the same but for the time and the device's name.
fn like(device: &str, answer: &Value) -> String {
    let mut answer = answer.clone();
    answer.as_object_mut().unwrap().remove("timestamp");
    answer.to_string().replace(device, "…")
}

#[test]
fn through_a_session_of_one_tenant_the_devices_of_another_are_not_there() {
    let (broker, server, plc) = (Mosquitto::start(), NatsServer::start(Version::New), Plc::counting());
    let filter = json!({"tenants": ["acme"], "tags": ["speed", "fixed"]});
    let sections = json!({"messaging": {
        "mqtt": {"broker": broker.url(), "filter": filter},
        "nats": {"servers": [server.url()], "filter": filter}
    }});
    let device = |id: &str, tenant: &str| {
        let mut device = devices(&plc)[0].clone();
        (device["id"], device["tenant"]) = (json!(id), json!(tenant));
        device
    };
    let site = Site::with(&sections, &json!([device("plc", "acme"), device("beta", "beta")]));
    let watcher = MqttWatcher::everything(broker.port);
    let bench = Bench { broker, plc, watcher, site };
    let gateway = bench.start();
    gateway.good_tags("beta");
    let client = NatsWatcher::everything(&[server.url()]);
    let by_nats = |device: &str, verb: &str, payload: &Value| -> Value {
        let subject = format!("bifrost.commands.plant-test.{device}.{verb}");
        let ask = || block_on(client.client().request(subject.clone(), payload.to_string().into())).ok();
        let asked = until("an answer", ask);
        let error = asked.headers.map(|headers| headers.get("Nats-Service-Error").unwrap().to_string());
        json!([serde_json::from_slice::<Value>(&asked.payload).unwrap(), error])
    };
    let order = |tag: &str| json!({"command_id": "c", "tag_id": tag, "value": 7});
    let mut asked = 0;
    for (verb, payload) in [
        ("write", order("speed")),
        ("write", order("nosuch")),
        ("read", json!({})),
        ("read", json!({"cached": true})),
        ("read", json!({"tag_ids": ["speed"]})),
    ] {
        let mut by_mqtt = |device: &str| {
            asked += 1;
            bench.ask(device, verb, &payload, &asked.to_string())
        };
        let (hidden, unknown) = (by_mqtt("beta"), by_mqtt("none"));
        assert_eq!(like("beta", &hidden), like("none", &unknown), "{verb} {payload}");
        assert_eq!(hidden["status"], "rejected");
        let [hidden, unknown] = ["beta", "none"].map(|device| by_nats(device, verb, &payload));
        assert_eq!(like("beta", &hidden[0]), like("none", &unknown[0]), "{verb} {payload}");
        assert_eq!(hidden[1].as_str().unwrap().replace("beta", "none"), unknown[1].as_str().unwrap());
    }
    // Of its own device the same holds for tags.
    let [hidden, unknown] = ["limited", "nosuch"].map(|tag| by_nats("plc", "write", &order(tag))[0].clone());
    assert_eq!(like("limited", &hidden), like("nosuch", &unknown));
    assert_eq!(bench.ask("plc", "read", &json!({}), "all")["count"], 2);
    assert_eq!((bench.writes(), bench.plc.memory().holding(2)), (0, Some(1002)));
    // An operator who has the refused ones carried out after all is refused too.
    let letters = gateway.json("/api/dead-letters?limit=1000");
    for letter in letters["letters"].as_array().unwrap() {
        let path = format!("/api/dead-letters/{}/replay", letter["id"]);
        assert_eq!(gateway.post(&path, &json!(null)).status, 409, "{letter}");
    }
    assert_eq!((bench.writes(), bench.plc.memory().holding(2)), (0, Some(1002)));
    assert_eq!(bench.ask("plc", "write", &order("speed"), "ours")["status"], "ok");
    assert_eq!(bench.plc.memory().holding(2), Some(7));
}
