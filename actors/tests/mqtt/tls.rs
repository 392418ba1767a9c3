//! Who is trusted.

use std::{path::Path, process::Command};

use bifrost_actors::testing::outgoing;
use bifrost_model::TagClass;
use serde_json::{Value, json};

use crate::{
    bench::{Bench, run},
    broker::{Broker, OPEN},
};

/// Two authorities, and a certificate for the broker and the gateway by the first.
fn certificates(folder: &Path) {
    let script = r#"
        set -e
        for ca in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$ca" \
                -keyout $ca.key -out $ca.pem
        done
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
        for who in broker gateway; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$who" \
                -keyout $who.key -out $who.csr
            openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile names -out $who.pem
        done
        printf 'subjectAltName=DNS:elsewhere' > names
        openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile names -out elsewhere.pem
    "#;
    let made = Command::new("sh").arg("-c").arg(script).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn broker(folder: &Path, certificate: &str, more: &str) -> Broker {
    let file = |name: &str| folder.join(name).display().to_string();
    Broker::start(&format!(
        "{OPEN}cafile {}\ncertfile {}\nkeyfile {}\n{more}",
        file("ca.pem"),
        file(certificate),
        file("broker.key")
    ))
}

fn settings(host: &str, port: u16, tls: &Value) -> Value {
    json!({ "broker": format!("mqtts://{host}:{port}"), "tls": tls })
}

#[test]
fn a_broker_of_the_authority_that_is_trusted_is_let_in() {
    run(|universe| async move {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let broker = broker(folder.path(), "broker.pem", "");
        let tls = json!({ "ca_file": folder.path().join("ca.pem") });
        let bench = Bench::start(&universe, settings("localhost", broker.port, &tls)).await;
        bench.attached().await;
        bench.spool.push([outgoing("t", TagClass::Status, "{}")]);
        bench.outcomes(1).await;
        assert_eq!(bench.observed().await["tls"], true);
    });
}

#[test]
fn a_broker_of_another_authority_is_not() {
    run(|universe| async move {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let broker = broker(folder.path(), "broker.pem", "");
        let tls = json!({ "ca_file": folder.path().join("other.pem") });
        let bench = Bench::start(&universe, settings("localhost", broker.port, &tls)).await;
        let reason = bench.failed(&format!("TLS with localhost:{} failed", broker.port)).await;
        assert!(reason.contains("other.pem"), "{reason}");
    });
}

#[test]
fn a_broker_of_an_authority_that_the_system_does_not_know_is_not() {
    run(|universe| async move {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let broker = broker(folder.path(), "broker.pem", "");
        let bench = Bench::start(&universe, settings("localhost", broker.port, &json!({}))).await;
        bench.failed("an authority of this system").await;
    });
}

#[test]
fn a_broker_that_shows_another_name_is_not() {
    run(|universe| async move {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let broker = broker(folder.path(), "elsewhere.pem", "");
        let tls = json!({ "ca_file": folder.path().join("ca.pem") });
        let bench = Bench::start(&universe, settings("localhost", broker.port, &tls)).await;
        bench.failed("name the host as it is written in the URL").await;
    });
}

#[test]
fn a_broker_that_wants_a_certificate_gets_one_or_closes() {
    run(|universe| async move {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let broker = broker(folder.path(), "broker.pem", "require_certificate true\n");
        let file = |name: &str| folder.path().join(name);
        let tls = json!({ "ca_file": file("ca.pem"), "cert_file": file("gateway.pem"), "key_file": file("gateway.key") });
        let bench = Bench::start(&universe, settings("127.0.0.1", broker.port, &tls)).await;
        bench.attached().await;
    });
    run(|universe| async move {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let broker = broker(folder.path(), "broker.pem", "require_certificate true\n");
        let tls = json!({ "ca_file": folder.path().join("ca.pem") });
        let bench = Bench::start(&universe, settings("127.0.0.1", broker.port, &tls)).await;
        bench.failed("want a certificate of this gateway (tls.cert_file)").await;
    });
}

#[test]
fn what_is_to_be_encrypted_is_never_sent_in_plain() {
    run(|universe| async move {
        let broker = Broker::start(OPEN);
        let url = format!("mqtt://localhost:{}", broker.port);
        let bench = Bench::start(&universe, json!({ "broker": url, "tls": { "enabled": true } })).await;
        bench.failed("TLS with localhost").await;
        assert_eq!(bench.spool.visits(), (0, 0));
    });
}
