//! Programs that look for weaknesses of TLS servers.

use std::path::Path;

use serde_json::{Value, json};

use crate::authority::{Authority, run};

fn authority() -> Authority {
    let authority = Authority::new();
    authority.issue_server(&[]);
    authority
}

#[test]
fn sslscan_finds_nothing_below_tls_1_3() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let answer = run("sslscan", &["--no-colour", &served.address()]);
    let found = answer.stdout;
    for version in ["SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2"] {
        let line = found.lines().find(|line| line.starts_with(version)).unwrap_or_else(|| panic!("{found}"));
        assert!(line.ends_with("disabled"), "{line}");
    }
    let is_suite = |line: &&str| line.starts_with("Preferred") || line.starts_with("Accepted");
    let suites: Vec<_> = found.lines().filter(is_suite).collect();
    assert_eq!(suites.len(), 3, "{found}");
    assert!(suites.iter().all(|line| line.contains("TLSv1.3") && line.contains(" TLS_")), "{suites:#?}");
}

#[test]
fn testssl_finds_nothing_weak() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let report = authority.folder.path().join("testssl.json");
    let root = authority.file("root.pem");
    let args = [
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "off",
        "--protocols",
        "--server-defaults",
        "--vulnerable",
        "--add-ca",
        &root,
    ];
    let file = report.to_str().unwrap();
    let address = served.address();
    let answer = run("testssl", &[&args[..], &["--jsonfile", file, &address]].concat());
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let found: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let by_id =
        |id: &str| found.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id} in {text}"));
    for version in ["SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2"] {
        assert!(by_id(version)["finding"].as_str().unwrap().starts_with("not offered"), "{}", by_id(version));
    }
    assert!(by_id("TLS1_3")["finding"].as_str().unwrap().starts_with("offered"));
    // Revocations of a private authority aren't published on the web. Answers are compressed, but hold no secret
    // beside what somebody else's page could have put there: browsers send no credentials by themselves.
    let accepted = ["cert_revocation", "BREACH"];
    let weak: Vec<_> = found
        .iter()
        .filter(|row| matches!(row["severity"].as_str(), Some("MEDIUM" | "HIGH" | "CRITICAL")))
        .filter(|row| !accepted.iter().any(|id| row["id"] == *id))
        .collect();
    assert!(weak.is_empty(), "{weak:#?}");
}

#[test]
fn sslyze_finds_the_modern_profile_for_who_knows_the_authority() {
    let authority = authority();
    let served = authority.serve(&json!({}));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/sslyze");
    assert!(program.exists(), "{} is missing: run `make test`, which provides it", program.display());
    let root = authority.file("root.pem");
    let address = served.address();
    let args = ["--mozilla_config", "modern", "--certinfo_ca_file", &root, &address];
    let answer = run(program.to_str().unwrap(), &args);
    let found = answer.stdout;
    let verdict = found.split("COMPLIANCE AGAINST").nth(1).unwrap_or_else(|| panic!("{found}"));
    assert!(verdict.contains("OK - Compliant"), "{verdict}");
}
