//! The gateway's status at the broker: birth, will, and a clean end.

use bifrost_actors::testing::{STATUS_TOPIC, outgoing};
use bifrost_model::TagClass;
use serde_json::json;

use crate::{
    bench::{Bench, run},
    broker::{Broker, OPEN},
    observer::Observer,
    scripted::Wire,
};

fn status(text: &str) -> (String, String) {
    (STATUS_TOPIC.to_owned(), format!(r#"{{"status":"{text}"}}"#))
}

#[test]
fn a_clean_end_says_so_itself_and_delivers_what_is_out() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &[STATUS_TOPIC, "t"]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        assert_eq!(observer.texts(1).await, [status("online")]);
        bench.attached().await;
        bench.spool.push((0..50).map(|n| outgoing("t", TagClass::Critical, n.to_string())));
        observer.texts(1).await;
        bench.stop().await;
        let later = Observer::named(&broker.url(), "later", &[STATUS_TOPIC]).await;
        assert_eq!(later.texts(1).await, [status("offline")], "it is retained");
        assert_eq!(bench.spool.visits(), (1, 1));
        // Nothing that the broker had was left unsettled: it isn't sent twice.
        let delivered = usize::try_from(bench.spool.delivered()).unwrap();
        let mut texts = observer.texts(delivered).await;
        texts.retain(|(topic, _)| topic == "t");
        assert_eq!(texts.len(), delivered - 1, "and one that was taken before");
    });
}

#[test]
fn a_broken_wire_makes_the_broker_say_it() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &[STATUS_TOPIC]).await;
        let wire = Wire::to(broker.port).await;
        let url = format!("mqtt://127.0.0.1:{}", wire.port);
        let bench = Bench::start(&universe, json!({ "broker": url })).await;
        bench.attached().await;
        wire.cut();
        assert_eq!(observer.texts(2).await, [status("online"), status("offline")]);
    });
}

#[test]
fn a_broken_wire_makes_a_broker_of_3_1_1_say_it() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &[STATUS_TOPIC]).await;
        let wire = Wire::to(broker.port).await;
        let url = format!("mqtt://127.0.0.1:{}", wire.port);
        let bench = Bench::start(&universe, json!({ "broker": url, "version": "3.1.1" })).await;
        bench.attached().await;
        wire.cut();
        assert_eq!(observer.texts(2).await, [status("online"), status("offline")]);
    });
}

#[test]
fn a_restart_says_that_it_goes_and_that_it_is_back() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let observer = Observer::start(&broker.url(), &[STATUS_TOPIC]).await;
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        bench.restart().await;
        bench.attached().await;
        assert_eq!(observer.texts(3).await, [status("online"), status("offline"), status("online")]);
    });
}

#[test]
fn a_status_that_is_not_allowed_is_told() {
    run(|universe| async move {
        let broker = Broker::with_files(|folder| {
            let acl = folder.join("acl");
            std::fs::write(&acl, "topic readwrite t\n").unwrap();
            format!("{OPEN}acl_file {}\n", acl.display())
        });
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        let said = bench.event("mqtt_birth_refused").await;
        assert!(said.contains("135 not authorized"), "{said}");
        assert_eq!(bench.observed().await["birth_refused"], "135 not authorized");
    });
}
