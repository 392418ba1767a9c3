//! Requests and their answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use bifrost_actors::{
    broker::{Reply, Request},
    testing::until,
};
use futures_util::future::BoxFuture;
use paho_mqtt::{Message, MessageBuilder, Properties, PropertyCode};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, run},
    broker::{Broker, OPEN},
    observer::Observer,
    scripted::{Greeting, Scripted},
};

const TOPIC: &str = "bifrost/commands/site/press/write";

fn asking(payload: &str, answer_to: &str, correlation: &[u8]) -> Message {
    let mut properties = Properties::new();
    properties.push_string(PropertyCode::ResponseTopic, answer_to).unwrap();
    properties.push_binary(PropertyCode::CorrelationData, correlation.to_vec()).unwrap();
    MessageBuilder::new().topic(TOPIC).payload(payload).qos(1).properties(properties).finalize()
}

#[test]
fn mqtt_5_answers_where_it_is_asked_to() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &["answers/#"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        for n in 0..20 {
            observer.publish(asking(&format!("{{\"n\":{n}}}"), "answers/mine", &[n, 0, 255])).await;
        }
        for n in 0..20_u8 {
            let answer = observer.next().await;
            assert_eq!((answer.topic(), answer.retained()), ("answers/mine", false));
            assert_eq!(answer.payload_str(), format!("{{\"n\":{n}}}"));
            let correlation = answer.properties().get_binary(PropertyCode::CorrelationData).unwrap();
            assert_eq!(correlation, [n, 0, 255]);
        }
        let requests = bench.requests();
        assert_eq!(requests.len(), 20);
        let first = &requests[0];
        assert_eq!((&*first.session, &*first.topic, &*first.verb), ("mqtt", TOPIC, "write"));
        assert_eq!((first.device_id.as_deref(), first.wants_reply), (Some("press"), true));
    });
}

#[test]
fn a_session_of_3_1_1_takes_commands_and_leaves_the_answer_to_events() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &["answers/#"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url(), "version": "3.1.1" })).await;
        bench.attached().await;
        observer.publish(asking("{}", "answers/mine", &[1])).await;
        until("the request", || bench.requests().len() == 1).await;
        assert!(!bench.requests()[0].wants_reply);
    });
}

#[test]
fn a_retained_command_is_never_carried_out() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &[]).await;
        observer.publish(Message::new_retained(TOPIC, "{\"stale\":true}", 1)).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        let said = bench.event("mqtt_stale_command").await;
        assert!(said.contains(TOPIC), "{said}");
        observer.publish(Message::new("bifrost/commands/site/press/read", "{}", 1)).await;
        until("the request", || !bench.requests().is_empty()).await;
        assert_eq!(bench.requests().len(), 1);
        assert_eq!(bench.requests()[0].verb, "read");
    });
}

#[test]
fn an_answer_to_everybody_is_given_to_nobody() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &["answers/#"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        // A broker may let such a topic pass or end the sender's connection: mosquitto passes it on.
        observer.publish(asking("1", "answers/#", &[])).await;
        observer.publish(asking("2", "answers/mine", &[])).await;
        assert_eq!(observer.next().await.payload_str(), "2");
    });
}

/// Begins so many requests and never answers; refuses the others.
fn at_most(bound: usize) -> impl Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync {
    let begun = AtomicUsize::new(0);
    move |_| {
        if begun.fetch_add(1, Ordering::SeqCst) < bound {
            return Box::pin(std::future::pending());
        }
        let payload = json!({ "status": "rejected", "error": "too many" }).to_string().into();
        Box::pin(async { Reply { payload, error: Some("too many requests".to_owned()) } })
    }
}

#[test]
fn a_storm_is_refused_at_once_and_in_bounds() {
    run(|universe| async move {
        let broker = Broker::start("allow_anonymous true\nmax_queued_messages 0\n");
        let observer = Observer::start(&broker.url(), &["answers/#"]).await;
        let settings = json!({ "broker": broker.url(), "commands": { "max_pending": 3 } });
        let bench = Bench::answering(&universe, settings, at_most(3)).await;
        bench.attached().await;
        for n in 0..5 {
            observer.publish(asking("{}", "answers/mine", &[n])).await;
        }
        for n in 3..5_u8 {
            let answer = observer.next().await;
            let said: Value = serde_json::from_str(&answer.payload_str()).unwrap();
            assert_eq!(said, json!({ "status": "rejected", "error": "too many" }));
            let correlation = answer.properties().get_binary(PropertyCode::CorrelationData).unwrap();
            assert_eq!(correlation, [n]);
        }
        assert_eq!(bench.observed().await["requests_pending"], 3);
        bench.event("mqtt_requests_refused").await;
    });
}

#[test]
fn commands_that_are_switched_off_are_not_subscribed_to() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &[TOPIC]).await;
        let settings = json!({ "broker": broker.url(), "commands": { "enabled": false } });
        let bench = Bench::start(&universe, settings).await;
        bench.attached().await;
        observer.publish(Message::new(TOPIC, "{}", 1)).await;
        observer.next().await;
        assert_eq!(bench.requests(), []);
    });
}

#[test]
fn a_refused_subscription_is_told_and_does_not_end_the_session() {
    refused_subscription("5", "128 unspecified error");
}

#[test]
fn a_refused_subscription_is_told_on_3_1_1() {
    refused_subscription("3.1.1", "refused");
}

fn refused_subscription(version: &str, reason: &str) {
    run(|universe| async move {
        let server = Scripted::start(Greeting::NoSubscriptions).await;
        let bench = Bench::start(&universe, json!({ "broker": server.url(), "version": version })).await;
        bench.attached().await;
        let expected = json!([format!("bifrost/commands/site/+/+: {reason}")]);
        assert_eq!(bench.observed().await["subscriptions_refused"], expected);
        let said = bench.event("mqtt_subscription_refused").await;
        assert!(said.contains(reason) && said.contains("commands.enabled"), "{said}");
    });
}
