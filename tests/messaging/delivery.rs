//! What arrives while all is well, and what is told of the gateway itself.

use serde_json::{Value, json};

use crate::{
    brokers::{Heard, Mosquitto, MqttWatcher, Network, Publication, TcpProxy, mqtt_publish},
    harness::{Gateway, Plc, Site, until_true},
    plant::{Plant, await_all, await_empty, cloud, is_scan, messaging, scans},
};

const STATUS: &str = "bifrost/events/plant-test/gateway/status";

/// A device with two tags, one of which can be written.
fn press(id: &str, plc: &Plc) -> Value {
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms",
        "tags": [
            {"id": "t/7 %", "name": "Temperature", "address": "holding:7", "unit": "degC"},
            {"id": "setpoint", "address": "holding:8", "writable": true, "class": "status"}
        ]
    })
}

fn on(topic: &str) -> impl Fn(&Heard) -> bool {
    move |heard| heard.topic() == topic
}

/// A gateway with one device, its broker and a watcher that was there before it.
fn start(id: &str, more: &Value) -> (Gateway, Plc, Mosquitto, MqttWatcher) {
    let (broker, plc) = (Mosquitto::start(), Plc::counting());
    let watcher = MqttWatcher::everything(broker.port);
    let mut section = json!({"name": "cloud", "broker": broker.url()});
    section.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let gateway = Site::with(&messaging(&json!({"mqtt": section})), &json!([press(id, &plc)])).start();
    (gateway, plc, broker, watcher)
}

#[test]
fn a_scan_is_one_message_with_the_members_that_were_promised() {
    let (gateway, plc, _broker, watcher) = start("press-1", &json!({}));
    let topic = "bifrost/telemetry/plant-test/press-1";
    watcher.await_messages(5, on(topic));
    // The first may have waited for the connection.
    let live = |heard: &Heard| on(topic)(heard) && heard.json()["is_historical"].is_null();
    let scan = watcher.find("a scan", live).json();
    let members: Vec<_> = scan.as_object().unwrap().keys().collect();
    assert_eq!(members, ["device_id", "seq", "site_id", "timestamp", "values"], "{scan}");
    assert_eq!((&scan["device_id"], &scan["site_id"]), (&json!("press-1"), &json!("plant-test")));
    assert_eq!(scan["values"], json!({"t/7 %": 1007, "setpoint": 1008}));
    let time = scan["timestamp"].as_str().unwrap();
    assert!(time.len() == "2026-01-31T12:00:00.123456Z".len() && time.ends_with('Z'), "{time}");
    plc.switch_off();
    let bad = watcher
        .find("a scan of what isn't there", |heard| is_scan(heard) && heard.json()["quality"].is_object());
    assert_eq!(
        bad.json()["quality"],
        json!({"t/7 %": "UNCERTAIN", "setpoint": "UNCERTAIN"}),
        "{}",
        bad.json()
    );
    let gone = watcher.find("the event", on("bifrost/events/plant-test/press-1/device_disconnected"));
    assert_eq!((&gone.json()["event_type"], gone.qos()), (&json!("device_disconnected"), 1));
    assert!(gateway.events("press-1").iter().any(|event| event["event_type"] == "device_disconnected"));
}

#[test]
fn each_tag_has_a_message_of_its_own_where_the_topic_names_it() {
    let topics = json!({"topics": {"telemetry": "plant/{site_id}/{device_id}/{tag_name}"}});
    let (_gateway, _plc, _broker, watcher) = start("press-1", &topics);
    let tag = watcher.find("a tag", on("plant/plant-test/press-1/t%2F7 %25"));
    let json = tag.json();
    for (key, value) in [
        ("id", json!("t/7 %")),
        ("name", json!("Temperature")),
        ("device_id", json!("press-1")),
        ("value", json!(1007)),
        ("quality", json!("GOOD")),
        ("unit", json!("degC")),
        ("data_type", json!("uint16")),
        ("writable", json!(false)),
        ("address", json!("holding:7")),
        ("description", json!("")),
    ] {
        assert_eq!(json[key], value, "{key} of {json}");
    }
    let other = watcher.find("the other", on("plant/plant-test/press-1/setpoint"));
    assert_eq!((tag.qos(), other.qos()), (0, 1), "each tag goes with its own class");
}

#[test]
fn ids_that_no_level_can_carry_are_encoded_and_understood_in_commands() {
    let id = "Press 1/a+b#c%";
    let (gateway, _plc, broker, watcher) = start(id, &json!({}));
    let level = "Press 1%2Fa%2Bb%23c%25";
    let scan = watcher.find("a scan", on(&format!("bifrost/telemetry/plant-test/{level}"))).json();
    assert_eq!(scan["device_id"], id);
    watcher.find("its description", on(&format!("bifrost/events/plant-test/{level}/tags")));
    let order =
        json!({"command_id": "c-1", "tag_id": "setpoint", "value": 4711, "read_back": true}).to_string();
    let topic = format!("bifrost/commands/plant-test/{level}/write");
    let question = Publication {
        topic: &topic,
        payload: &order,
        qos: 1,
        retain: false,
        response_topic: Some("answers"),
        correlation: Some(b"x"),
    };
    mqtt_publish(broker.port, &question);
    let answer = watcher.find("the answer", on("answers"));
    assert_eq!(
        (&answer.json()["status"], &answer.json()["read_back"]),
        (&json!("ok"), &json!(4711)),
        "{}",
        answer.json()
    );
    assert_eq!(answer.correlation().as_deref(), Some(&b"x"[..]));
    watcher.find("the result", on(&format!("bifrost/events/plant-test/{level}/command_result")));
    assert!(gateway.stop().success());
}

#[test]
fn each_class_has_its_quality_of_service_and_nothing_is_missed() {
    let (broker, plant) = (Mosquitto::start(), Plant::new(3, 20, "50ms"));
    let watcher = MqttWatcher::everything(broker.port);
    let section = json!({"mqtt": {"name": "cloud", "broker": broker.url()}});
    let gateway = Site::with(&messaging(&section), &plant.devices()).start();
    watcher.await_messages(100, is_scan);
    let last = plant.silence(&gateway);
    await_all(&last, || scans(&watcher));
    for heard in watcher.so_far().iter().filter(|heard| is_scan(heard)) {
        let class = heard.topic().rsplit('/').next().unwrap().split('-').next().unwrap();
        let qos =
            i32::try_from(crate::plant::CLASSES.iter().position(|known| *known == class).unwrap()).unwrap();
        assert_eq!((heard.qos(), heard.is_retained()), (qos, false), "{}", heard.topic());
    }
    await_empty(&gateway);
}

#[test]
fn late_subscribers_find_what_a_device_has_and_whether_the_gateway_is_there() {
    let (mut gateway, _plc, broker, watcher) = start("press-1", &json!({}));
    let tags = "bifrost/events/plant-test/press-1/tags";
    watcher.find("a description", on(tags));
    let late = MqttWatcher::everything(broker.port);
    let described = late.find("a description that was kept", on(tags));
    assert!(described.is_retained());
    let tag = &described.json()["tags"]["t/7 %"];
    assert_eq!(
        (&tag["unit"], &tag["class"], &tag["writable"]),
        (&json!("degC"), &json!("telemetry"), &json!(false))
    );
    let birth = late.find("the birth", on(STATUS));
    assert!(birth.is_retained() && birth.json()["online"] == true, "{}", birth.json());
    assert_eq!(
        (&birth.json()["gateway_id"], &birth.json()["site_id"]),
        (&json!("gw-test"), &json!("plant-test"))
    );

    gateway.process.kill();
    let will = late.find("the will", |heard| on(STATUS)(heard) && heard.json()["online"] == false);
    assert!(will.is_retained(), "{}", will.json());
}

#[test]
fn a_clean_end_says_so_after_everything_else() {
    let (gateway, _plc, _broker, watcher) = start("press-1", &json!({}));
    watcher.await_messages(3, is_scan);
    assert!(gateway.stop().success());
    watcher.find("the farewell", |heard| on(STATUS)(heard) && heard.json()["online"] == false);
    let heard = watcher.so_far();
    assert_eq!(heard.last().unwrap().topic(), STATUS);
    let numbers: Vec<_> = scans(&watcher).iter().map(|scan| scan.seq).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}

#[test]
fn alarms_arrive_on_the_level_of_their_severity_when_they_come_and_go() {
    let (gateway, _plc, broker, watcher) = start("press-1", &json!({}));
    let topic = "bifrost/commands/plant-test/press-1/write";
    mqtt_publish(broker.port, &Publication { topic, payload: "nonsense", qos: 1, ..Default::default() });
    let alarm = watcher
        .find("an alarm", |heard| heard.topic().starts_with("bifrost/alarms/plant-test/gateway/"))
        .json();
    assert_eq!(alarm["state"], "active", "{alarm}");
    assert_eq!(gateway.ask("DELETE", "/api/dead-letters", &Value::Null).status, 200);
    let cleared =
        |heard: &Heard| heard.topic().starts_with("bifrost/alarms/") && heard.json()["state"] == "cleared";
    assert_eq!(watcher.find("its end", cleared).json()["alarm_id"], alarm["alarm_id"]);
}

#[test]
fn a_broker_that_cannot_be_reached_costs_the_other_nothing() {
    let (broker, far, plant) = (Mosquitto::start(), Mosquitto::start(), Plant::new(3, 20, "50ms"));
    let (watcher, far_watcher) = (MqttWatcher::everything(broker.port), MqttWatcher::everything(far.port));
    let network = TcpProxy::to(far.port);
    network.set(Network::Refusing);
    let mut other = cloud(network.port);
    other["name"] = json!("far");
    other["spool"] = json!({"stall_after": "500ms"});
    let section = json!({"mqtt": [cloud(broker.port), other]});
    let gateway = Site::with(&messaging(&section), &plant.devices()).start();
    let of = |name: &str| {
        let spools = gateway.json("/api/spool")["spools"].as_array().unwrap().clone();
        spools.into_iter().find(|spool| spool["session"] == name).unwrap()
    };
    until_true("the near one is live", || of("cloud")["state"] == "live");
    until_true("the far one's spool fills", || of("far")["depth"]["disk_messages"].as_u64() > Some(100));
    let near = of("cloud");
    assert_eq!((&near["state"], &near["connected"]), (&json!("live"), &json!(true)), "{near:#}");
    assert!(near["depth"]["disk_messages"].as_u64() < Some(50), "{near:#}");
    let last = plant.silence(&gateway);
    let scans_here = await_all(&last, || scans(&watcher));
    assert!(scans_here.iter().all(|scan| !scan.is_historical), "nothing had to wait");
    assert!(scans(&far_watcher).is_empty());
    network.set(Network::Passing);
    await_all(&last, || scans(&far_watcher));
    until_true("its spool is empty", || of("far")["depth"]["disk_messages"] == 0);
}
