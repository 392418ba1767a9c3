//! What arrives through a broker: understood or not, allowed or not, too much or not.

use bifrost_actors::{
    broker::{Answering, CommandSettings, Reply, Request},
    commands::Protocol,
    dead_letters::{ListLetters, What},
    testing::{FakeDevice, Mode, Plant, Script, WriteOutcome, device_settings},
};
use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use crate::{await_events, device, ms, secs, with_plant};

pub(crate) fn request(verb: &str, device: Option<&str>, payload: impl Into<Vec<u8>>) -> Request {
    Request {
        session: "plant".into(),
        topic: "bifrost/commands/s/d/write".into(),
        device_id: device.map(str::to_owned),
        verb: verb.to_owned(),
        payload: payload.into().into(),
        wants_reply: true,
    }
}

fn answering(plant: &Plant) -> Answering {
    plant.commands().answering(Protocol::Mqtt, CommandSettings::default())
}

fn json_of(reply: &Reply) -> Json {
    serde_json::from_slice(&reply.payload).unwrap()
}

async fn ask(plant: &Plant, request: Request) -> Json {
    json_of(&answering(plant)(request).await)
}

fn asked(limit: usize) -> ListLetters {
    ListLetters { limit, max_payload: 1 << 20, ..ListLetters::default() }
}

#[test]
fn a_write_is_answered_with_the_commands_result_and_told_to_all() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        let order = json!({"command_id": "c-1", "tag_id": "t1", "value": 4.5, "read_back": true});
        let reply = answering(&plant)(request("write", Some("d"), order.to_string())).await;
        let answer = json_of(&reply);
        assert_eq!((&answer["command_id"], &answer["status"]), (&json!("c-1"), &json!("ok")));
        assert_eq!((&answer["read_back"], reply.error), (&json!(4.5), None));
        assert_eq!(device.script.written().len(), 1);
        let told = await_events(&plant, "command_result", 1).await;
        assert_eq!((&told[0].data["origin"], &*told[0].device_id), (&json!("mqtt:plant"), "d"));
    });
}

#[test]
fn what_is_not_carried_out_has_an_error_beside_its_result() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Refused(2), ms(1));
        let order = json!({"tag_id": "t0", "value": 1.5});
        let reply = answering(&plant)(request("write", Some("d"), order.to_string())).await;
        assert_eq!(json_of(&reply)["status"], "failed");
        assert!(reply.error.unwrap().contains("exception 02"));
    });
}

#[test]
fn a_read_asks_the_device_or_the_last_known_values() {
    with_plant(async |plant| {
        let _device = device(&plant).await;
        for payload in ["", " \n", "{}"] {
            let answer = ask(&plant, request("read", Some("d"), payload)).await;
            assert_eq!((&answer["device_id"], &answer["status"]), (&json!("d"), &json!("ok")), "{answer}");
            assert_eq!((&answer["count"], &answer["tags"][1]["id"]), (&json!(2), &json!("t1")));
        }
        let some = json!({"tag_ids": ["t1"], "cached": true}).to_string();
        let answer = ask(&plant, request("read", Some("d"), some)).await;
        assert_eq!((&answer["count"], &answer["tags"][0]["id"]), (&json!(1), &json!("t1")));
        assert!(answer["timestamp"].is_string());
    });
}

#[test]
fn a_read_that_names_no_place_for_its_answer_is_answered_by_an_event() {
    with_plant(async |plant| {
        let _device = device(&plant).await;
        let nowhere = |payload: &str| Request { wants_reply: false, ..request("read", Some("d"), payload) };
        ask(&plant, nowhere(r#"{"tag_ids": ["t1"]}"#)).await;
        ask(&plant, nowhere(r#"{"tag_ids": ["x"]}"#)).await;
        let told = await_events(&plant, "read_result", 2).await;
        let of = |status: &str| told.iter().find(|event| event.data["status"] == status).unwrap();
        assert_eq!((&*of("ok").device_id, &of("ok").data["tags"][0]["id"]), ("d", &json!("t1")));
        assert!(of("rejected").data["error"].as_str().unwrap().contains('x'));
    });
}

#[test]
fn reads_that_nobody_can_answer_say_why() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        let tags = json!({"tag_ids": ["t0", "x", "y"]}).to_string();
        for (request, status, part) in [
            (request("read", Some("nobody"), ""), "rejected", "nobody"),
            (request("read", Some("d"), tags), "rejected", r#"["x", "y"]"#),
        ] {
            let answer = ask(&plant, request).await;
            assert_eq!(answer["status"], status);
            assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
        }
        device.script.scan_takes(secs(3600));
        let answer = ask(&plant, request("read", Some("d"), "")).await;
        assert_eq!(answer["status"], "failed", "{answer}");
    });
}

#[test]
fn what_cannot_be_understood_is_answered_and_kept_with_the_reason() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let large = format!(r#"{{"tag_id":"t0","value":"{}"}}"#, "x".repeat(70_000));
    let cases: Vec<(Request, &str)> = vec![
        (request("write", Some("d"), "no JSON"), "no JSON object"),
        (request("write", Some("d"), vec![0xFF, 0xFE]), "no JSON object"),
        (request("write", Some("d"), ""), "the payload is empty"),
        (request("write", Some("d"), r#"["c-9", "t0", 7, null, false]"#), "no JSON object"),
        (request("read", Some("d"), r#"[["t0"], true]"#), "no JSON object"),
        (request("write", Some("d"), r#"{"tag_id":"t0"}"#), "missing field `value`"),
        (request("write", Some("d"), r#"{"tag_id":"t0","value":[1]}"#), "a list"),
        (request("write", Some("d"), r#"{"tag_id":"t0","value":1,"expires":1}"#), "unknown field `expires`"),
        (request("write", Some("d"), r#"{"tag_id":"t0","value":1,"value":2}"#), "duplicate field `value`"),
        (request("write", Some("d"), r#"{"tag_id":"t0","value":1,"command_id":" "}"#), "command_id is empty"),
        (request("write", Some("d"), r#"{"tag_id":"t0","value":1,"expires_at":"soon"}"#), "RFC 3339"),
        (request("write", Some("d"), format!(r#"{{"tag_id":"t0","value":{deep}}}"#)), "recursion limit"),
        (request("write", Some("d"), large), "70026 bytes"),
        (request("write", Some("nobody"), r#"{"tag_id":"t0","value":1}"#), "nobody"),
        (request("write", Some("d"), r#"{"tag_id":"x","value":1}"#), "no tag \"x\""),
        (request("write", None, r#"{"tag_id":"t0","value":1}"#), "names no device"),
        (request("dance", Some("d"), "{}"), "\"dance\" is no command"),
        (request("read", Some("d"), r#"{"tags":[]}"#), "unknown field `tags`"),
    ];
    with_plant(async |plant| {
        let device = device(&plant).await;
        for (request, part) in &cases {
            let reply = answering(&plant)(request.clone()).await;
            let answer = json_of(&reply);
            assert_eq!(answer["status"], "rejected", "{answer}");
            assert!(answer["error"].as_str().unwrap().contains(part), "{part}: {answer}");
            assert!(answer["timestamp"].is_string() && reply.error.is_some());
        }
        assert!(device.script.written().is_empty());
        let kept = plant.letters().list.send(asked(100)).await.unwrap().unwrap();
        assert_eq!(kept.letters.len(), cases.len());
        for (letter, (request, part)) in kept.letters.iter().rev().zip(&cases) {
            assert!(letter.reason.contains(part), "{letter:?}");
            assert_eq!((&*letter.session, &letter.topic), ("plant", &request.topic));
            assert!(request.payload.starts_with(letter.payload.as_ref().unwrap()));
            assert!(letter.payload_bytes <= 65_536 && matches!(letter.what, What::Command(_)));
        }
    });
}

#[test]
fn a_refusal_names_the_command_where_that_can_be_read_and_is_told_to_all() {
    with_plant(async |plant| {
        let _device = device(&plant).await;
        let order = json!({"command_id": "c-1", "tag_id": "t0", "val": 1});
        let answer = ask(&plant, request("write", Some("d"), order.to_string())).await;
        assert_eq!(answer["command_id"], "c-1");
        let told = await_events(&plant, "command_result", 1).await;
        assert_eq!((&told[0].data["command_id"], &told[0].data["tag_id"]), (&json!("c-1"), &json!("t0")));
        assert_eq!(told[0].data["status"], "rejected");
        let answer = ask(&plant, request("write", Some("d"), "no JSON")).await;
        assert_eq!(answer.get("command_id"), None);
    });
}

#[test]
fn a_storm_of_requests_is_answered_at_once_beyond_the_bounds_and_does_not_fill_the_dead_letters() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, ms(100));
        let settings = CommandSettings { max_pending: 50, ..CommandSettings::default() };
        let answering = plant.commands().answering(Protocol::Nats, settings);
        let order = r#"{"tag_id":"t0","value":1.5}"#;
        let answers = join_all((0..500).map(|_| answering(request("write", Some("d"), order)))).await;
        let answers: Vec<_> = answers.iter().map(json_of).collect();
        let count = |part: &str| answers.iter().filter(|answer| answer.to_string().contains(part)).count();
        // 32 are the device's own bound.
        assert_eq!(
            (count("\"ok\""), count("wait for this device"), count("50 requests wait")),
            (32, 18, 450)
        );
        let again = json_of(&answering(request("write", Some("d"), order)).await);
        assert_eq!(again["status"], "ok", "{again}");
        assert_eq!(plant.letters().list.send(asked(1)).await.unwrap().unwrap().total, 0);
    });
}

#[test]
fn commands_are_carried_out_in_the_order_they_came_whoever_waits_for_which() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        let answering = answering(&plant);
        let order = |n: i32| {
            let id = (n % 2 == 0).then(|| n.to_string());
            json!({"command_id": id, "tag_id": "t0", "value": n}).to_string()
        };
        let mut answers: Vec<_> = (0..20).map(|n| answering(request("write", Some("d"), order(n)))).collect();
        answers.reverse();
        join_all(answers).await;
        let written: Vec<_> =
            device.script.written().into_iter().filter_map(|(_, value)| value.as_f64()).collect();
        assert_eq!(written, (0..20).map(f64::from).collect::<Vec<_>>());
    });
}

#[test]
fn what_the_configuration_does_not_allow_is_refused() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        let order = r#"{"tag_id":"t0","value":1.5}"#;
        let off = CommandSettings { enabled: false, ..CommandSettings::default() };
        let reads_only = CommandSettings { write: false, ..CommandSettings::default() };
        for (settings, verb, payload, expected) in [
            (off, "write", order, "rejected"),
            (off, "read", "", "rejected"),
            (reads_only, "write", order, "rejected"),
            (reads_only, "read", "", "ok"),
        ] {
            let answering = plant.commands().answering(Protocol::Mqtt, settings);
            let answer = json_of(&answering(request(verb, Some("d"), payload)).await);
            assert_eq!(answer["status"], expected, "{verb}: {answer}");
        }
        assert!(device.script.written().is_empty());
        assert_eq!(plant.letters().list.send(asked(1)).await.unwrap().unwrap().total, 0);
    });
}

/// A device of this tenant with writable tags `t0` to `t2`.
async fn device_of(plant: &Plant, id: &str, tenant: &str) -> FakeDevice {
    let mut settings = device_settings(id, secs(1), 3);
    tenant.clone_into(&mut settings.tenant);
    plant.device(settings, &Script::new(Mode::Answers(1.0))).await
}

fn filter(plant: &Plant, filter: Json) {
    plant.filter("plant", Some(serde_json::from_value(filter).unwrap()));
}

/// What is asked of a device, and how this is answered, with the names given.
async fn answered(plant: &Plant, verb: &str, device: &str, payload: &Json) -> String {
    let mut answer = ask(plant, request(verb, Some(device), payload.to_string())).await;
    answer.as_object_mut().unwrap().remove("timestamp");
    answer.to_string()
}

#[test]
fn a_device_that_the_filter_keeps_back_is_answered_like_one_that_is_not_there() {
    with_plant(async |plant| {
        let (ours, theirs) =
            (device_of(&plant, "ours", "acme").await, device_of(&plant, "them", "beta").await);
        let order = json!({"command_id": "c", "tag_id": "t0", "value": 2.5});
        for settings in [json!({"tenants": ["acme"]}), json!({"devices": ["our*"]}), json!({"devices": []})] {
            filter(&plant, settings.clone());
            for (verb, payload) in [
                ("write", &order),
                ("write", &json!({"tag_id": "nosuch", "value": 1})),
                ("read", &json!({})),
                ("read", &json!({"cached": true})),
                ("read", &json!({"tag_ids": ["t0"]})),
                ("read", &json!({"tag_ids": ["nosuch"], "cached": true})),
            ] {
                let unknown = answered(&plant, verb, "none", payload).await;
                assert!(unknown.contains("no device"), "{unknown}");
                let answer = answered(&plant, verb, "them", payload).await.replace("them", "none");
                assert_eq!(answer, unknown, "{settings} {verb} {payload}");
            }
        }
        assert!(theirs.script.written().is_empty());
        let told = await_events(&plant, "command_result", 6).await;
        assert!(
            told.iter().all(|event| &*event.device_id == "none"),
            "nobody hears of it as theirs: {told:?}"
        );
        filter(&plant, json!({"tenants": ["acme"]}));
        assert!(answered(&plant, "write", "ours", &order).await.contains(r#""status":"ok""#));
        assert_eq!(ours.script.written().len(), 1);
    });
}

#[test]
fn a_tag_that_the_filter_keeps_back_is_answered_like_one_that_is_not_there() {
    with_plant(async |plant| {
        let device = device_of(&plant, "d", "acme").await;
        filter(&plant, json!({"tags": ["t0", "t1"]}));
        for (verb, payload) in [
            ("write", json!({"command_id": "c", "tag_id": "t2", "value": 2.5})),
            ("read", json!({"tag_ids": ["t0", "t2"]})),
            ("read", json!({"tag_ids": ["t0", "t2"], "cached": true})),
        ] {
            let unknown = payload.to_string().replace("t2", "no");
            let unknown = answered(&plant, verb, "d", &serde_json::from_str(&unknown).unwrap()).await;
            assert!(unknown.contains("no tag"), "{unknown}");
            assert_eq!(answered(&plant, verb, "d", &payload).await.replace("t2", "no"), unknown);
        }
        assert!(device.script.written().is_empty());
        for cached in [false, true] {
            let all = ask(&plant, request("read", Some("d"), json!({"cached": cached}).to_string())).await;
            let ids: Vec<_> = all["tags"].as_array().unwrap().iter().map(|tag| tag["id"].clone()).collect();
            assert_eq!((ids, &all["count"]), (vec![json!("t0"), json!("t1")], &json!(2)), "{all}");
        }
        filter(&plant, json!({"classes": ["critical"]}));
        for cached in [false, true] {
            let all = ask(&plant, request("read", Some("d"), json!({"cached": cached}).to_string())).await;
            assert_eq!((&all["status"], &all["count"]), (&json!("ok"), &json!(0)), "{all}");
        }
    });
}
