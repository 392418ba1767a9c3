//! With `JetStream`.

use bifrost_actors::{
    broker::{Kind, Outcome},
    supervision::ChildState,
};
use nats::{
    HeaderMap,
    jetstream::{self, stream::Config},
};
use serde_json::{Value, json};

use super::{
    Gateway, in_universe, message, scans,
    server::{JETSTREAM, Server, Version},
    settings, until,
};

async fn with_stream(version: Version) -> (Server, Value, jetstream::Context) {
    let server = Server::with_jetstream(version).await;
    let context = jetstream::new(nats::connect(server.url()).await.unwrap());
    let settings = json!({"servers": [server.url()], "jetstream": {"enabled": true}});
    (server, settings, context)
}

/// The configuration and the state of a stream.
pub(crate) async fn info(context: &jetstream::Context, stream: &str) -> Value {
    let answer = context.client().request(format!("$JS.API.STREAM.INFO.{stream}"), "".into()).await;
    serde_json::from_slice(&answer.unwrap().payload).unwrap()
}

pub(crate) async fn stored(context: &jetstream::Context, stream: &str) -> u64 {
    info(context, stream).await["state"]["messages"].as_u64().unwrap_or_default()
}

/// How many messages of the device a stream holds.
pub(crate) async fn telemetry(context: &jetstream::Context, stream: &str) -> u64 {
    let filter = json!({"subjects_filter": "bifrost.telemetry.>"}).to_string();
    let answer = context.client().request(format!("$JS.API.STREAM.INFO.{stream}"), filter.into()).await;
    let info: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
    let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
    subjects.values().filter_map(Value::as_u64).sum()
}

#[test]
fn the_stream_is_made_as_configured_and_holds_each_message_once() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let (_server, config, context) = with_stream(version).await;
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_up().await;
            let tickets = gateway.spool.send(scans(1, 3000));
            gateway.until_settled(3000).await;
            assert!(tickets.iter().all(|ticket| gateway.spool.outcome(*ticket) == Some(Outcome::Delivered)));
            let again = gateway.spool.send(scans(2900, 3100));
            gateway.until_settled(3201).await;
            assert_eq!(gateway.spool.outcome(again[0]), Some(Outcome::Duplicate));
            assert_eq!(gateway.spool.outcome(again[200]), Some(Outcome::Delivered));
            // And the status.
            assert_eq!(stored(&context, "BIFROST_plant-a").await, 3101);
            let made = info(&context, "BIFROST_plant-a").await["config"].clone();
            assert_eq!(made["max_age"], json!(604_800_000_000_000_u64), "{made}");
            assert_eq!((&made["storage"], &made["discard"]), (&json!("file"), &json!("old")));
            assert_eq!(made["duplicate_window"], json!(3_600_000_000_000_u64));
            let detail = gateway.detail().await;
            assert_eq!(
                (&detail["duplicates"], &detail["differences"]),
                (&json!(101), &json!([])),
                "{detail}"
            );
            assert_eq!(gateway.events_of("stream_created").await.len(), 1);
            assert_eq!(gateway.events_of("stream_differs").await.len(), 0);
        });
    }
}

#[test]
fn the_id_tells_messages_of_one_scan_apart() {
    in_universe(async |universe| {
        let (_server, config, context) = with_stream(Version::Debian).await;
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        let mut parts = [scans(7, 7), scans(7, 7)].concat();
        parts[0].part = "speed".into();
        parts[1].part = "torque".into();
        gateway.spool.send(parts);
        gateway.until_settled(2).await;
        let stream = context.get_stream("BIFROST_plant-a").await.unwrap();
        let last = stream.get_last_raw_message_by_subject("bifrost.telemetry.plant-a.press-1").await.unwrap();
        assert_eq!(last.headers.get("Nats-Msg-Id").unwrap().as_str(), "gw-1-press-1-7:torque");
        assert_eq!(stored(&context, "BIFROST_plant-a").await, 3);
    });
}

#[test]
fn an_existing_stream_is_brought_up_to_date_and_keeps_what_others_need() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let (_server, mut config, context) = with_stream(version).await;
            let existing = Config {
                name: "PLANT".to_owned(),
                subjects: vec!["other.>".to_owned(), "bifrost.telemetry.plant-a.press-1".to_owned()],
                description: Some("kept".to_owned()),
                max_messages: 5000,
                ..Config::default()
            };
            context.create_stream(existing).await.unwrap();
            config["jetstream"] = json!({
                "enabled": true, "stream": "PLANT", "retention": "30m", "max_bytes": "10MiB",
            });
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_up().await;
            gateway.spool.send(scans(1, 10));
            gateway.until_settled(10).await;
            let now = info(&context, "PLANT").await["config"].clone();
            assert_eq!((&now["description"], &now["max_msgs"]), (&json!("kept"), &json!(5000)), "{now}");
            assert_eq!(
                (&now["max_bytes"], &now["max_age"]),
                (&json!(10_485_760), &json!(1_800_000_000_000_u64))
            );
            assert_eq!(now["duplicate_window"], json!(1_800_000_000_000_u64));
            let subjects = now["subjects"].as_array().unwrap();
            assert!(
                subjects.contains(&json!("other.>"))
                    && !subjects.contains(&json!("bifrost.telemetry.plant-a.press-1"))
            );
            assert_eq!(gateway.events_of("stream_differs").await.len(), 0);
        });
    }
}

#[test]
fn what_the_server_made_otherwise_is_told_and_shown() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let limits = r#"jetstream { store_dir: "$FOLDER/js", max_mem: 20MB }"#;
            let server = Server::start(version, limits).await;
            let context = jetstream::new(nats::connect(server.url()).await.unwrap());
            let existing = Config {
                name: "PLANT".to_owned(),
                subjects: vec!["bifrost.>".to_owned()],
                storage: jetstream::stream::StorageType::Memory,
                ..Config::default()
            };
            context.create_stream(existing).await.unwrap();
            let jetstream = json!({"enabled": true, "stream": "PLANT", "max_bytes": "100MiB"});
            let config = json!({"servers": [server.url()], "jetstream": jetstream});
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_up().await;
            let events = gateway.events_of("stream_differs").await;
            assert_eq!(events.len(), 1, "{events:?}");
            let fields = events[0].data["fields"].as_array().unwrap();
            assert!(fields.contains(&json!("storage")) && fields.contains(&json!("max_bytes")), "{fields:?}");
            assert!(events[0].data["refused"].as_str().unwrap().contains("resources"), "{:?}", events[0]);
            let detail = gateway.detail().await;
            let shown = detail["differences"].to_string();
            assert!(shown.contains(r#"storage is \"memory\" instead of \"file\""#), "{shown}");
            gateway.spool.send(scans(1, 10));
            gateway.until_settled(10).await;
        });
    }
}

#[test]
fn without_jetstream_the_session_says_what_to_do() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let server = Server::start(version, "").await;
            let config = json!({"servers": [server.url()], "jetstream": {"enabled": true}});
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_error(&["no JetStream", "jetstream.enabled: false", &server.url()]).await;
        });
    }
}

#[test]
fn a_stream_that_cannot_be_made_is_told_with_its_reason() {
    for (existing, jetstream, parts) in [
        (
            Some("bifrost.telemetry.>"),
            json!({"enabled": true}),
            ["another stream already takes", "jetstream.stream"],
        ),
        (None, json!({"enabled": true, "max_bytes": "100MiB"}), ["BIFROST_plant-a", "jetstream.max_bytes"]),
        (None, json!({"enabled": true, "replicas": 3}), ["BIFROST_plant-a", "replicas"]),
    ] {
        for version in Version::BOTH {
            in_universe(async |universe| {
                let limits = r#"jetstream { store_dir: "$FOLDER/js", max_file: 50MB }"#;
                let server = Server::start(version, limits).await;
                let context = jetstream::new(nats::connect(server.url()).await.unwrap());
                if let Some(subject) = existing {
                    let (name, subjects) = ("OTHER".to_owned(), vec![subject.to_owned()]);
                    context.create_stream(Config { name, subjects, ..Config::default() }).await.unwrap();
                }
                let config = json!({"servers": [server.url()], "jetstream": jetstream});
                let gateway = Gateway::start(&universe, settings(&config)).await;
                gateway.until_error(&parts).await;
            });
        }
    }
}

#[test]
fn who_may_not_ask_for_streams_learns_which_permission_is_missing() {
    let users = r#"authorization { users: [{ user: u, password: p, permissions: {
        publish: { allow: ["bifrost.>", "_INBOX.>"] } } }] }"#;
    for version in Version::BOTH {
        in_universe(async |universe| {
            let server = Server::start(version, &format!("{JETSTREAM}\n{users}")).await;
            let password = server.folder().join("password");
            std::fs::write(&password, "p").unwrap();
            let config = json!({
                "servers": [server.url()], "username": "u", "password_file": password,
                "jetstream": {"enabled": true},
            });
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_error(&["doesn't permit", "publish to $JS.API.STREAM.INFO.BIFROST_plant-a"]).await;
        });
    }
}

#[test]
fn a_stream_that_was_deleted_is_made_anew_and_nothing_is_refused() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let (_server, config, context) = with_stream(version).await;
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_up().await;
            gateway.spool.send(scans(1, 10));
            gateway.until_settled(10).await;
            context.delete_stream("BIFROST_plant-a").await.unwrap();
            gateway.spool.send(scans(11, 300));
            gateway.until_settled(300).await;
            assert_eq!(stored(&context, "BIFROST_plant-a").await, 290);
            assert_eq!(gateway.detail().await["refused"], 0);
            assert_eq!(gateway.events_of("stream_created").await.len(), 2);
        });
    }
}

#[test]
fn what_no_stream_takes_is_refused_and_does_not_block_the_rest() {
    in_universe(async |universe| {
        let (_server, config, _) = with_stream(Version::New).await;
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        let stray = message("elsewhere.a", Kind::Telemetry, 1, "{}");
        let tickets = gateway.spool.send([stray].into_iter().chain(scans(1, 10)));
        gateway.until_settled(11).await;
        let outcome = gateway.spool.outcome(tickets[0]);
        let refused = Outcome::Refused("stream not found: none takes elsewhere.a".to_owned());
        assert_eq!(outcome, Some(refused));
        assert_eq!(gateway.node().await.state, ChildState::Running);
    });
}

#[test]
fn figures_go_beside_the_stream() {
    in_universe(async |universe| {
        let (server, config, context) = with_stream(Version::Debian).await;
        let client = nats::connect(server.url()).await.unwrap();
        let mut figures = super::subscribe(&client, "bifrost.diagnostics.>").await;
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        let tickets = gateway.spool.send([message("bifrost.diagnostics.x", Kind::Diagnostics, 0, "{}")]);
        gateway.until_settled(1).await;
        assert_eq!(gateway.spool.outcome(tickets[0]), Some(Outcome::Delivered));
        assert_eq!(super::next_payload(&mut figures).await, "{}");
        assert_eq!(stored(&context, "BIFROST_plant-a").await, 1);
    });
}

#[test]
fn a_full_stream_that_refuses_new_messages_makes_them_wait() {
    in_universe(async |universe| {
        let (_server, config, context) = with_stream(Version::Debian).await;
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        let update = async |max_messages: i64| {
            let mut config =
                context.get_stream("BIFROST_plant-a").await.unwrap().info().await.unwrap().config.clone();
            config.discard = jetstream::stream::DiscardPolicy::New;
            config.max_messages = max_messages;
            context.update_stream(config).await.unwrap();
        };
        update(5).await;
        gateway.spool.send(scans(1, 20));
        until("some come back", async || gateway.spool.look(|state| state.again.len()) >= 16).await;
        let reason = gateway.spool.look(|state| state.again[0].clone());
        assert!(reason.contains("maximum messages exceeded"), "{reason}");
        update(-1).await;
        gateway.until_settled(20).await;
        assert_eq!(stored(&context, "BIFROST_plant-a").await, 21);
    });
}

/// Somebody who answers whatever is published on the same subjects doesn't settle anything.
#[test]
fn only_the_stream_acknowledges() {
    in_universe(async |universe| {
        let (server, config, context) = with_stream(Version::Debian).await;
        let client = nats::connect(server.url()).await.unwrap();
        let mut echo = super::subscribe(&client, "bifrost.telemetry.>").await;
        actix_rt::spawn(async move {
            while let Some(message) = futures_util::StreamExt::next(&mut echo).await {
                let headers = HeaderMap::new();
                client
                    .publish_with_headers(message.reply.unwrap(), headers, r#"{"ok":true}"#.into())
                    .await
                    .unwrap();
            }
        });
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        gateway.spool.send(scans(1, 500));
        gateway.until_settled(500).await;
        assert_eq!(stored(&context, "BIFROST_plant-a").await, 501);
    });
}
