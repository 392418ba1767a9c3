//! `bifrost pki`, and what OpenSSL thinks of its certificates and lists.

use std::fs;

use crate::authority::{Authority, PASSPHRASE, mode, run};

#[test]
fn every_profile_is_believed_strictly_and_may_do_what_it_is_for_alone() {
    let authority = Authority::new();
    authority.issue_server(&[]);
    authority.pki(&["issue", "client", "alice"]);
    authority.pki(&["issue", "device", "press-1", "--role", "Operator"]);
    authority.pki(&["issue", "signing", "release"]);
    for (name, purposes) in [
        ("gw", &["sslserver"][..]),
        ("alice", &["sslclient"]),
        ("press-1", &["sslserver", "sslclient"]),
        ("release", &[]),
    ] {
        let file = format!("issued/{name}.pem");
        let verdict = authority.verify(&file, &[]);
        assert_eq!(verdict.code, Some(0), "{name}: {verdict:?}");
        for purpose in ["sslserver", "sslclient"] {
            let verdict = authority.verify(&file, &["-purpose", purpose]);
            assert_eq!(
                verdict.code == Some(0),
                purposes.contains(&purpose),
                "{name}, {purpose}: {verdict:?}"
            );
        }
    }
    let text = authority.text("issued/gw.pem");
    for part in
        ["DNS:localhost, IP Address:127.0.0.1", "CA:FALSE", "TLS Web Server Authentication", "prime256v1"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(authority.text("root.pem").contains("CA:TRUE, pathlen:1"));
    assert!(authority.text("gateway-ca.pem").contains("CA:TRUE, pathlen:0"));
}

#[test]
fn a_role_is_an_utf8_string_in_the_extension_of_modbus_security() {
    let authority = Authority::new();
    authority.pki(&["issue", "device", "press-1", "--role", "Opérateur"]);
    let dump = run("openssl", &["asn1parse", "-in", &authority.file("issued/press-1.pem")]).stdout;
    let lines: Vec<_> = dump.lines().collect();
    let at = lines.iter().position(|line| line.ends_with(":1.3.6.1.4.1.50316.802.1")).expect("the extension");
    // UTF8String (0C), ten bytes.
    assert!(lines[at + 1].ends_with("[HEX DUMP]:0C0A4F70C3A9726174657572"), "{}", lines[at + 1]);
    let refused = authority.refused(&["issue", "client", "bob", "--role", "Operator"]);
    assert!(refused.contains("a client certificate has no role"), "{refused}");
}

#[test]
fn keys_are_their_owners_alone_and_the_roots_is_encrypted() {
    let authority = Authority::new();
    authority.issue_server(&[]);
    for name in ["root.key", "gateway-ca.key", "device-ca.key", "issued/gw.key", "index.json"] {
        assert_eq!(mode(&authority.path(name)), "600", "{name}");
    }
    assert!(fs::read_to_string(authority.path("root.key")).unwrap().contains("BEGIN ENCRYPTED PRIVATE KEY"));
    let wrong = authority.try_pki(&["renew", "gateway-ca"], Some("another passphrase"));
    assert!(wrong.code == Some(1) && wrong.stderr.contains("the passphrase is wrong"), "{wrong:?}");
    let without = authority.try_pki(&["renew", "gateway-ca"], None);
    assert!(without.code == Some(1) && without.stderr.contains("BIFROST_PKI_PASSPHRASE"), "{without:?}");
    let shown = format!("{wrong:?}{without:?}");
    assert!(!shown.contains(PASSPHRASE));
}

#[test]
fn a_root_key_that_is_kept_elsewhere_is_asked_for_and_taken_from_there() {
    let authority = Authority::new();
    let elsewhere = authority.folder.path().join("usb.key");
    fs::rename(authority.path("root.key"), &elsewhere).unwrap();
    // What the root isn't needed for goes on.
    authority.issue_server(&[]);
    let lists = authority.pki(&["crl"]);
    assert_eq!(lists["renewed"], serde_json::json!(["gateway-ca", "device-ca"]));
    let refused = authority.refused(&["renew", "gateway-ca"]);
    assert!(refused.contains("root.key") && refused.contains("--ca-key"), "{refused}");
    let wrong = authority.refused(&["renew", "gateway-ca", "--ca-key", &authority.file("gateway-ca.key")]);
    assert!(wrong.contains("isn't the key of root"), "{wrong}");
    let key = elsewhere.to_str().unwrap();
    let before = authority.text("gateway-ca.pem");
    authority.pki(&["renew", "gateway-ca", "--ca-key", key]);
    assert_ne!(authority.text("gateway-ca.pem"), before);
    // What it signed before is believed under its new certificate, since its key is the same.
    let chain = authority.file("gateway-ca.pem");
    let leaf = run(
        "openssl",
        &[
            "verify",
            "-x509_strict",
            "-CAfile",
            &authority.file("root.pem"),
            "-untrusted",
            &chain,
            &authority.file("issued/gw.pem"),
        ],
    );
    assert_eq!(leaf.code, Some(0), "{leaf:?}");
    assert_eq!(authority.pki(&["crl", "--ca-key", key])["renewed"].as_array().unwrap().len(), 3);
}

#[test]
fn a_request_gets_a_certificate_for_its_own_key_and_nothing_that_its_profile_has_not() {
    let authority = Authority::new();
    let at = |name: &str| authority.folder.path().join(name).to_str().unwrap().to_owned();
    let (key, csr) = (at("plc.key"), at("plc.csr"));
    let request = |subject: &str, extensions: &[&str]| {
        let mut args = vec!["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        args.extend(["-keyout", &key, "-out", &csr, "-subj", subject]);
        args.extend(extensions.iter().flat_map(|extension| ["-addext", extension]));
        let made = run("openssl", &args);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    };
    request(
        "/CN=plc-7/O=Somebody",
        &[
            "subjectAltName=DNS:plc-7.plant.example,IP:192.0.2.7",
            "1.3.6.1.4.1.50316.802.1=ASN1:UTF8String:Observer",
            "nsComment=let me in",
        ],
    );
    let issued = authority.pki(&["issue", "device", "--csr", &csr]);
    assert_eq!((&issued["common_name"], &issued["role"]), (&"plc-7".into(), &"Observer".into()));
    assert_eq!(
        (&issued["key_file"], issued["ignored_extensions"].as_array().unwrap().len()),
        (&serde_json::Value::Null, 1)
    );
    let text = authority.text("issued/plc-7.pem");
    assert!(
        text.contains("DNS:plc-7.plant.example, IP Address:192.0.2.7") && text.contains("CN = plc-7"),
        "{text}"
    );
    assert!(!text.contains("let me in") && !text.contains("Somebody"), "{text}");
    let public = |args: &[&str]| run("openssl", args).stdout;
    let certified = public(&["x509", "-noout", "-pubkey", "-in", &authority.file("issued/plc-7.pem")]);
    assert_eq!(certified, public(&["pkey", "-pubout", "-in", &key]));
    // Renewed: another certificate, the same key, which is not ours to make.
    let renewed = authority.pki(&["renew", "plc-7"]);
    assert_ne!(renewed["serial"], issued["serial"]);
    assert_eq!(certified, public(&["x509", "-noout", "-pubkey", "-in", &authority.file("issued/plc-7.pem")]));

    for (subject, extensions, part) in [
        ("/CN=evil", &["basicConstraints=critical,CA:TRUE"][..], "asks to become an authority"),
        ("/CN=evil", &["1.3.6.1.4.1.50316.802.1=ASN1:PRINTABLESTRING:Operator"], "no UTF8String"),
        ("/CN=evil", &["subjectAltName=email:a@b.example"], "neither a host name nor an IP address"),
        ("/O=nobody", &[], "the common name is empty"),
    ] {
        request(subject, extensions);
        let refused = authority.refused(&["issue", "device", "--csr", &csr]);
        assert!(refused.contains(part), "{extensions:?}: {refused}");
    }
    let refused = authority.refused(&["issue", "device", "--csr", &key]);
    assert!(refused.contains("holds no certificate request"), "{refused}");
}

#[test]
fn a_request_with_a_weak_key_or_another_ones_signature_is_refused() {
    let authority = Authority::new();
    let csr = authority.folder.path().join("weak.csr").to_str().unwrap().to_owned();
    let key = authority.folder.path().join("weak.key").to_str().unwrap().to_owned();
    run(
        "openssl",
        &["req", "-new", "-nodes", "-newkey", "rsa:1024", "-keyout", &key, "-out", &csr, "-subj", "/CN=old"],
    );
    let refused = authority.refused(&["issue", "client", "--csr", &csr]);
    assert!(refused.contains("an RSA key of 1024 bits is too weak"), "{refused}");
    run(
        "openssl",
        &[
            "req", "-new", "-nodes", "-newkey", "rsa:2048", "-outform", "DER", "-keyout", &key, "-out", &csr,
            "-subj", "/CN=a",
        ],
    );
    let mut bytes = fs::read(&csr).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&csr, bytes).unwrap();
    let refused = authority.refused(&["issue", "client", "--csr", &csr]);
    assert!(refused.contains("signature doesn't match"), "{refused}");
}

#[test]
fn what_is_revoked_is_in_the_list_with_its_reason_and_no_longer_believed() {
    let authority = Authority::new();
    let alice = authority.pki(&["issue", "client", "alice"]);
    authority.pki(&["issue", "client", "bob"]);
    authority.pki(&["revoke", "alice", "--reason", "key-compromise"]);
    let list =
        run("openssl", &["crl", "-noout", "-text", "-in", &authority.file("crl/gateway-ca.pem")]).stdout;
    assert!(list.to_lowercase().contains(alice["serial"].as_str().unwrap()), "{list}");
    assert!(list.contains("Key Compromise") && list.contains("X509v3 CRL Number"), "{list}");
    let verdict = authority.verify("issued/alice.pem", &[]);
    assert!(verdict.code != Some(0) && verdict.stderr.contains("certificate revoked"), "{verdict:?}");
    assert_eq!(authority.verify("issued/bob.pem", &[]).code, Some(0));
    let again = authority.refused(&["revoke", alice["serial"].as_str().unwrap()]);
    assert!(again.contains("revoked already"), "{again}");
    assert!(authority.refused(&["revoke", "carol"]).contains("there is no certificate"));
    assert!(authority.refused(&["revoke", "root"]).contains("root can't be revoked"));
    let listed = authority.pki(&["list"]);
    let status = |name: &str| {
        let all = listed["certificates"].as_array().unwrap().clone();
        all.into_iter().find(|row| row["name"] == name).unwrap()["status"].clone()
    };
    assert_eq!(
        (status("alice"), status("bob"), status("root")),
        ("revoked".into(), "valid".into(), "valid".into())
    );
}

#[test]
fn a_revoked_authority_takes_all_it_signed_with_it() {
    let authority = Authority::new();
    authority.pki(&["issue", "device", "press-1"]);
    authority.pki(&["revoke", "device-ca", "--reason", "ca-compromise"]);
    let verdict = authority.verify("issued/press-1.pem", &[]);
    assert!(verdict.stderr.contains("certificate revoked"), "{verdict:?}");
}

#[test]
fn other_algorithms_are_made_when_asked_for() {
    for (algorithm, part, of_leaf) in
        [("p384", "secp384r1", "p384"), ("rsa-4096", "Public-Key: (4096 bit)", "rsa-4096")]
    {
        let authority = Authority::with(&["--algorithm", algorithm]);
        authority.issue_server(&["--algorithm", of_leaf]);
        for file in ["root.pem", "gateway-ca.pem", "issued/gw.pem"] {
            assert!(authority.text(file).contains(part), "{algorithm}, {file}");
        }
        assert_eq!(authority.verify("issued/gw.pem", &[]).code, Some(0), "{algorithm}");
    }
}

#[test]
fn what_cannot_be_done_is_one_line_that_says_what_to_do() {
    let authority = Authority::new();
    authority.issue_server(&[]);
    for (args, part) in [
        (&["init"][..], "holds a certificate authority already"),
        (&["issue", "server", "gw"], "renew it, revoke it, or choose another with --name"),
        (&["issue", "server", "Gateway 1", "--san", "gw-1"], "can't be a file's name"),
        (&["issue", "server", "Gateway 1", "--name", "gw1"], "--san NAME"),
        (&["issue", "client", "../x"], "can't be a file's name"),
        (&["issue", "client", "root"], "can't be a file's name"),
        (&["issue", "client", "a", "--days", "0"], "--days"),
        (&["renew", "nobody"], "bifrost pki list"),
    ] {
        let refused = authority.refused(args);
        assert!(refused.contains(part), "{args:?}: {refused}");
    }
    for wrong in [
        &["issue", "gateway-ca", "x"][..],
        &["issue", "server"],
        &["issue", "server", "x", "--san", "a b"],
        &["revoke", "gw", "--reason", "mood"],
    ] {
        assert_eq!(authority.try_pki(wrong, None).code, Some(2), "{wrong:?}");
    }
    fs::write(authority.path("index.json"), "{").unwrap();
    let refused = authority.refused(&["list"]);
    assert!(refused.contains("index.json") && refused.contains("backup"), "{refused}");
    let nowhere = Authority { folder: tempfile::tempdir().unwrap() };
    assert!(nowhere.refused(&["list"]).contains("bifrost pki init"));
}
