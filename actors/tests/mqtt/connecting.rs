//! How a connection comes about, and what is said when it doesn't.

use bifrost_actors::testing::{outgoing, until};
use bifrost_model::TagClass;
use serde_json::json;

use crate::{
    bench::{Bench, run},
    broker::{Broker, OPEN, free_port},
    scripted::{Greeting, Scripted},
    websocket::Bridge,
};

#[test]
fn a_closed_port_is_named_and_tried_again() {
    run(|universe| async move {
        let mut broker = Broker::start(OPEN);
        broker.kill();
        let bench = Bench::start(&universe, json!({ "broker": broker.url() })).await;
        let reason = bench.failed("can't be reached").await;
        assert!(reason.contains(&format!("127.0.0.1:{}", broker.port)), "{reason}");
        assert!(reason.contains("Connection refused") && reason.contains("check the address"), "{reason}");
        broker.restart();
        bench.attached().await;
    });
}

#[test]
fn a_wrong_password_is_named_and_a_right_one_lets_in() {
    run(|universe| async move {
        let broker = Broker::with_files(|folder| {
            let file = folder.join("passwords");
            let made = std::process::Command::new("mosquitto_passwd")
                .args(["-b", "-c"])
                .arg(&file)
                .args(["gateway", "right"])
                .status();
            assert!(made.unwrap().success());
            format!("allow_anonymous false\npassword_file {}\n", file.display())
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "wrong\n").unwrap();
        let settings = json!({ "broker": broker.url(), "username": "gateway", "password_file": file });
        let bench = Bench::start(&universe, settings).await;
        let reason = bench.failed("refused the connection").await;
        assert!(
            reason.contains("135 not authorized") && reason.contains("check username and password"),
            "{reason}"
        );
        // The password is read at each connect.
        std::fs::write(&file, "right\n").unwrap();
        bench.attached().await;
    });
}

#[test]
fn a_wrong_password_is_named_on_3_1_1() {
    run(|universe| async move {
        let broker = Broker::start("allow_anonymous false\n");
        let bench = Bench::start(&universe, json!({ "broker": broker.url(), "version": "3.1.1" })).await;
        bench.failed("135 not authorized").await;
    });
}

#[test]
fn a_password_that_can_not_be_read_is_named() {
    run(|universe| async move {
        let settings =
            json!({ "broker": "mqtt://127.0.0.1:1", "username": "a", "password_file": "/no/such/file" });
        let bench = Bench::start(&universe, settings).await;
        bench.failed("/no/such/file can't be read").await;
    });
}

#[test]
fn a_name_without_an_address_is_named() {
    run(|universe| async move {
        let bench = Bench::start(&universe, json!({ "broker": "mqtt://no-such-host.invalid" })).await;
        bench.failed("the host of no-such-host.invalid:1883 can't be found").await;
    });
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Nothing).await;
        let settings = json!({ "broker": server.url(), "connect_timeout": "300ms" });
        let bench = Bench::start(&universe, settings).await;
        bench.failed("didn't answer within 300ms").await;
    });
}

#[test]
fn a_broker_that_names_the_version_gets_3_1_1() {
    falls_back(&[0x20, 3, 0, 0x84, 0]);
}

#[test]
fn a_broker_that_refuses_the_version_as_3_1_1_has_it_gets_3_1_1() {
    falls_back(&[0x20, 2, 0, 1]);
}

#[test]
fn a_broker_that_closes_on_mqtt_5_gets_3_1_1() {
    falls_back(&[]);
}

fn falls_back(answer: &'static [u8]) {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Only311(answer)).await;
        let bench = Bench::start(&universe, json!({ "broker": server.url() })).await;
        bench.attached().await;
        assert_eq!(server.versions(), [5, 4]);
        assert_eq!(bench.observed().await["version"], "3.1.1");
        bench.spool.push([outgoing("t", TagClass::Status, "{}")]);
        bench.outcomes(1).await;
    });
}

#[test]
fn mqtt_5_alone_does_not_fall_back() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Only311(&[0x20, 3, 0, 0x84, 0])).await;
        let bench = Bench::start(&universe, json!({ "broker": server.url(), "version": "5" })).await;
        let reason = bench.failed("132 unsupported protocol version").await;
        assert!(reason.contains("set version"), "{reason}");
        assert!(server.versions().iter().all(|version| *version == 5));
    });
}

#[test]
fn a_server_that_closes_without_a_word_is_named() {
    run(|universe| async move {
        let server = Scripted::start(Greeting::Only311(&[])).await;
        let bench = Bench::start(&universe, json!({ "broker": server.url(), "version": "5" })).await;
        bench.failed("closed the connection without an answer").await;
    });
}

#[test]
fn the_next_server_is_tried_when_one_is_gone() {
    run(|universe| async move {
        let mut first = Broker::start(OPEN);
        let second = Broker::start(OPEN);
        let settings = json!({ "broker": first.url(), "failover": [second.url()] });
        let bench = Bench::start(&universe, settings).await;
        bench.attached().await;
        let at = |port: u16| json!(format!("127.0.0.1:{port}"));
        assert_eq!(bench.observed().await["server"], at(first.port));
        first.kill();
        until("the session to leave", || bench.spool.visits().1 == 1).await;
        bench.attached().await;
        assert_eq!(bench.observed().await["server"], at(second.port));
    });
}

#[test]
fn a_first_server_that_is_not_there_is_passed_over() {
    run(|universe| async move {
        let second = Broker::start(OPEN);
        let nobody = format!("mqtt://127.0.0.1:{}", free_port());
        let bench = Bench::start(&universe, json!({ "broker": nobody, "failover": [second.url()] })).await;
        bench.attached().await;
    });
}

#[test]
fn a_broker_behind_a_websocket_is_a_broker() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let bridge = Bridge::to(broker.port).await;
        let url = format!("ws://localhost:{}/mqtt", bridge.port);
        let bench = Bench::start(&universe, json!({ "broker": url })).await;
        bench.attached().await;
        assert_eq!(bridge.request_line(), "GET /mqtt HTTP/1.1");
        bench.spool.push((0..100).map(|_| outgoing("t", TagClass::Status, "{}")));
        bench.outcomes(100).await;
    });
}
