//! How the end of a connection is noticed.

use bifrost_actors::{
    broker::Outcome,
    testing::{outgoing, until},
};
use bifrost_model::TagClass;
use serde_json::json;

use crate::{
    bench::{Bench, run},
    broker::{Broker, OPEN},
    observer::Observer,
    scripted::{Greeting, Scripted},
};

#[test]
fn a_broker_that_is_killed_ends_the_session_with_the_reason() {
    run(|universe| async move {
        let mut broker = Broker::start(OPEN);
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        broker.kill();
        until("the session to leave", || bench.spool.visits().1 == 1).await;
        let port = broker.port;
        bench.failed(&format!("127.0.0.1:{port}")).await;
        let told = format!("{:?}", universe.notices());
        assert!(told.contains(&format!("connection to 127.0.0.1:{port} lost")), "{told}");
    });
}

#[test]
fn a_half_open_connection_ends_when_nothing_is_acknowledged() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Accept).await;
        let settings = json!({ "broker": server.url(), "ack_timeout": "500ms" });
        let bench = Bench::start(&universe, settings).await;
        bench.attached().await;
        server.fall_silent();
        bench.spool.push([outgoing("t", TagClass::Status, "{}")]);
        let reason = bench.failed("has acknowledged nothing for 500ms").await;
        assert!(reason.contains(&format!("127.0.0.1:{}", server.port)), "{reason}");
        assert_eq!(bench.spool.delivered(), 0);
    });
}

#[test]
fn a_half_open_connection_ends_when_no_ping_is_answered() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Accept).await;
        let bench = Bench::start(&universe, json!({ "broker": server.url(), "keep_alive": "1s" })).await;
        bench.attached().await;
        server.fall_silent();
        until("the session to leave", || bench.spool.visits().1 == 1).await;
    });
}

#[test]
fn a_broker_that_never_acknowledges_is_no_connection() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Accept).await;
        server.fall_silent();
        let settings = json!({ "broker": server.url(), "connect_timeout": "500ms" });
        let bench = Bench::start(&universe, settings).await;
        bench.failed("accepted the connection and then acknowledged nothing").await;
        assert_eq!(bench.spool.visits(), (0, 0));
    });
}

#[test]
fn a_broker_that_ends_the_connection_says_why() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Accept).await;
        let bench = Bench::start(&universe, json!({ "broker": server.url() })).await;
        bench.attached().await;
        server.dismiss();
        let reason = bench.failed("the broker ended it with 139 server shutting down").await;
        assert!(reason.contains(&format!("connection to 127.0.0.1:{} lost", server.port)), "{reason}");
    });
}

#[test]
fn what_is_handed_over_while_the_broker_closes_is_not_delivered() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Accept).await;
        let bench = Bench::start(&universe, json!({ "broker": server.url() })).await;
        bench.attached().await;
        bench.spool.push([outgoing("before", TagClass::Telemetry, "{}")]);
        bench.outcomes(1).await;
        server.hang_up();
        bench.until_observed("state", &json!("closed by the broker")).await;
        bench.spool.push((0..100).map(|_| outgoing("after", TagClass::Telemetry, "{}")));
        until("the session to leave", || bench.spool.visits().1 == 1).await;
        let settled: Vec<_> =
            bench.spool.outcomes().iter().map(|(message, _)| message.topic.clone()).collect();
        assert!(settled.iter().all(|topic| &**topic == "before"), "{settled:?}");
    });
}

#[test]
fn another_client_of_the_same_name_ends_the_session() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        bench.attached().await;
        let _namesake = Observer::named(&broker.url(), "gw", &[]).await;
        bench.failed("lost: the broker closed it").await;
    });
}

#[test]
fn what_is_settled_before_a_loss_stays_settled() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Accept).await;
        let settings = json!({ "broker": server.url(), "ack_timeout": "500ms" });
        let bench = Bench::start(&universe, settings).await;
        bench.spool.push([outgoing("first", TagClass::Status, "{}")]);
        bench.outcomes(1).await;
        server.fall_silent();
        bench.spool.push([outgoing("second", TagClass::Status, "{}")]);
        until("the session to leave", || bench.spool.visits().1 == 1).await;
        assert_eq!(bench.outcomes(1).await, [("first".to_owned(), Outcome::Delivered)]);
    });
}
