//! Who is trusted.

use std::pin::Pin;

use bifrost_actors::testing::{outgoing, until};
use bifrost_model::TagClass;
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod, SslVersion};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_openssl::SslStream;

use crate::{
    bench::{Bench, run},
    broker::{Broker, OPEN},
    certificates::{Certificates, Leaf},
    websocket::Bridge,
};

/// A mosquitto with this certificate.
fn broker(certificates: &Certificates, name: &str, more: &str) -> Broker {
    let file = |ending: &str| certificates.path(&format!("{name}.{ending}"));
    let ca = certificates.path("ca.pem");
    Broker::start(&format!("{OPEN}cafile {ca}\ncertfile {}\nkeyfile {}\n{more}", file("pem"), file("key")))
}

fn settings(host: &str, port: u16, tls: &Value) -> Value {
    json!({ "broker": format!("mqtts://{host}:{port}"), "tls": tls })
}

/// The gateway's side, with a client's certificate.
fn mutual(certificates: &Certificates, name: &str) -> Value {
    let file = |ending: &str| certificates.path(&format!("{name}.{ending}"));
    json!({ "ca_file": certificates.path("ca.pem"), "cert_file": file("pem"), "key_file": file("key") })
}

#[test]
fn a_broker_of_the_authority_that_is_trusted_is_let_in() {
    run(|universe| async move {
        let certificates = Certificates::usual();
        let broker = broker(&certificates, "server", "");
        let tls = json!({ "ca_file": certificates.path("ca.pem") });
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
        let (certificates, others) = (Certificates::usual(), Certificates::new());
        let broker = broker(&certificates, "server", "");
        let tls = json!({ "ca_file": others.path("ca.pem") });
        let bench = Bench::start(&universe, settings("localhost", broker.port, &tls)).await;
        let reason = bench.failed(&format!("TLS with localhost:{} failed", broker.port)).await;
        assert!(reason.contains(&others.path("ca.pem")), "{reason}");
        assert!(reason.contains("isn't signed by an authority that is trusted"), "{reason}");
    });
}

#[test]
fn a_broker_of_an_authority_that_the_system_does_not_know_is_not() {
    run(|universe| async move {
        let certificates = Certificates::usual();
        let broker = broker(&certificates, "server", "");
        let bench = Bench::start(&universe, settings("localhost", broker.port, &json!({}))).await;
        bench.failed("the authorities of this system are trusted").await;
    });
}

#[test]
fn a_broker_with_another_name_or_out_of_date_is_not() {
    for (name, reason) in [("elsewhere", "isn't for the name localhost"), ("old", "has expired")] {
        run(|universe| async move {
            let certificates = Certificates::new();
            certificates.issue("elsewhere", &Leaf::named("elsewhere"));
            certificates.issue("old", &Leaf::loopback().valid(-9, -1));
            let broker = broker(&certificates, name, "");
            let tls = json!({ "ca_file": certificates.path("ca.pem") });
            let bench = Bench::start(&universe, settings("localhost", broker.port, &tls)).await;
            bench.failed(reason).await;
        });
    }
}

#[test]
fn a_broker_is_trusted_by_another_name_or_by_its_certificate_alone() {
    for pinned in [false, true] {
        run(|universe| async move {
            let certificates = Certificates::new();
            certificates.issue("elsewhere", &Leaf::named("elsewhere"));
            let broker = broker(&certificates, "elsewhere", "");
            let tls = if pinned {
                json!({ "pinned_sha256": certificates.fingerprint("elsewhere") })
            } else {
                json!({ "ca_file": certificates.path("ca.pem"), "server_name": "elsewhere" })
            };
            let bench = Bench::start(&universe, settings("127.0.0.1", broker.port, &tls)).await;
            bench.attached().await;
        });
    }
}

#[test]
fn a_broker_that_wants_a_certificate_gets_one() {
    run(|universe| async move {
        let certificates = Certificates::usual();
        let broker = broker(&certificates, "server", "require_certificate true\n");
        let tls = mutual(&certificates, "client");
        let bench = Bench::start(&universe, settings("127.0.0.1", broker.port, &tls)).await;
        bench.attached().await;
        bench.spool.push([outgoing("t", TagClass::Status, "{}")]);
        bench.outcomes(1).await;
    });
}

#[test]
fn a_broker_that_gets_none_or_a_foreign_one_tells_what_it_wants() {
    for (foreign, reason) in [
        (false, "wants a certificate of this gateway; name one in cert_file"),
        (true, "refuses the certificate in cert_file: unknown authority"),
    ] {
        run(|universe| async move {
            let (certificates, others) = (Certificates::usual(), Certificates::usual());
            let broker = broker(&certificates, "server", "require_certificate true\n");
            let mut tls = mutual(&others, "client");
            tls["ca_file"] = json!(certificates.path("ca.pem"));
            if !foreign {
                tls = json!({ "ca_file": certificates.path("ca.pem") });
            }
            let bench = Bench::start(&universe, settings("127.0.0.1", broker.port, &tls)).await;
            bench.failed(reason).await;
        });
    }
}

#[test]
fn files_that_cannot_serve_are_named_before_anything_is_sent() {
    for (key, name, reason) in [
        ("key_file", "server.key", "doesn't belong to the certificate"),
        ("key_file", "client.pem", "holds a certificate and no private key"),
        ("cert_file", "old.pem", "expired on"),
        ("ca_file", "client.key", "holds a private key and no certificate"),
    ] {
        run(|universe| async move {
            let certificates = Certificates::usual();
            certificates.issue("old", &Leaf::default().valid(-9, -1));
            let mut tls = mutual(&certificates, "client");
            tls[key] = json!(certificates.path(name));
            // Nobody listens there, and nobody is asked.
            let bench = Bench::start(&universe, settings("127.0.0.1", 1, &tls)).await;
            let told = bench.failed(&format!("tls.{key}: {}", certificates.path(name))).await;
            assert!(told.contains(reason), "{told}");
        });
    }
}

#[test]
fn a_renewed_certificate_is_used_by_the_next_connection_without_a_restart() {
    run(|universe| async move {
        let certificates = Certificates::usual();
        certificates.issue("mine", &Leaf::default().valid(-9, -1));
        let broker = broker(&certificates, "server", "require_certificate true\n");
        let tls = mutual(&certificates, "mine");
        let bench = Bench::start(&universe, settings("127.0.0.1", broker.port, &tls)).await;
        bench.failed("expired on").await;
        certificates.issue("mine", &Leaf::default());
        bench.attached().await;
    });
}

#[test]
fn a_broker_with_nothing_newer_than_tls_1_2_is_refused_without_an_exception() {
    for exception in [false, true] {
        run(|universe| async move {
            let certificates = Certificates::usual();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let (spoken, versions) = std::sync::mpsc::channel();
            actix_rt::spawn(old_broker(listener, acceptor(&certificates, Some(SslVersion::TLS1_2)), spoken));
            let mut tls = json!({ "ca_file": certificates.path("ca.pem") });
            if exception {
                tls["min_version"] = json!("1.2");
            }
            let bench = Bench::start(&universe, settings("localhost", port, &tls)).await;
            if exception {
                until("a handshake", || versions.try_recv() == Ok("TLSv1.2")).await;
            } else {
                bench.failed("no version of TLS in common").await;
            }
        });
    }
}

fn acceptor(certificates: &Certificates, newest: Option<SslVersion>) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate_chain_file(certificates.file("server.pem")).unwrap();
    builder.set_private_key_file(certificates.file("server.key"), SslFiletype::PEM).unwrap();
    builder.set_max_proto_version(newest).unwrap();
    builder.build()
}

/// Makes handshakes, tells their version, and hangs up.
async fn old_broker(
    listener: TcpListener,
    acceptor: SslAcceptor,
    spoken: std::sync::mpsc::Sender<&'static str>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let ssl = Ssl::new(acceptor.context()).unwrap();
        let mut stream = SslStream::new(ssl, stream).unwrap();
        if Pin::new(&mut stream).accept().await.is_ok() {
            let _ = spoken.send(stream.ssl().version_str());
        }
    }
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

#[test]
fn what_a_session_says_first_is_a_handshake_with_the_name_and_the_protocol() {
    run(|universe| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tls://localhost:{}", listener.local_addr().unwrap().port());
        let (heard, hellos) = std::sync::mpsc::channel();
        actix_rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = vec![0; 4096];
                let count = stream.read(&mut hello).await.unwrap();
                hello.truncate(count);
                let _ = heard.send(hello);
            }
        });
        let tls = json!({ "enabled": true, "alpn": ["mqtt"] });
        let bench = Bench::start(&universe, json!({ "broker": url, "tls": tls })).await;
        bench.failed("closed the connection during the handshake").await;
        let hello = hellos.try_recv().unwrap();
        let holds = |text: &[u8]| hello.windows(text.len()).any(|window| window == text);
        assert_eq!(hello[0], 22, "a handshake record");
        assert!(holds(b"localhost") && holds(b"\x04mqtt"));
    });
}

#[test]
fn a_broker_is_reached_by_websocket_inside_tls() {
    run(|universe| async move {
        let certificates = Certificates::usual();
        let broker = Broker::start(OPEN);
        let bridge = Bridge::to(broker.port).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://127.0.0.1:{}/mqtt", listener.local_addr().unwrap().port());
        actix_rt::spawn(unwrap_tls(listener, acceptor(&certificates, None), bridge.port));
        let tls = json!({ "ca_file": certificates.path("ca.pem") });
        let bench = Bench::start(&universe, json!({ "broker": url, "tls": tls })).await;
        bench.attached().await;
        bench.spool.push([outgoing("t", TagClass::Status, "{}")]);
        bench.outcomes(1).await;
        assert_eq!(bridge.request_line(), "GET /mqtt HTTP/1.1");
        assert_eq!(bench.observed().await["tls"], true);
    });
}

/// Passes on in plain what comes in cipher.
async fn unwrap_tls(listener: TcpListener, acceptor: SslAcceptor, port: u16) {
    while let Ok((stream, _)) = listener.accept().await {
        let ssl = Ssl::new(acceptor.context()).unwrap();
        let mut stream = SslStream::new(ssl, stream).unwrap();
        actix_rt::spawn(async move {
            let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            if Pin::new(&mut stream).accept().await.is_ok() {
                let _ = copy_bidirectional(&mut stream, &mut plain).await;
            }
        });
    }
}

#[test]
fn a_broker_that_dies_under_load_inside_tls_loses_nothing() {
    run(|universe| async move {
        let certificates = Certificates::usual();
        let mut broker = broker(&certificates, "server", "");
        let tls = json!({ "ca_file": certificates.path("ca.pem") });
        let bench = Bench::start(&universe, settings("localhost", broker.port, &tls)).await;
        bench.spool.push((0..20_000).map(|n| outgoing("t", TagClass::Critical, format!("{n}"))));
        for round in 1..=3 {
            until("some deliveries", || bench.spool.delivered() > round * 500).await;
            broker.kill();
            broker.restart();
        }
        until("all deliveries", || bench.spool.delivered() == 20_000).await;
        assert!(bench.spool.visits().0 > 1);
    });
}
