//! Without `JetStream`.

use bifrost_actors::{
    broker::{Kind, Outcome},
    supervision::OrderKind,
};
use serde_json::json;

use super::{
    Gateway, in_universe, message, next_payload, scans,
    server::{Server, Version},
    settings, subscribe, until,
};

#[test]
fn what_the_server_has_processed_is_delivered_in_order() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let server = Server::start(version, "").await;
            let client = nats::connect(server.url()).await.unwrap();
            let mut subscriber = subscribe(&client, "bifrost.telemetry.>").await;
            let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
            gateway.until_up().await;
            let tickets = gateway.spool.send(scans(1, 2000));
            gateway.until_settled(2000).await;
            for (seq, ticket) in (1..).zip(tickets) {
                assert_eq!(next_payload(&mut subscriber).await, format!(r#"{{"seq":{seq}}}"#));
                assert_eq!(gateway.spool.outcome(ticket), Some(Outcome::Delivered));
            }
            let detail = gateway.detail().await;
            assert_eq!(
                (&detail["acknowledged"], &detail["in_flight"]),
                (&json!(2000), &json!(0)),
                "{detail}"
            );
            assert_eq!(detail["stream"], json!(null));
        });
    }
}

#[test]
fn the_gateway_says_that_it_comes_and_that_it_goes() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "").await;
        let client = nats::connect(server.url()).await.unwrap();
        let mut subscriber = subscribe(&client, "bifrost.events.plant-a.gateway.status").await;
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
        assert_eq!(next_payload(&mut subscriber).await, r#"{"online":true}"#);
        gateway.until_up().await;
        gateway.spool.send(scans(1, 100));
        gateway.order(OrderKind::Stop).await;
        assert_eq!(next_payload(&mut subscriber).await, r#"{"online":false}"#);
        until("detached", async || gateway.spool.look(|state| state.detached) == 1).await;
        assert_eq!(gateway.node().await.last_error, None);
    });
}

#[test]
fn what_permissions_deny_is_refused_and_told_and_the_rest_goes_on() {
    let config = r#"authorization { users: [{ user: u, password: p, permissions: {
        publish: { deny: "bifrost.telemetry.plant-a.secret" } } }] }"#;
    for version in Version::BOTH {
        in_universe(async |universe| {
            let server = Server::start(version, config).await;
            let password = server.folder().join("password");
            std::fs::write(&password, "p\n").unwrap();
            let login = json!({"servers": [server.url()], "username": "u", "password_file": password});
            let gateway = Gateway::start(&universe, settings(&login)).await;
            gateway.until_up().await;
            let denied = || message("bifrost.telemetry.plant-a.secret", Kind::Telemetry, 1, "{}");
            let mixed: Vec<_> = scans(1, 50).into_iter().flat_map(|scan| [scan, denied()]).collect();
            let tickets = gateway.spool.send(mixed);
            gateway.until_settled(100).await;
            for pair in tickets.chunks(2) {
                assert_eq!(gateway.spool.outcome(pair[0]), Some(Outcome::Delivered));
                let Some(Outcome::Refused(reason)) = gateway.spool.outcome(pair[1]) else {
                    panic!("{:?}", gateway.spool.outcome(pair[1]))
                };
                assert!(reason.contains("doesn't permit"), "{reason}");
            }
            let events = gateway.events_of("subject_denied").await;
            assert_eq!(events.len(), 1, "{events:?}");
            assert_eq!(events[0].data["subject"], "bifrost.telemetry.plant-a.secret");
            let detail = gateway.detail().await;
            assert_eq!(detail["refused"], 50, "{detail}");
            assert!(detail["last_refusal"].as_str().unwrap().contains("plant-a.secret"), "{detail}");
        });
    }
}

/// The client library passes on 128 errors at a time.
#[test]
fn of_many_subjects_that_are_denied_at_once_none_counts_as_delivered() {
    let config = r#"authorization { users: [{ user: u, password: p, permissions: {
        publish: { allow: ["_INBOX.>", "bifrost.events.>"] } } }] }"#;
    in_universe(async |universe| {
        let server = Server::start(Version::New, config).await;
        let password = server.folder().join("password");
        std::fs::write(&password, "p").unwrap();
        let login = json!({
            "servers": [server.url()], "username": "u", "password_file": password, "window": 1000,
        });
        let gateway = Gateway::start(&universe, settings(&login)).await;
        gateway.until_up().await;
        let subject = |n: u64| format!("bifrost.telemetry.plant-a.press-{n}");
        let tickets = gateway.spool.send((1..=1000).map(|n| message(&subject(n), Kind::Telemetry, n, "{}")));
        gateway.until_settled(1000).await;
        for ticket in tickets {
            let outcome = gateway.spool.outcome(ticket);
            assert!(matches!(outcome, Some(Outcome::Refused(_))), "{ticket}: {outcome:?}");
        }
    });
}

#[test]
fn what_is_too_large_is_refused_unsent_and_the_rest_goes_on() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "max_payload: 4096").await;
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
        gateway.until_up().await;
        assert_eq!(gateway.spool.look(|state| state.max_payload), Some(3072));
        let large = message("bifrost.telemetry.plant-a.press-1", Kind::Telemetry, 1, &"x".repeat(5000));
        let tickets = gateway.spool.send([large].into_iter().chain(scans(2, 3)));
        gateway.until_settled(3).await;
        let Some(Outcome::Refused(reason)) = gateway.spool.outcome(tickets[0]) else { panic!("not refused") };
        assert!(reason.contains("5000 bytes"), "{reason}");
        assert_eq!(gateway.spool.outcome(tickets[2]), Some(Outcome::Delivered));
    });
}

#[test]
fn a_spool_that_was_rebuilt_is_attached_to() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "").await;
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
        gateway.until_up().await;
        let second = gateway.spool.start();
        until("attached anew", async || gateway.spool.look(|state| state.attached) == 2).await;
        gateway.spool.send(scans(1, 10));
        gateway.until_settled(10).await;
        second.send(super::spool::Leave).await.unwrap();
        until("alone", async || gateway.detail().await["state"] == "waiting for its spool").await;
        gateway.spool.send(scans(11, 20));
        gateway.spool.start();
        gateway.until_settled(20).await;
    });
}
