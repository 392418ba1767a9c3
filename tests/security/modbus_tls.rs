//! Modbus/TCP Security from end to end: the gateway as its client, the simulator and pymodbus as its server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use bifrost_simulator::{Access, Endpoint, Fault, PlcSettings, Right, TlsSettings};
use serde_json::{Value, json};

use crate::{
    certificates::{Certificates, Leaf},
    harness::{Gateway, Plc, Process, Pymodbus, Site, counting, register, until, until_true},
};

/// A device with two tags of which one may be written.
fn device(id: &str, address: &str, tls: &Value) -> Value {
    json!({
        "id": id, "protocol": "modbus-tls", "address": address, "poll_interval": "100ms", "timeout": "1s",
        "connect_timeout": "1s", "retry_max": "300ms", "tls": tls,
        "tags": [{"id": "t", "address": "holding:7"}, {"id": "w", "address": "holding:9", "writable": true}],
    })
}

fn mutual(certificates: &Certificates, name: &str) -> Value {
    let file = |ending: &str| certificates.path(&format!("{name}.{ending}"));
    json!({ "ca_file": certificates.path("ca.pem"), "cert_file": file("pem"), "key_file": file("key") })
}

fn plc(certificates: &Certificates, server: &str, rights: Option<Vec<Right>>) -> Plc {
    let file = |ending: &str| certificates.file(&format!("{server}.{ending}"));
    let tls =
        TlsSettings { rights, ..TlsSettings::new(file("pem"), file("key"), certificates.file("ca.pem")) };
    let endpoint = Endpoint::Tls((Ipv4Addr::LOCALHOST, 0).into());
    Plc::listen(&endpoint, PlcSettings { tls: Some(tls), ..counting() })
}

fn start(devices: &Value) -> Gateway {
    let quick = json!({"supervision": {"plc_link": {"max_delay": "300ms", "parked_retry": "300ms"}}});
    Site::with(&quick, devices).start()
}

#[test]
fn a_device_is_read_and_written_over_tls() {
    let certificates = Certificates::usual();
    let plc = plc(&certificates, "server", None);
    let gateway = start(&json!([device("plc", &plc.address(), &mutual(&certificates, "client"))]));
    assert_eq!(gateway.good_tags("plc")["t"]["value"], json!(1007));
    let written = gateway.write("plc", "w", &json!(77));
    assert_eq!((&written["status"], &written["read_back"]), (&json!("ok"), &json!(77)), "{written}");
    assert_eq!(plc.memory().holding(9), Some(77));
    assert_eq!(gateway.device("plc")["protocol"], "modbus-tls");
    // Over idle times too: what TLS says for itself is no reason to connect again.
    let opened = plc.stats().connections_total;
    until_true("more scans", || gateway.stats("plc")["scans_total"].as_u64() > Some(15));
    assert_eq!(plc.stats().connections_total, opened);
}

#[test]
fn a_foreign_server_is_read_and_written_over_tls() {
    let certificates = Certificates::usual();
    let folder = certificates.path("");
    let server = Pymodbus::start(&["--tls", &folder], |port| format!("127.0.0.1:{port}"));
    let gateway = start(&json!([device("plc", &server.address, &mutual(&certificates, "client"))]));
    assert_eq!(gateway.good_tags("plc")["t"]["value"], json!(register(7)));
    assert_eq!(gateway.write("plc", "w", &json!(77))["read_back"], json!(77));
}

#[test]
fn the_simulator_is_such_a_server_on_the_command_line_too() {
    let certificates = Certificates::usual();
    certificates.issue("viewer", &Leaf::default().role("viewer"));
    certificates.put("rights.yaml", "- {role: viewer, access: read}\n");
    let file = |name: &str| certificates.path(name);
    let mut simulator = Process::bifrost(&[
        "simulate",
        "--port",
        "0",
        "--tls-cert",
        &file("server.pem"),
        "--tls-key",
        &file("server.key"),
        "--tls-ca",
        &file("ca.pem"),
        "--tls-rights",
        &file("rights.yaml"),
    ]);
    let line = simulator.line("`listens on tls://…`", |line| line.contains("listens on tls://"));
    let address = line.rsplit("tls://").next().unwrap();
    let gateway = start(&json!([device("plc", address, &mutual(&certificates, "viewer"))]));
    gateway.good_tags("plc");
    assert_eq!(gateway.write("plc", "w", &json!(7))["status"], "failed");
}

#[test]
fn a_device_is_known_by_its_certificate_alone_and_by_no_other() {
    let certificates = Certificates::usual();
    certificates.issue("plc", &Leaf::named("plc-1.example"));
    let (pinned, other) = (plc(&certificates, "plc", None), plc(&certificates, "server", None));
    let mut tls = mutual(&certificates, "client");
    tls.as_object_mut().unwrap().remove("ca_file");
    tls["pinned_sha256"] = json!(certificates.fingerprint("plc"));
    let gateway =
        start(&json!([device("pinned", &pinned.address(), &tls), device("other", &other.address(), &tls)]));
    gateway.good_tags("pinned");
    let told = gateway.await_state("other", "offline")["last_error"].clone();
    let shown = certificates.fingerprint("server");
    assert!(told.as_str().unwrap().contains(&shown), "{told}");
}

#[test]
fn a_device_that_wants_a_certificate_of_another_authority_says_so() {
    let (certificates, others) = (Certificates::usual(), Certificates::usual());
    let plc = plc(&certificates, "server", None);
    let mut tls = mutual(&others, "client");
    tls["ca_file"] = json!(certificates.path("ca.pem"));
    let gateway = start(&json!([device("plc", &plc.address(), &tls)]));
    until("the reason", || {
        let told = gateway.device("plc")["last_error"].to_string();
        told.contains("refuses the certificate in cert_file: unknown authority").then_some(())
    });
}

#[test]
fn what_the_role_does_not_allow_is_told_as_such() {
    let certificates = Certificates::usual();
    certificates.issue("viewer", &Leaf::default().role("viewer"));
    certificates.issue("two", &Leaf::default().role("viewer").role("viewer"));
    let viewer = Right { role: "viewer".to_owned(), access: Access::Read, functions: None, ranges: None };
    let plc = plc(&certificates, "server", Some(vec![viewer.clone()]));
    let second = self::plc(&certificates, "server", Some(vec![viewer]));
    let gateway = start(&json!([
        device("viewer", &plc.address(), &mutual(&certificates, "viewer")),
        device("two", &second.address(), &mutual(&certificates, "two")),
    ]));
    gateway.good_tags("viewer");
    let refused = gateway.write("viewer", "w", &json!(77));
    assert_eq!(refused["status"], "failed", "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("role in this gateway's certificate"), "{refused}");
    assert_eq!(plc.memory().holding(9), Some(1009));
    let tag = gateway.await_quality("two", "t", "BAD");
    until("the reason", || {
        let reason = gateway.tag("two", "t")["quality_reason"].to_string();
        reason.contains("role in this gateway's certificate").then_some(())
    });
    assert_eq!(tag["quality"], "BAD");
}

#[test]
fn a_renewed_certificate_is_used_by_the_next_handshake() {
    let certificates = Certificates::usual();
    certificates.issue("mine", &Leaf::default().valid(-9, -1));
    let plc = plc(&certificates, "server", None);
    let gateway = start(&json!([device("plc", &plc.address(), &mutual(&certificates, "mine"))]));
    let told = gateway.await_state("plc", "offline")["last_error"].to_string();
    assert!(told.contains("tls.cert_file: ") && told.contains("expired on"), "{told}");
    certificates.issue("mine", &Leaf::default());
    gateway.good_tags("plc");
}

/// What a listener does with each connection.
type Habit = fn(TcpStream);

/// A server that is none; it ends with the process.
fn odd_server(habit: Habit) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || habit(stream))));
    });
    address
}

#[test]
fn servers_that_never_finish_a_handshake_hold_up_no_neighbour() {
    let certificates = Certificates::usual();
    let tls = mutual(&certificates, "client");
    let silent = odd_server(|stream| {
        thread::sleep(Duration::from_mins(10));
        drop(stream);
    });
    let closing = odd_server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[22, 3, 3, 0, 100, 2]);
    });
    let plain = odd_server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 7]);
        thread::sleep(Duration::from_mins(10));
    });
    let plc = plc(&certificates, "server", None);
    let gateway = start(&json!([
        device("silent", &silent, &tls),
        device("closing", &closing, &tls),
        device("plain", &plain, &tls),
        device("good", &plc.address(), &tls),
    ]));
    gateway.good_tags("good");
    for (id, reason) in [
        ("silent", "doesn't finish the TLS handshake within 1s"),
        ("closing", "closed the connection during the handshake"),
        ("plain", "doesn't speak TLS"),
    ] {
        until(reason, || gateway.device(id)["last_error"].to_string().contains(reason).then_some(()));
    }
    let before = gateway.stats("good");
    until_true("a second of scans", || {
        gateway.stats("good")["scans_total"].as_u64() > before["scans_total"].as_u64().map(|scans| scans + 10)
    });
    let after = gateway.stats("good");
    assert_eq!(after["scans_failed"], before["scans_failed"], "{after}");
    assert_eq!(after["overruns"], before["overruns"], "{after}");
}

#[test]
fn a_device_that_misbehaves_inside_tls_is_noticed_and_recovers_and_its_neighbour_is_spared() {
    let certificates = Certificates::usual();
    let (bad, good) = (plc(&certificates, "server", None), plc(&certificates, "server", None));
    let mut devices = json!([
        device("bad", &bad.address(), &mutual(&certificates, "client")),
        device("good", &good.address(), &mutual(&certificates, "client"))
    ]);
    devices[0]["timeout"] = json!("300ms");
    let gateway = start(&devices);
    gateway.good_tags("bad");
    gateway.good_tags("good");
    for fault in [Fault::Silence, Fault::Garbage, Fault::HalfOpen, Fault::Refuse] {
        bad.set_fault(Some(fault.clone()));
        let offline = gateway.await_state("bad", "offline");
        assert!(offline["last_error"].is_string(), "{fault:?}: {offline}");
        bad.set_fault(None);
        gateway.await_state("bad", "online");
        assert_eq!(gateway.good_tags("bad")["t"]["value"], json!(1007), "{fault:?}");
    }
    let spared = gateway.stats("good");
    assert_eq!((&spared["requests_failed"], &spared["scans_failed"]), (&json!(0), &json!(0)), "{spared}");
}

#[test]
fn a_connection_that_the_device_closes_while_idle_is_opened_anew_without_a_failed_scan() {
    let certificates = Certificates::usual();
    let file = |name: &str| certificates.file(name);
    let tls = TlsSettings::new(file("server.pem"), file("server.key"), file("ca.pem"));
    let idle_timeout = Some(Duration::from_millis(100));
    let settings = PlcSettings { tls: Some(tls), idle_timeout, ..counting() };
    let plc = Plc::listen(&Endpoint::Tls((Ipv4Addr::LOCALHOST, 0).into()), settings);
    let mut slow = device("plc", &plc.address(), &mutual(&certificates, "client"));
    slow["poll_interval"] = json!("400ms");
    let gateway = start(&json!([slow]));
    gateway.good_tags("plc");
    until_true("five scans", || gateway.stats("plc")["scans_total"].as_u64() > Some(5));
    assert_eq!(gateway.stats("plc")["requests_failed"], 0);
    assert!(plc.stats().connections_total > 3);
}

#[test]
fn what_is_plain_is_refused_where_encryption_is_asked_for_but_for_exceptions_by_name() {
    let plain = |id: &str, more: Value| {
        let mut device = json!({"id": id, "protocol": "modbus-tcp", "address": "127.0.0.1:5", "tags": []});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        device
    };
    let asked = json!({"industrial_security": {"protocol_encryption": {"modbus": true}}});
    let site =
        Site::with(&asked, &json!([plain("a", json!({})), plain("b", json!({"plaintext": "allowed"}))]));
    let told = check(&site);
    assert!(told.contains("devices[0].protocol: modbus-tcp isn't encrypted"), "{told}");
    assert!(!told.contains("devices[1]"), "{told}");

    site.configure(&asked, &json!([plain("b", json!({"plaintext": "allowed"}))]));
    let gateway = site.start();
    let refused = gateway.post("/api/devices", &plain("c", json!({})));
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body.to_string().contains("plaintext: allowed"), "{}", refused.body);
    assert_eq!(gateway.post("/api/devices", &plain("c", json!({"plaintext": "allowed"}))).status, 201);

    let certs = json!({"industrial_security": {"require_device_certs": true}});
    let site = Site::with(&certs, &json!([plain("a", json!({"plaintext": "allowed"}))]));
    assert!(check(&site).contains("devices[0].protocol: modbus-tcp shows no certificate"));
}

#[test]
fn check_names_files_of_devices_and_brokers_that_cannot_serve() {
    let certificates = Certificates::usual();
    let mut tls = mutual(&certificates, "client");
    tls["key_file"] = json!(certificates.path("server.key"));
    let mut broker = tls.clone();
    broker["ca_file"] = json!(certificates.path("none.pem"));
    let messaging = json!({"messaging": {
        "mqtt": {"broker": "tls://localhost:1", "tls": broker},
        "nats": {"servers": ["tls://localhost:1"], "tls": tls},
    }});
    let site = Site::with(&messaging, &json!([device("plc", "localhost", &tls)]));
    let told = check(&site);
    for line in ["messaging.mqtt.tls.ca_file: ", "messaging.nats.tls.key_file: ", "devices[0].tls.key_file: "]
    {
        assert!(told.contains(line), "{line} isn't in {told}");
    }
    assert!(told.contains("doesn't belong to the certificate in"), "{told}");
}

/// What `check` says of a configuration that isn't right.
fn check(site: &Site) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifrost"));
    let output = command.arg("check").arg("--config").arg(site.config()).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}
