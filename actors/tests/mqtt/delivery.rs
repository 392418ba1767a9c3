//! What becomes of messages.

use std::time::Duration;

use bifrost_actors::{
    broker::{Outcome, Outgoing},
    testing::{FakeSpool, outgoing, until},
};
use bifrost_model::TagClass;
use paho_mqtt::{PropertyCode, QoS};
use serde_json::json;

use crate::{
    bench::{Bench, run},
    broker::{Broker, OPEN},
    observer::Observer,
};

const CLASSES: [TagClass; 3] = [TagClass::Telemetry, TagClass::Status, TagClass::Critical];

#[test]
fn each_class_arrives_with_its_quality_of_service() {
    each_class("5");
}

#[test]
fn each_class_arrives_with_its_quality_of_service_on_3_1_1() {
    each_class("3.1.1");
}

fn each_class(version: &str) {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &["t/#"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url(), "version": version })).await;
        for class in CLASSES {
            bench.spool.push([outgoing(&format!("t/{class:?}"), class, "{}")]);
            let message = observer.next().await;
            assert_eq!(message.topic(), format!("t/{class:?}"));
            assert_eq!(message.qos(), QoS::from(class as i32));
        }
        let outcomes = bench.outcomes(3).await;
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Delivered), "{outcomes:?}");
        let said = bench.observed().await;
        assert_eq!((&said["version"], &said["acknowledged"]), (&json!(version), &json!(3)));
    });
}

#[test]
fn many_messages_arrive_in_order() {
    run(|universe| async move {
        let broker = Broker::start("allow_anonymous true\nmax_queued_messages 0\n");
        let observer = Observer::start(&broker.url(), &["t"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url(), "window": 100 })).await;
        let expected: Vec<_> = (0..2000).map(|n| ("t".to_owned(), n.to_string())).collect();
        bench.spool.push(expected.iter().map(|(topic, n)| outgoing(topic, TagClass::Status, n.clone())));
        assert_eq!(observer.texts(2000).await, expected);
        bench.outcomes(2000).await;
        assert_eq!(bench.spool.out(), 0);
    });
}

#[test]
fn a_topic_that_is_not_allowed_is_refused_by_its_reason() {
    run(|universe| async move {
        let broker = Broker::with_files(|folder| {
            let acl = folder.join("acl");
            std::fs::write(&acl, "topic readwrite bifrost/#\ntopic readwrite good/#\n").unwrap();
            format!("{OPEN}acl_file {}\n", acl.display())
        });
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        for (class, topic) in [(1, "bad/1"), (2, "bad/2"), (1, "good/1")] {
            bench.spool.push([outgoing(topic, CLASSES[class], "{}")]);
        }
        let mut outcomes = bench.outcomes(3).await;
        outcomes.sort_by(|a, b| a.0.cmp(&b.0));
        let refused = || Outcome::Refused("135 not authorized".to_owned());
        let expected = [("bad/1", refused()), ("bad/2", refused()), ("good/1", Outcome::Delivered)];
        assert_eq!(outcomes, expected.map(|(topic, outcome)| (topic.to_owned(), outcome)));
        assert_eq!(bench.observed().await["last_refusal"], "135 not authorized");
        assert_eq!(bench.observed().await["refused"], 2);
    });
}

#[test]
fn what_is_too_large_for_the_broker_is_refused_without_being_sent() {
    run(|universe| async move {
        let broker = Broker::start("allow_anonymous true\nmax_packet_size 2000\n");
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        assert_eq!(bench.attached().await.max_payload, Some(1995));
        let fits = 2000 - (1 + 2 + 2 + "t".len() + 2 + 1);
        for bytes in [fits + 1, fits] {
            bench.spool.push([outgoing("t", TagClass::Status, vec![b'x'; bytes])]);
        }
        let outcomes = bench.outcomes(2).await;
        let text = "is larger than the broker's maximum packet size of 2000 allows";
        let text = format!("payload of {} bytes {text}", fits + 1);
        assert_eq!(outcomes[0].1, Outcome::Refused(text));
        assert_eq!(outcomes[1].1, Outcome::Delivered);
        assert_eq!(bench.spool.visits(), (1, 0), "the connection was kept");
    });
}

#[test]
fn a_limit_of_ones_own_holds_on_3_1_1_too() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let settings = json!({ "broker": broker.url(), "version": "3.1.1", "max_packet_size": "200B" });
        let bench = Bench::start(&universe, settings).await;
        bench
            .spool
            .push([outgoing("t", TagClass::Status, vec![b'x'; 300]), outgoing("t", TagClass::Status, "y")]);
        let outcomes = bench.outcomes(2).await;
        let text = "payload of 300 bytes is larger than max_packet_size of 200 allows";
        assert_eq!(outcomes[0].1, Outcome::Refused(text.to_owned()));
        assert_eq!(outcomes[1].1, Outcome::Delivered);
    });
}

#[test]
fn topics_that_would_end_the_connection_are_refused() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.spool.push(["", "a/#", "a/+/b", "a\0b"].map(|topic| outgoing(topic, TagClass::Status, "{}")));
        for (topic, outcome) in bench.outcomes(4).await {
            let Outcome::Refused(reason) = outcome else { panic!("{topic:?}: {outcome:?}") };
            assert!(reason.starts_with("144 topic name invalid"), "{reason}");
        }
    });
}

#[test]
fn a_broker_that_can_do_less_gets_less_and_says_so_once() {
    run(|universe| async move {
        let broker = Broker::start("allow_anonymous true\nmax_qos 1\nretain_available false\n");
        let observer = Observer::start(&broker.url(), &["t"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        bench.spool.push([Outgoing { retain: true, ..outgoing("t", TagClass::Critical, "{}") }]);
        assert_eq!(observer.next().await.qos(), QoS::AtLeastOnce);
        assert_eq!(bench.outcomes(1).await[0].1, Outcome::Delivered);
        let said = bench.event("mqtt_qos_clamped").await;
        assert!(said.contains("QoS 1 at most") && said.contains("critical"), "{said}");
        bench.event("mqtt_retain_unavailable").await;
        assert_eq!(bench.observed().await["qos_clamped"], json!(["critical"]));
    });
}

#[test]
fn the_window_is_no_larger_than_the_broker_allows() {
    run(|universe| async move {
        let broker = Broker::start("allow_anonymous true\nmax_inflight_messages 7\n");
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        assert_eq!(bench.attached().await.window, 7);
        bench.spool.push((0..100).map(|_| outgoing("t", TagClass::Critical, "{}")));
        bench.outcomes(100).await;
    });
}

#[test]
fn topics_become_numbers_and_arrive_as_topics() {
    run(|universe| async move {
        let broker = Broker::start("allow_anonymous true\nmax_queued_messages 0\n");
        let observer = Observer::start(&broker.url(), &["t/#"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url(), "qos": 1 })).await;
        let topics = (0..20 * 12).map(|n| format!("t/{}", n % 12));
        let expected: Vec<_> = topics.enumerate().map(|(n, topic)| (topic, n.to_string())).collect();
        bench.spool.push(expected.iter().map(|(topic, n)| outgoing(topic, TagClass::Telemetry, n.clone())));
        assert_eq!(observer.texts(expected.len()).await, expected);
        assert_eq!(bench.observed().await["topic_aliases"], 10, "as many as mosquitto takes");
    });
}

#[test]
fn what_mqtt_5_says_beside_the_payload_is_said() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &["t"]).await;
        let settings = json!({ "broker": broker.url(), "message_expiry": "1h", "user_properties": true });
        let bench = Bench::start(&universe, settings).await;
        bench.spool.push([outgoing("t", TagClass::Telemetry, "{}")]);
        let message = observer.next().await;
        let expiry = message.properties().get_int(PropertyCode::MessageExpiryInterval);
        assert!(expiry.is_some_and(|left| (3590..=3600).contains(&left)), "{expiry:?}");
        for (key, value) in [("gateway_id", "gw"), ("site_id", "site"), ("device_id", "press")] {
            assert_eq!(message.properties().find_user_property(key).as_deref(), Some(value));
        }
    });
}

#[test]
fn what_is_out_when_the_broker_dies_is_sent_again() {
    run(|universe| async move {
        let mut broker = Broker::start(OPEN);
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        broker.kill();
        bench.spool.push((0..10).map(|n| outgoing("t", TagClass::Status, n.to_string())));
        let reason = bench.failed(&format!("127.0.0.1:{}", broker.port)).await;
        assert!(reason.contains("lost") || reason.contains("can't be reached"), "{reason}");
        broker.restart();
        let outcomes = bench.outcomes(10).await;
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Delivered));
    });
}

#[test]
fn a_rebuilt_spool_is_found() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        let rebuilt = FakeSpool::start(&bench.slot);
        until("the session at the new spool", || rebuilt.session().is_some()).await;
        rebuilt.push([outgoing("t", TagClass::Status, "{}")]);
        until("an outcome", || rebuilt.delivered() == 1).await;
        assert_eq!(bench.spool.visits(), (1, 0));
    });
}

#[test]
fn a_session_waits_for_its_spool() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let bench = Bench::without_spool(&universe, json!({ "broker": broker.url() })).await;
        bench.until_observed("state", &json!("waiting for the spool")).await;
        let spool = FakeSpool::start(&bench.slot);
        until("the session", || spool.session().is_some()).await;
        tokio::time::timeout(Duration::from_secs(5), bench.until_observed("state", &json!("connected")))
            .await
            .unwrap();
    });
}

#[test]
fn a_message_that_ends_connections_is_refused_and_does_not_block_what_is_behind_it() {
    run(|universe| async move {
        // mosquitto ends the connection of a client of 3.1.1 that sends more.
        let broker = Broker::start("allow_anonymous true\nmax_packet_size 2000\n");
        let bench = Bench::start(&universe, json!({ "broker": broker.url(), "version": "3.1.1" })).await;
        let large = Outgoing { seq: 7, ..outgoing("large", TagClass::Status, vec![b'x'; 3000]) };
        bench.spool.push([outgoing("before", TagClass::Status, "{}"), large]);
        bench.spool.push((8..30).map(|seq| Outgoing { seq, ..outgoing("after", TagClass::Status, "{}") }));
        let outcomes = bench.outcomes(24).await;
        for (topic, outcome) in outcomes {
            match outcome {
                Outcome::Refused(reason) => {
                    assert_eq!(topic, "large");
                    assert!(reason.contains("ends the connection whenever"), "{reason}");
                }
                other => assert_eq!(other, Outcome::Delivered, "{topic}"),
            }
        }
    });
}

#[test]
fn a_broker_that_dies_under_load_again_and_again_loses_nothing() {
    run(|universe| async move {
        let mut broker = Broker::start(OPEN);
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        let classes = CLASSES.iter().cycle().take(30_000).enumerate();
        bench.spool.push(classes.map(|(n, class)| outgoing("t", *class, format!("{n}"))));
        for round in 1..=5 {
            until("some deliveries", || bench.spool.delivered() > round * 500).await;
            broker.kill();
            broker.restart();
        }
        until("all deliveries", || bench.spool.delivered() == 30_000).await;
        assert!(bench.spool.visits().0 > 1);
    });
}
