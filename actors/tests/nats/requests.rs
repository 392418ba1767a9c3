//! Commands by request and reply.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bifrost_actors::broker::{Answering, Reply};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    Gateway, in_universe, round_trip,
    server::{Server, Version},
    settings, until,
};

const WRITE: &str = "bifrost.commands.plant-a.press-1.write";

#[test]
fn a_request_is_handed_on_and_its_answer_goes_to_who_asked() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let server = Server::start(version, "").await;
            let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
            gateway.until_up().await;
            let client = nats::connect(server.url()).await.unwrap();
            let body = Bytes::from_static(br#"{"command_id":"c1","tag_id":"speed","value":5}"#);
            let answer = client.request(WRITE, body.clone()).await.unwrap();
            assert_eq!((&*answer.payload, answer.headers), (br#"{"status":"ok"}"#.as_slice(), None));
            let requests = gateway.requests.lock().unwrap().clone();
            assert_eq!(requests.len(), 1);
            assert_eq!(
                (&*requests[0].session, &*requests[0].topic, &*requests[0].verb),
                ("nats", WRITE, "write")
            );
            assert_eq!(requests[0].device_id.as_deref(), Some("press-1"));
            assert_eq!((&requests[0].payload, requests[0].wants_reply), (&body, true));
        });
    }
}

#[test]
fn who_names_no_place_for_the_answer_gets_none() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "").await;
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
        gateway.until_up().await;
        let client = nats::connect(server.url()).await.unwrap();
        client.publish(WRITE, "{}".into()).await.unwrap();
        until("handed on", async || gateway.requests.lock().unwrap().len() == 1).await;
        assert!(!gateway.requests.lock().unwrap()[0].wants_reply);
        assert_eq!(gateway.detail().await["requests"], 1);
    });
}

#[test]
fn an_answer_that_is_an_error_says_so_as_services_do() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "").await;
        let answering: Answering = Arc::new(|_| {
            let error = Some("limits:\r\n0 to 100".to_owned());
            Box::pin(async { Reply { payload: Bytes::from_static(br#"{"status":"rejected"}"#), error } })
        });
        let config = settings(&json!({"servers": [server.url()]}));
        let gateway = Gateway::start_with(&universe, config, answering, Arc::default()).await;
        gateway.until_up().await;
        let client = nats::connect(server.url()).await.unwrap();
        let answer = client.request(WRITE, "{}".into()).await.unwrap();
        let headers = answer.headers.unwrap();
        assert_eq!(headers.get("Nats-Service-Error").unwrap().as_str(), "limits:  0 to 100");
        assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
        assert_eq!(&*answer.payload, br#"{"status":"rejected"}"#);
    });
}

#[test]
fn where_commands_are_not_taken_nobody_answers() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "").await;
        let config = json!({"servers": [server.url()], "commands": {"enabled": false}});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        let client = nats::connect(server.url()).await.unwrap();
        let error = client.request(WRITE, "{}".into()).await.unwrap_err();
        assert_eq!(error.kind(), nats::RequestErrorKind::NoResponders);
    });
}

#[test]
fn of_a_storm_of_requests_each_is_answered_and_only_so_many_are_worked_on() {
    in_universe(async |universe| {
        let server = Server::start(Version::New, "").await;
        let (gate, opened) = (Arc::new(Notify::new()), Arc::new(tokio::sync::Semaphore::new(0)));
        let (waiting, waited) = (Arc::clone(&gate), Arc::clone(&opened));
        let begun = AtomicUsize::new(0);
        let answering: Answering = Arc::new(move |_| {
            if begun.fetch_add(1, Ordering::SeqCst) >= 4 {
                let payload = Bytes::from_static(br#"{"status":"rejected"}"#);
                return Box::pin(async { Reply { payload, error: Some("too many requests".to_owned()) } });
            }
            let (gate, opened) = (Arc::clone(&waiting), Arc::clone(&waited));
            Box::pin(async move {
                gate.notify_one();
                let _ = opened.acquire().await;
                Reply { payload: Bytes::from_static(br#"{"status":"ok"}"#), error: None }
            })
        });
        let config = json!({"servers": [server.url()]});
        let gateway = Gateway::start_with(&universe, settings(&config), answering, Arc::default()).await;
        gateway.until_up().await;
        let client = nats::connect(server.url()).await.unwrap();
        let asking: Vec<_> = (0..2000)
            .map(|_| {
                let client = client.clone();
                actix_rt::spawn(async move { client.request(WRITE, "{}".into()).await.unwrap() })
            })
            .collect();
        until("a storm", async || gateway.detail().await["requests_turned_away"] == 1996).await;
        let detail = gateway.detail().await;
        assert_eq!((&detail["requests"], &detail["requests_pending"]), (&json!(4), &json!(4)), "{detail}");
        opened.add_permits(4);
        let mut answers = Vec::new();
        for answer in asking {
            let answer = answer.await.unwrap();
            let payload: Value = serde_json::from_slice(&answer.payload).unwrap();
            let code = answer.headers.and_then(|headers| headers.get("Nats-Service-Error-Code").cloned());
            answers.push((payload["status"].as_str().unwrap().to_owned(), code.map(|code| code.to_string())));
        }
        assert_eq!(answers.iter().filter(|answer| **answer == ("ok".to_owned(), None)).count(), 4);
        let turned_away = ("rejected".to_owned(), Some("429".to_owned()));
        assert_eq!(answers.iter().filter(|answer| **answer == turned_away).count(), 1996);
        assert_eq!(gateway.detail().await["requests_pending"], 0);
    });
}

#[test]
fn what_was_begun_is_never_refused() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "").await;
        let opened = Arc::new(tokio::sync::Semaphore::new(0));
        let waited = Arc::clone(&opened);
        let answering: Answering = Arc::new(move |_| {
            let opened = Arc::clone(&waited);
            Box::pin(async move {
                opened.acquire().await.unwrap().forget();
                Reply { payload: Bytes::from_static(br#"{"status":"ok"}"#), error: None }
            })
        });
        let config = json!({"servers": [server.url()], "commands": {"max_pending": 1}});
        let gateway = Gateway::start_with(&universe, settings(&config), answering, Arc::default()).await;
        gateway.until_up().await;
        let client = nats::connect(server.url()).await.unwrap();
        let ask = || client.request(WRITE, "{}".into());
        let asking = async { futures_util::future::try_join_all((0..50).map(|_| ask())).await.unwrap() };
        let opening = async {
            until("all begun", async || gateway.detail().await["requests_pending"] == 50).await;
            opened.add_permits(50);
        };
        let (answers, ()) = tokio::join!(asking, opening);
        assert!(answers.iter().all(|answer| &*answer.payload == br#"{"status":"ok"}"#));
    });
}

#[test]
fn a_subscription_that_is_denied_is_told_and_messages_go_on() {
    let config = r#"authorization { users: [{ user: u, password: p, permissions: {
        subscribe: { deny: "bifrost.commands.>" } } }] }"#;
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, config).await;
        let password = server.folder().join("password");
        std::fs::write(&password, "p").unwrap();
        let config = json!({"servers": [server.url()], "username": "u", "password_file": password});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        until("told", async || gateway.events_of("subject_denied").await.len() == 2).await;
        let message = &gateway.events_of("subject_denied").await[0].message;
        assert!(message.contains("subscribe to bifrost.commands.plant-a.*"), "{message}");
        gateway.spool.send(super::scans(1, 10));
        gateway.until_settled(10).await;
    });
}

/// While telemetry flows at full speed, a request is still answered soon.
#[test]
fn requests_are_answered_under_load() {
    in_universe(async |universe| {
        let server = Server::with_jetstream(Version::New).await;
        let config = json!({"servers": [server.url()], "jetstream": {"enabled": true}});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        gateway.spool.send(super::scans(1, 50_000));
        let client = nats::connect(server.url()).await.unwrap();
        round_trip(&client).await;
        for _ in 0..20 {
            let asked =
                tokio::time::timeout(Duration::from_secs(2), client.request(WRITE, "{}".into())).await;
            asked.unwrap().unwrap();
        }
        gateway.until_settled(50_000).await;
    });
}
