//! Encrypted connections, with certificates that the openssl command makes.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{
    Gateway, in_universe,
    pki::{Certificates as Pki, Leaf},
    scans,
    server::{Server, Version, free_port},
    settings, until,
};

/// A folder with an authority, a server's certificate and a client's.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::write(at.join("server.ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        std::fs::write(at.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let ca = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
        openssl(at, &[&["req"], key.as_slice(), &ca].concat());
        for name in ["server", "client"] {
            let (subject, private, request) =
                (format!("/CN={name}"), format!("{name}.key"), format!("{name}.csr"));
            let request_of = ["-subj", &subject, "-keyout", &private, "-out", &request];
            openssl(at, &[&["req"], key.as_slice(), &request_of].concat());
            let (extensions, certificate) = (format!("{name}.ext"), format!("{name}.pem"));
            openssl(
                at,
                &[
                    "x509",
                    "-req",
                    "-in",
                    &request,
                    "-CA",
                    "ca.pem",
                    "-CAkey",
                    "ca.key",
                    "-CAcreateserial",
                    "-days",
                    "2",
                    "-extfile",
                    &extensions,
                    "-out",
                    &certificate,
                ],
            );
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn server_config(&self, more: &str) -> String {
        let (cert, key, ca) = (self.path("server.pem"), self.path("server.key"), self.path("ca.pem"));
        format!(r#"tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{ca}", {more} }}"#)
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn tls_url(server: &Server) -> String {
    server.url().replace("nats://", "tls://")
}

async fn delivers(universe: &super::Universe, config: &Value) {
    let gateway = Gateway::start(universe, settings(config)).await;
    gateway.until_up().await;
    gateway.spool.send(scans(1, 100));
    gateway.until_settled(100).await;
}

#[test]
fn both_ends_know_each_other_by_their_certificates() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let certificates = Certificates::new();
            let server = Server::start(version, &certificates.server_config("verify: true")).await;
            let tls = json!({
                "ca_file": certificates.path("ca.pem"), "cert_file": certificates.path("client.pem"),
                "key_file": certificates.path("client.key"),
            });
            delivers(&universe, &json!({"servers": [tls_url(&server)], "tls": tls})).await;
        });
    }
}

#[test]
fn tls_enabled_is_as_good_as_a_url_that_says_so() {
    in_universe(async |universe| {
        let certificates = Certificates::new();
        let server = Server::start(Version::Debian, &certificates.server_config("")).await;
        let tls = json!({"enabled": true, "ca_file": certificates.path("ca.pem")});
        delivers(&universe, &json!({"servers": [server.url()], "tls": tls})).await;
    });
}

#[test]
fn a_server_that_asks_for_tls_gets_it() {
    in_universe(async |universe| {
        let certificates = Certificates::new();
        let server = Server::start(Version::New, &certificates.server_config("")).await;
        let tls = json!({"ca_file": certificates.path("ca.pem")});
        delivers(&universe, &json!({"servers": [server.url()], "tls": tls})).await;
    });
    in_universe(async |universe| {
        let certificates = Certificates::new();
        let server = Server::start(Version::New, &certificates.server_config("")).await;
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
        gateway.until_error(&["TLS with nats://127.0.0.1", "tls.ca_file"]).await;
    });
}

#[test]
fn a_client_without_a_certificate_learns_what_is_missing() {
    in_universe(async |universe| {
        let certificates = Certificates::new();
        let server = Server::start(Version::New, &certificates.server_config("verify: true")).await;
        let config = json!({"servers": [tls_url(&server)], "tls": {"ca_file": certificates.path("ca.pem")}});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_error(&["TLS with tls://127.0.0.1", "failed", "tls.cert_file"]).await;
    });
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused() {
    in_universe(async |universe| {
        let (certificates, others) = (Certificates::new(), Certificates::new());
        let server = Server::start(Version::Debian, &certificates.server_config("")).await;
        let config = json!({"servers": [tls_url(&server)], "tls": {"ca_file": others.path("ca.pem")}});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_error(&["TLS with tls://127.0.0.1", "certificate", "tls.ca_file"]).await;
    });
}

#[test]
fn a_tls_address_never_falls_back_to_a_plain_connection() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let certificates = Certificates::new();
            let server = Server::start(version, "").await;
            let config =
                json!({"servers": [tls_url(&server)], "tls": {"ca_file": certificates.path("ca.pem")}});
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_error(&["TLS with tls://127.0.0.1", "failed"]).await;
        });
    }
}

/// nats-server offers TLS 1.2 too, unless it is told otherwise; a server that has nothing newer is refused.
#[test]
fn nothing_older_than_tls_1_3_is_spoken() {
    in_universe(async |universe| {
        let certificates = Certificates::new();
        let (_server, url) = OldServer::start(&certificates).await;
        let config = json!({"servers": [url], "tls": {"ca_file": certificates.path("ca.pem")}});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_error(&["TLS with tls://127.0.0.1", "ProtocolVersion", "TLS 1.3"]).await;
    });
}

/// Says what a NATS server says first, and then speaks TLS 1.2 alone.
struct OldServer(Child);

impl OldServer {
    async fn start(certificates: &Certificates) -> (Self, String) {
        let port = free_port();
        let openssl = Command::new("openssl")
            .args(["s_server", "-quiet", "-tls1_2", "-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .args([&certificates.path("server.pem"), "-key", &certificates.path("server.key")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = Self(openssl.unwrap());
        until("openssl listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tls://{}", listener.local_addr().unwrap());
        actix_rt::spawn(async move {
            while let Ok((mut gateway, _)) = listener.accept().await {
                let info = br#"INFO {"server_id":"old","version":"2.9.0","tls_required":true,"max_payload":1048576}"#;
                gateway.write_all(&[info.as_slice(), b"\r\n"].concat()).await.unwrap();
                let mut openssl = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                actix_rt::spawn(async move { copy_bidirectional(&mut gateway, &mut openssl).await });
            }
        });
        (server, url)
    }
}

impl Drop for OldServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn files_that_cannot_serve_are_named_with_the_reason() {
    for (key, name, reason) in [
        ("key_file", "server.key", "doesn't belong to the certificate"),
        ("key_file", "client.pem", "holds a certificate and no private key"),
        ("cert_file", "old.pem", "expired on"),
        ("ca_file", "client.key", "holds a private key and no certificate"),
    ] {
        in_universe(async |universe| {
            let certificates = Pki::usual();
            certificates.issue("old", &Leaf::default().valid(-9, -1));
            let mut tls = json!({
                "ca_file": certificates.path("ca.pem"), "cert_file": certificates.path("client.pem"),
                "key_file": certificates.path("client.key"),
            });
            tls[key] = json!(certificates.path(name));
            let gateway =
                Gateway::start(&universe, settings(&json!({"servers": ["tls://127.0.0.1:1"], "tls": tls})))
                    .await;
            gateway.until_error(&[&format!("tls.{key}: {}", certificates.path(name)), reason]).await;
        });
    }
}

#[test]
fn servers_out_of_date_revoked_or_of_another_name_are_told_apart() {
    for (name, reason) in [
        ("old", "has expired; renew it at the server"),
        ("elsewhere", "isn't for the name in the server's URL"),
        ("revoked", "is revoked by the list in crl_file"),
        ("server", ""),
    ] {
        in_universe(async |universe| {
            let certificates = Pki::usual();
            certificates.issue("old", &Leaf::loopback().valid(-9, -1));
            certificates.issue("elsewhere", &Leaf::named("elsewhere"));
            certificates.issue("revoked", &Leaf::loopback());
            certificates.revoke(&["revoked"]);
            let file = |ending: &str| certificates.path(&format!("{name}.{ending}"));
            let config = format!(r#"tls {{ cert_file: "{}", key_file: "{}" }}"#, file("pem"), file("key"));
            let server = Server::start(Version::New, &config).await;
            let tls = json!({
                "ca_file": certificates.path("ca.pem"), "crl_file": certificates.path("crl.pem"), "alpn": ["nats"],
            });
            let config = json!({"servers": [tls_url(&server)], "tls": tls});
            if reason.is_empty() {
                delivers(&universe, &config).await;
            } else {
                let gateway = Gateway::start(&universe, settings(&config)).await;
                gateway.until_error(&["TLS with tls://127.0.0.1", reason]).await;
            }
        });
    }
}
