//! Every file that can't serve is named with its key and the reason.

use bifrost_security::tls::ClientTls;

use crate::certificates::{Certificates, Leaf, openssl};

fn tls(certificates: &Certificates) -> ClientTls {
    ClientTls {
        ca_file: Some(certificates.file("ca.pem")),
        cert_file: Some(certificates.file("client.pem")),
        key_file: Some(certificates.file("client.key")),
        ..ClientTls::default()
    }
}

#[test]
fn good_files_are_good() {
    let certificates = Certificates::usual();
    certificates.revoke(&["server"]);
    let crl_file = Some(certificates.file("crl.pem"));
    ClientTls { crl_file, ..tls(&certificates) }.check().unwrap();
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_the_reason() {
    let certificates = Certificates::usual();
    let folder = certificates.file("");
    let run = |arguments: &[&str]| openssl(&folder, arguments);
    run(&["pkey", "-in", "client.key", "-outform", "der", "-out", "der.key"]);
    run(&["pkey", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", "locked.key"]);
    run(&["ec", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", "locked-old.key"]);
    certificates
        .put("ssh.key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
    certificates.put("broken.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    certificates.put("empty.key", "");
    for (name, reason) in [
        ("none.key", "can't be read: No such file"),
        ("der.key", "is in DER form; convert it"),
        ("locked.key", "is encrypted, and a pass phrase can't be given"),
        ("locked-old.key", "is encrypted, and a pass phrase can't be given"),
        ("ssh.key", "holds a key of OpenSSH"),
        ("broken.key", "holds a private key that can't be read"),
        ("empty.key", "holds no private key in PEM form"),
        ("client.pem", "holds a certificate and no private key"),
        ("server.key", "doesn't belong to the certificate in"),
    ] {
        let key_file = Some(certificates.file(name));
        let error = ClientTls { key_file, ..tls(&certificates) }.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("key_file: {}", certificates.path(name))), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_the_reason() {
    let certificates = Certificates::usual();
    certificates.issue("old", &Leaf::default().valid(-10, -1));
    certificates.issue("young", &Leaf::default().valid(2, 10));
    openssl(&certificates.file(""), &["x509", "-in", "client.pem", "-outform", "der", "-out", "der.pem"]);
    certificates.put("text.pem", "no certificate");
    for (name, reason) in [
        ("none.pem", "can't be read: No such file"),
        ("der.pem", "is in DER form; convert it"),
        ("text.pem", "holds no certificate in PEM form"),
        ("client.key", "holds a private key and no certificate"),
        ("old.pem", "expired on"),
        ("young.pem", "isn't valid before"),
    ] {
        let cert_file = Some(certificates.file(name));
        let error = ClientTls { cert_file, ..tls(&certificates) }.check().unwrap_err().to_string();
        assert!(error.starts_with("cert_file: ") && error.contains(name), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    let old = Some(certificates.file("old.pem"));
    let error = ClientTls { ca_file: old, ..tls(&certificates) }.check().unwrap_err().to_string();
    assert!(error.starts_with("ca_file: ") && error.contains("expired on"), "{error}");
    let crl_file = Some(certificates.file("ca.pem"));
    let error = ClientTls { crl_file, ..tls(&certificates) }.check().unwrap_err().to_string();
    assert!(error.contains("crl_file: ") && error.contains("holds no revocation list"), "{error}");
}

#[test]
fn a_certificate_without_its_key_is_no_identity() {
    let certificates = Certificates::usual();
    let error = ClientTls { key_file: None, ..tls(&certificates) }.check().unwrap_err().to_string();
    assert!(error.contains("needs its private key"), "{error}");
    let error = ClientTls { cert_file: None, ..tls(&certificates) }.check().unwrap_err().to_string();
    assert!(error.contains("needs its certificate"), "{error}");
}
