//! Certificates that change while the gateway runs: nobody who is connected notices, except who was revoked.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bifrost_security::accounts::{Account, CertificateMatch, ENGINEER, Roles, Store};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream};
use serde_json::{Value, json};
use tungstenite::{Message, client::IntoClientRequest as _};

use crate::{
    authority::{Authority, PASSPHRASE},
    harness::{Gateway, PATIENCE, Plc, Site, ask, identity::TOKEN, until, until_true},
};

/// Whom other gateways' clock tests ask too.
const FAKETIME: &str = "faketime/libfaketime.so.1";

fn device(plc: &Plc) -> Value {
    let tags = json!([{"id": "count", "address": "holding:0"}]);
    json!([{"id": "press", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "50ms", "tags": tags}])
}

fn connect(gateway: &Gateway, authority: &Authority, client: Option<&str>) -> SslStream<TcpStream> {
    let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
    builder.set_ca_file(authority.path("root.pem")).unwrap();
    if let Some(name) = client {
        builder.set_certificate_chain_file(authority.path(&format!("issued/{name}.pem"))).unwrap();
        builder
            .set_private_key_file(authority.path(&format!("issued/{name}.key")), SslFiletype::PEM)
            .unwrap();
    }
    let stream = TcpStream::connect(gateway.url.trim_start_matches("https://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    builder.build().connect("localhost", stream).unwrap()
}

/// The fingerprint of the certificate that a new connection is shown.
fn shown(gateway: &Gateway, authority: &Authority) -> Vec<u8> {
    let stream = connect(gateway, authority, None);
    let certificate = stream.ssl().peer_certificate().unwrap();
    certificate.digest(openssl::hash::MessageDigest::sha256()).unwrap().to_vec()
}

fn feed(stream: SslStream<TcpStream>, token: Option<&str>) -> tungstenite::WebSocket<SslStream<TcpStream>> {
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let (mut feed, _) = tungstenite::client(request, stream).unwrap();
    feed.send(Message::text(r#"{"type":"subscribe","topics":["device_data"]}"#)).unwrap();
    feed
}

#[test]
fn files_that_are_replaced_under_load_are_shown_to_new_clients_and_no_connection_notices() {
    let (authority, plc) = (Authority::new(), Plc::counting());
    authority.issue_server(&[]);
    let gateway = Site::with(&authority.sections(&json!({})), &device(&plc)).start();
    gateway.await_quality("press", "count", "GOOD");
    let before = shown(&gateway, &authority);
    let ended = Arc::new(AtomicBool::new(false));
    let asking = {
        let (ended, url) = (Arc::clone(&ended), format!("{}/api/devices", gateway.url));
        thread::spawn(move || {
            let mut asked = 0;
            while !ended.load(Ordering::Relaxed) {
                let answer = ask("GET", &url, &Value::Null);
                assert_eq!(answer.status, 200);
                asked += 1;
            }
            asked
        })
    };
    let mut feed = feed(connect(&gateway, &authority, None), Some(TOKEN));
    let mut numbers = Vec::new();
    let mut hear = |numbers: &mut Vec<u64>, count: usize| {
        for _ in 0..count {
            let told: Value = serde_json::from_str(feed.read().unwrap().to_text().unwrap()).unwrap();
            numbers.extend(told["tag"]["seq"].as_u64());
        }
    };
    hear(&mut numbers, 10);
    for _ in 0..3 {
        let old = shown(&gateway, &authority);
        authority.pki(&["renew", "gw"]);
        until_true("another certificate", || shown(&gateway, &authority) != old);
        hear(&mut numbers, 10);
    }
    assert_ne!(shown(&gateway, &authority), before);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "nothing was missed: {numbers:?}");
    ended.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > 10);
    // What is no good changes nothing, and says so until it is good again.
    let key = fs::read(authority.path("issued/gw.key")).unwrap();
    fs::write(authority.path("issued/gw.key"), "nothing").unwrap();
    let alarm = |state: &str| {
        let alarms = gateway.json("/api/alarms");
        alarms["alarms"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["alarm_id"] == "certificate_files" && it["state"] == state)
    };
    until_true("the alarm", || alarm("active"));
    fs::write(authority.path("issued/gw.key"), key).unwrap();
    until_true("the alarm is gone", || alarm("cleared"));
    assert!(gateway.stop().success());
}

#[test]
fn a_certificate_is_renewed_when_two_thirds_of_its_life_are_over() {
    let (authority, plc) = (Authority::new(), Plc::counting());
    // Issued twenty hours ago for a day.
    let library = format!("/usr/lib/{}-linux-gnu/{FAKETIME}", std::env::consts::ARCH);
    assert!(fs::exists(&library).unwrap(), "{library} is missing: run `make test`, which installs it");
    let mut issue = Command::new(env!("CARGO_BIN_EXE_bifrost"));
    issue.args(["pki", "--dir", &authority.file(""), "issue", "server", "gw", "--days", "1"]);
    issue.args(["--san", "localhost", "--san", "127.0.0.1"]).env("BIFROST_PKI_PASSPHRASE", PASSPHRASE);
    issue.env("LD_PRELOAD", library).env("FAKETIME", "-20h");
    let issued = issue.output().unwrap();
    assert!(issued.status.success(), "{issued:?}");
    let place = tempfile::tempdir().unwrap();
    for end in ["pem", "key"] {
        fs::copy(authority.path(&format!("issued/gw.{end}")), place.path().join(format!("gw.{end}")))
            .unwrap();
    }
    let mut sections = authority.sections(&json!({}));
    let certificates = &mut sections["security"]["certificates"];
    certificates["cert_file"] = json!(place.path().join("gw.pem"));
    certificates["key_file"] = json!(place.path().join("gw.key"));
    certificates["auto_rotate"] = json!(true);
    certificates["rotation_interval"] = json!("2s");
    certificates["issuer"] = json!({"folder": authority.path("")});
    let gateway = Site::with(&sections, &device(&plc)).start();
    let renewed = until("the renewal on record", || {
        gateway.json("/api/audit?type=certificate_renewed")["records"].get(0).cloned()
    });
    assert_eq!(renewed["result"], "success", "{renewed:#}");
    let row = until("a row that is well", || {
        let listed = gateway.json("/api/security/certificates");
        let rows = listed["certificates"].as_array().unwrap();
        rows.iter().find(|row| row["use"] == "https" && row["state"] == "ok").cloned()
    });
    assert!(row["days_left"].as_i64() > Some(80), "{row:#}");
    assert_eq!(row["fingerprint"], renewed["detail"]["fingerprint"]);
    let digest = shown(&gateway, &authority);
    let fingerprint = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(row["fingerprint"], fingerprint);
    let bearer = format!("authorization: Bearer {TOKEN}");
    let metrics = authority.curl(&format!("{}/metrics", gateway.url), &["-H", &bearer]).stdout;
    assert!(metrics.contains("bifrost_certificate_expiry_timestamp_seconds{use=\"https\"}"), "{metrics}");
    assert_eq!(crate::authority::mode(&place.path().join("gw.key")), "600");
    assert!(gateway.stop().success());
}

/// The status of one request on a connection that stays.
fn status(stream: &mut SslStream<TcpStream>) -> String {
    stream.write_all(b"GET /api/auth/me HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..count]).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_client_that_is_revoked_is_out_within_one_look_at_the_list_also_on_connections_that_stand() {
    let (authority, plc) = (Authority::new(), Plc::counting());
    authority.issue_server(&[]);
    authority.pki(&["issue", "client", "alice"]);
    let tls = json!({"client_auth": "optional", "crl_file": authority.path("crl.pem")});
    let site = Site::with(&authority.sections(&tls), &device(&plc));
    let alice = Account {
        certificates: vec![CertificateMatch::CommonName("alice".to_owned())],
        ..Account::new("alice", ENGINEER)
    };
    fs::create_dir_all(site.data_dir()).unwrap();
    Store::within(&site.data_dir()).change(|book| book.add(alice, &Roles::default())).unwrap();
    let gateway = site.start();
    let mut kept = connect(&gateway, &authority, Some("alice"));
    assert_eq!(status(&mut kept), "200");
    let mut feed = feed(connect(&gateway, &authority, Some("alice")), None);
    assert!(feed.read().unwrap().is_text());
    authority.pki(&["revoke", "alice"]);
    until_true("alice is out", || status(&mut kept) == "401");
    let closed = loop {
        match feed.read() {
            Ok(Message::Close(frame)) => break frame,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(closed.map(|frame| u16::from(frame.code)), Some(4003));
    assert!(gateway.stop().success());
}
