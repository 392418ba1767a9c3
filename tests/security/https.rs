//! HTTPS as clients see it, and why it doesn't start.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;

use crate::{
    authority::{Authority, Served, run},
    harness::{Process, Site},
};

fn authority() -> Authority {
    let authority = Authority::new();
    authority.issue_server(&[]);
    authority
}

/// `openssl s_client` in one go.
fn s_client(served: &Served, authority: &Authority, more: &[&str]) -> String {
    let (address, root) = (served.address(), authority.file("root.pem"));
    let answer = run("openssl", &[&["s_client", "-connect", &address, "-CAfile", &root], more].concat());
    answer.stdout + &answer.stderr
}

#[test]
fn rest_is_served_with_the_configured_certificate_to_whoever_trusts_its_authority() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let answer = authority.curl(&format!("{}/health", served.url), &[]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(serde_json::from_str::<Value>(&answer.stdout).unwrap()["status"], "ok");
    let distrustful = run("curl", &["-sS", &format!("{}/health", served.url)]);
    assert!(distrustful.code == Some(60), "{distrustful:?}");
    let told = s_client(&served, &authority, &["-brief"]);
    assert!(told.contains("Protocol version: TLSv1.3") && told.contains("Verification: OK"), "{told}");
}

#[test]
fn the_host_must_be_an_address_or_a_name_of_the_certificate() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let status = |host: &str| {
        let host = format!("host: {host}");
        let more = ["-o", "/dev/null", "-w", "%{http_code}", "-H", &host];
        authority.curl(&format!("{}/health", served.url), &more).stdout
    };
    assert_eq!((status("localhost"), status("192.0.2.1")), ("200".to_owned(), "200".to_owned()));
    assert_eq!(status("evil.example"), "403");
}

#[test]
fn tls_1_2_is_spoken_only_where_the_configuration_says_so_and_then_told_at_the_start() {
    let authority = authority();
    let strict = authority.serve(&json!({}));
    let refused = authority.curl(&format!("{}/health", strict.url), &["--tls-max", "1.2"]);
    assert!(refused.code == Some(35), "{refused:?}");
    let mut lenient = authority.serve(&json!({"min_version": "1.2"}));
    lenient.await_log("TLS 1.2 is allowed");
    let url = format!("{}/health", lenient.url);
    assert_eq!(authority.curl(&url, &["--tls-max", "1.2"]).code, Some(0));
    assert_eq!(authority.curl(&url, &["--tls-max", "1.1"]).code, Some(35));
    // Neither without forward secrecy nor without authentication of what is encrypted.
    for suite in ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA"] {
        let told = s_client(&lenient, &authority, &["-tls1_2", "-cipher", suite]);
        assert!(told.contains("handshake failure"), "{suite}: {told}");
    }
}

#[test]
fn only_the_configured_suites_are_used() {
    let authority = authority();
    let served = authority.serve(&json!({"cipher_suites": ["TLS_CHACHA20_POLY1305_SHA256"]}));
    assert!(s_client(&served, &authority, &["-brief"]).contains("TLS_CHACHA20_POLY1305_SHA256"));
    let told = s_client(&served, &authority, &["-ciphersuites", "TLS_AES_128_GCM_SHA256"]);
    assert!(told.contains("handshake failure"), "{told}");
}

#[test]
fn a_plain_request_gets_no_answer_and_the_listener_goes_on() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let mut stream = TcpStream::connect(served.address()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Closed, or reset since not all was read.
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1."), "{answer:?}");
    assert_eq!(authority.curl(&format!("{}/health", served.url), &[]).code, Some(0));
}

#[test]
fn a_session_is_resumed() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let session = authority.folder.path().join("session").to_str().unwrap().to_owned();
    // The ticket comes after the handshake: the answer to a request is waited for.
    let script = format!(
        "(printf 'GET /health HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n'; sleep 1) | \
         openssl s_client -connect {} -CAfile {} -ign_eof -sess_out {session}",
        served.address(),
        authority.file("root.pem"),
    );
    let first = run("sh", &["-c", &script]);
    assert!(first.stdout.contains("New, TLSv1.3"), "{first:?}");
    let told = s_client(&served, &authority, &["-sess_in", &session]);
    assert!(told.contains("Reused, TLSv1.3"), "{told}");
}

#[test]
fn the_live_feed_is_served_over_tls_too() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let mut builder = openssl::ssl::SslConnector::builder(openssl::ssl::SslMethod::tls()).unwrap();
    builder.set_ca_file(authority.path("root.pem")).unwrap();
    let stream = TcpStream::connect(served.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let stream = builder.build().connect("localhost", stream).unwrap();
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    let token = format!("Bearer {}", crate::harness::identity::TOKEN);
    request.headers_mut().insert("authorization", token.parse().unwrap());
    let (mut feed, answer) = tungstenite::client(request, stream).unwrap();
    assert_eq!(answer.status().as_u16(), 101);
    feed.send(tungstenite::Message::text(r#"{"type":"subscribe","topics":["nothing"]}"#)).unwrap();
    let told = feed.read().unwrap().into_text().unwrap();
    assert!(told.contains("error"), "{told}");
}

#[test]
fn other_machines_may_reach_it_where_bind_says_so() {
    let authority = authority();
    let mut sections = authority.sections(&json!({}));
    sections["gateway"]["bind"] = json!("0.0.0.0");
    let gateway = Site::with(&sections, &json!([])).start();
    let port = gateway.url.rsplit_once(':').unwrap().1;
    // Another address than the one that is always there.
    let url = format!("https://localhost:{port}/health");
    let answer = authority.curl(&url, &["--resolve", &format!("localhost:{port}:127.0.0.2")]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

/// Whether a client with this certificate gets an answer.
fn comes_in(authority: &Authority, served: &Served, client: Option<&str>) -> bool {
    let files = client.map(|name| {
        (authority.file(&format!("issued/{name}.pem")), authority.file(&format!("issued/{name}.key")))
    });
    let more = files.as_ref().map(|(cert, key)| ["--cert", cert.as_str(), "--key", key.as_str()]);
    let answer =
        authority.curl(&format!("{}/health", served.url), more.as_ref().map_or(&[], |more| &more[..]));
    answer.code == Some(0) && answer.stdout.contains("ok")
}

#[test]
fn client_certificates_are_required_or_optional_and_those_of_others_are_refused() {
    let (authority, stranger) = (authority(), Authority::new());
    authority.pki(&["issue", "client", "alice"]);
    stranger.pki(&["issue", "client", "mallory"]);
    for name in ["mallory.pem", "mallory.key"] {
        fs::copy(stranger.path(&format!("issued/{name}")), authority.path(&format!("issued/{name}")))
            .unwrap();
    }
    let required =
        authority.serve(&json!({"client_auth": "required", "crl_file": authority.path("crl.pem")}));
    let optional = authority.serve(&json!({"client_auth": "optional"}));
    let of = |served: &Served| {
        [None, Some("alice"), Some("mallory"), Some("gw")].map(|client| comes_in(&authority, served, client))
    };
    // The gateway's own certificate is a server's: it opens no door.
    assert_eq!(of(&required), [false, true, false, false]);
    assert_eq!(of(&optional), [true, true, false, false]);
}

#[test]
fn a_revoked_client_is_out_as_soon_as_the_list_is_read_again() {
    let authority = authority();
    authority.pki(&["issue", "client", "alice"]);
    authority.pki(&["issue", "client", "bob"]);
    let mut served =
        authority.serve(&json!({"client_auth": "required", "crl_file": authority.path("crl.pem")}));
    assert!(comes_in(&authority, &served, Some("alice")));
    // A session from before doesn't help either.
    let session = authority.folder.path().join("session").to_str().unwrap().to_owned();
    let (cert, key) = (authority.file("issued/alice.pem"), authority.file("issued/alice.key"));
    let request =
        "printf 'GET /health HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n'; sleep 1";
    let client = format!(
        "({request}) | openssl s_client -connect {} -CAfile {} -cert {cert} -cert_chain {cert} -key {key} -ign_eof",
        served.address(),
        authority.file("root.pem"),
    );
    let before = run("sh", &["-c", &format!("{client} -sess_out {session}")]);
    assert!(before.stdout.contains("HTTP/1.1 200"), "{before:?}");
    let resumed = run("sh", &["-c", &format!("{client} -sess_in {session}")]);
    assert!(resumed.stdout.contains("Reused") && resumed.stdout.contains("HTTP/1.1 200"), "{resumed:?}");
    authority.pki(&["revoke", "alice"]);
    served.process.signal("HUP");
    served.await_log("authorities and revocation lists were read again");
    assert!(!comes_in(&authority, &served, Some("alice")));
    let resumed = run("sh", &["-c", &format!("{client} -sess_in {session}")]);
    assert!(!resumed.stdout.contains("HTTP/1.1 200"), "{resumed:?}");
    assert!(comes_in(&authority, &served, Some("bob")));
}

#[test]
fn a_renewed_certificate_is_shown_after_sighup_and_connections_that_exist_stay() {
    let authority = authority();
    let mut served = authority.serve(&json!({}));
    let before = shown(&served, &authority);
    let mut builder = openssl::ssl::SslConnector::builder(openssl::ssl::SslMethod::tls()).unwrap();
    builder.set_ca_file(authority.path("root.pem")).unwrap();
    let stream = TcpStream::connect(served.address()).unwrap();
    let mut kept = builder.build().connect("localhost", stream).unwrap();
    authority.pki(&["renew", "gw"]);
    served.process.signal("HUP");
    served.await_log("another certificate is shown from now on");
    assert_ne!(shown(&served, &authority), before);
    kept.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = kept.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // What is no good changes nothing.
    fs::write(authority.path("issued/gw.key"), "nothing").unwrap();
    served.process.signal("HUP");
    served.await_log("HTTPS goes on with what it has");
    assert_eq!(authority.curl(&format!("{}/health", served.url), &[]).code, Some(0));
}

/// The certificate that a new connection is shown.
fn shown(served: &Served, authority: &Authority) -> String {
    let told = s_client(served, authority, &[]);
    let begin = told.find("-----BEGIN CERTIFICATE").unwrap_or_else(|| panic!("{told}"));
    let end = told.find("-----END CERTIFICATE").unwrap();
    told[begin..end].to_owned()
}

/// The one line with which the gateway doesn't start.
#[track_caller]
fn refused(site: &Site) -> String {
    let mut process = site.launch();
    let code = process.wait().code();
    let said = process.stderr();
    let line = said.iter().find(|line| line.starts_with("bifrost: ")).cloned().unwrap_or_default();
    assert!(code == Some(1) && !line.is_empty(), "{said:?}");
    line
}

#[test]
fn without_a_certificate_the_three_ways_to_one_are_told() {
    let site = Site::with(&json!({"gateway": {"insecure_http": false}}), &json!([]));
    let line = refused(&site);
    for part in ["bifrost pki", "cert_file", "--development-certificate"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn each_file_that_is_no_good_is_named_with_its_reason_by_run_and_check() {
    let (authority, stranger) = (authority(), Authority::new());
    authority.pki(&["issue", "client", "other"]);
    let file = |name: &str| authority.path(name);
    let write = |name: &str, content: &[u8]| {
        let path = authority.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let (key, cert) = (fs::read(file("issued/gw.key")).unwrap(), file("issued/gw.pem"));
    let der = authority.folder.path().join("gw.der");
    run(
        "openssl",
        &["x509", "-in", cert.to_str().unwrap(), "-outform", "DER", "-out", der.to_str().unwrap()],
    );
    let expired = write("expired.pem", EXPIRED.as_bytes());
    let own = |cert: &std::path::Path, key: &std::path::Path| json!({"cert_file": cert, "key_file": key});
    let good_key = file("issued/gw.key");
    let cut = &key[..key.len() / 2];
    for (certificates, path, part) in [
        (own(&file("none.pem"), &good_key), file("none.pem"), "can't be read: No such file"),
        (own(&good_key, &good_key), good_key.clone(), "holds no certificate in PEM form"),
        (own(&der, &good_key), der.clone(), "in DER form; convert it"),
        (own(&cert, &file("none.key")), file("none.key"), "can't be read: No such file"),
        (own(&cert, &cert), cert.clone(), "holds no private key in PEM form, but a certificate"),
        (own(&cert, &file("root.key")), file("root.key"), "is encrypted"),
        (
            own(&cert, &file("issued/other.key")),
            file("issued/other.key"),
            "doesn't belong to the first certificate",
        ),
        (own(&cert, &write("cut.key", cut)), authority.folder.path().join("cut.key"), "private key"),
        (own(&expired, &write("expired.key", EXPIRED_KEY.as_bytes())), expired.clone(), "expired at 2020-"),
        (
            json!({"ca_file": stranger.path("root.pem"), "cert_file": cert, "key_file": good_key}),
            cert.clone(),
            "isn't signed by an authority in",
        ),
    ] {
        let sections =
            json!({"gateway": {"insecure_http": false}, "security": {"certificates": certificates}});
        let site = Site::with(&sections, &json!([]));
        let line = refused(&site);
        assert!(line.contains(path.to_str().unwrap()) && line.contains(part), "{certificates}: {line}");
        let mut check = Process::bifrost(&["check", "--config", site.config().to_str().unwrap()]);
        assert_eq!(check.wait().code(), Some(1), "{certificates}");
        let told = check.stderr().join("\n");
        assert!(told.contains("security.certificates.") && told.contains(part), "{told}");
    }
}

#[test]
fn lists_and_authorities_of_clients_that_are_no_good_are_named_too() {
    let (authority, stranger) = (authority(), Authority::new());
    let forged = authority.folder.path().join("forged.pem");
    // The same name as ours, another key.
    fs::copy(stranger.path("crl.pem"), &forged).unwrap();
    for (tls, part) in [
        (
            json!({"client_auth": "required", "crl_file": authority.path("root.pem")}),
            "holds no revocation list",
        ),
        (json!({"client_auth": "required", "client_ca_file": authority.path("none.pem")}), "can't be read"),
        (json!({"client_auth": "required", "crl_file": forged}), "isn't signed by that authority"),
    ] {
        let line = refused(&Site::with(&authority.sections(&tls), &json!([])));
        assert!(line.contains(part), "{tls}: {line}");
    }
}

#[test]
fn a_development_certificate_is_made_once_and_only_when_asked_for() {
    let site = Site::with(&json!({"gateway": {"insecure_http": false}}), &json!([]));
    let start = || {
        let config = site.config();
        let mut process =
            Process::bifrost(&["run", "--development-certificate", "--config", config.to_str().unwrap()]);
        let line = process.error_line("`gateway runs`", |line| line.contains(r#""gateway runs""#));
        let url = serde_json::from_str::<Value>(&line).unwrap()["url"].as_str().unwrap().to_owned();
        (process, url)
    };
    let root = site.data_dir().join("development-ca/root.pem");
    let (mut process, url) = start();
    let root = root.to_str().unwrap();
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    for url in [format!("{url}/health"), format!("https://localhost:{port}/health")] {
        assert_eq!(run("curl", &["-sS", "--cacert", root, &url]).code, Some(0), "{url}");
    }
    let mut health = Process::bifrost(&["health", "--url", &url, "--ca", root]);
    assert_eq!((health.wait().code(), health.stdout()), (Some(0), vec!["ready".to_owned()]));
    // The port is chosen by the system here: the environment says which it is.
    let environment = [("BIFROST_GATEWAY__PORT", port.as_str())];
    let mut health =
        Process::bifrost_in(&environment, &["health", "--config", site.config().to_str().unwrap()]);
    assert_eq!((health.wait().code(), health.stdout()), (Some(0), vec!["ready".to_owned()]));
    let mut distrustful = Process::bifrost(&["health", "--url", &url]);
    assert_eq!(distrustful.wait().code(), Some(1));
    // What was installed holds when the configuration is read again.
    process.signal("HUP");
    let reloaded = process.error_line("the reload", |line| line.contains("configuration reloaded"));
    assert_eq!(serde_json::from_str::<Value>(&reloaded).unwrap()["restart_needed"], "");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    let before = fs::read(root).unwrap();
    let (_again, url) = start();
    assert_eq!(fs::read(root).unwrap(), before);
    assert_eq!(run("curl", &["-sS", "--cacert", root, &format!("{url}/health")]).code, Some(0));
    let both = Site::new(&json!([]));
    let mut wrong =
        Process::bifrost(&["run", "--development-certificate", "--config", both.config().to_str().unwrap()]);
    assert_eq!(wrong.wait().code(), Some(1));
}

/// Of January 2020; its key protects nothing.
const EXPIRED: &str = "\
-----BEGIN CERTIFICATE-----
MIIBDzCBtgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwHhcN
MjAwMTAxMDAwMDAwWhcNMjAwMjAxMDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS8OmHAGFfni7GdIRxWyuWTztcH
839wzeuUHkrq6pa0/7R36HWrQ0oQ2LVLa0wzqKNWts5/lT/EZRxg7+DNJ5Y5MAoG
CCqGSM49BAMCA0gAMEUCIFXRX9wxZN33cdWAqfXrumT5TnOwV8+A+E+GGGD1wI1C
AiEAoROYiK3TEb7X8ErEocgDStzAE5mFGfarp16SNob7Ork=
-----END CERTIFICATE-----
";

const EXPIRED_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJsRBNjRAw3Py3BJ8
5jdwjmtuIec1khDYqTZTRPl21zihRANCAAS8OmHAGFfni7GdIRxWyuWTztcH839w
zeuUHkrq6pa0/7R36HWrQ0oQ2LVLa0wzqKNWts5/lT/EZRxg7+DNJ5Y5
-----END PRIVATE KEY-----
";
