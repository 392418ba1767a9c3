//! Everything that can be wrong is told, each with its line and key, and none hides another.

use crate::{assert_problems, load, load_with, problems};
use bifrost::config::{Config, LoadOptions};

#[test]
fn an_empty_file_is_the_defaults() {
    for text in ["", "# nothing\n", "gateway:\ndevices:\nsupervision:\n  router:\n", "gateway: {}\n"] {
        assert_eq!(load(text), Ok(Config::default()), "{text}");
    }
}

#[test]
fn unknown_keys_are_told_with_file_line_path_and_the_key_that_was_meant() {
    let text = "\
gateway:
  prot: 8081
gatway:
  port: 1
devices:
  - id: a
    protocol: modbus-tcp
    address: 192.0.2.1
    tags:
      - {id: t, address: \"40001\"}
      - id: u
        adress: \"40001\"
zzz: 1
";
    let expected = [
        "gateway.yaml:2: gateway.prot: is no key here; did you mean port?",
        "gateway.yaml:3: gatway: is no key here; did you mean gateway?",
        "gateway.yaml:11: devices[0].tags[1].address: is missing",
        "gateway.yaml:12: devices[0].tags[1].adress: is no key here; did you mean address?",
        "gateway.yaml:13: zzz: is no key here; there are gateway, devices",
    ];
    assert_problems(&problems(text), &expected);
}

#[test]
fn problems_of_one_device_hide_none_of_another() {
    let text = "\
devices:
  - id: a
    protocol: modbus
    address: [1]
    unit_id: 300
    poll_interval: often
    tags:
      - {id: t, address: \"40000\", data_type: flot32}
      - {id: u, address: \"99999\"}
      - {id: v, address: coil:1, data_type: float32}
      - 5
  - 7
  - id: b
    protocol: modbus-tcp
    address: \"192.0.2.1:99999\"
    poll_interval: 0s
    tags:
      - {id: t, address: \"40001\", scale: much, class: vital}
      - {id: u, address: \"20001\", writable: perhaps}
      - {id: v, address: \"20001\", poll_interval: 1us}
api:
  max_body: big
";
    let found = problems(text);
    let expected = [
        "gateway.yaml:3: devices[0].protocol: is \"modbus\", but must be one of modbus-tcp",
        "gateway.yaml:4: devices[0].address: is a list, but a text is needed",
        "gateway.yaml:5: devices[0].unit_id: is 300, but a whole number from 0 to 255 is needed",
        "gateway.yaml:6: devices[0].poll_interval: is \"often\", but a duration such as 250ms, 30s, 24h or 7d",
        "gateway.yaml:8: devices[0].tags[0].data_type: \"flot32\" is not a data type; use bool",
        "gateway.yaml:8: devices[0].tags[0].address: \"40000\" read as a Modicon number",
        "gateway.yaml:9: devices[0].tags[1].address: \"99999\" read as a Modicon number",
        "gateway.yaml:10: devices[0].tags[2].data_type: ",
        "gateway.yaml:11: devices[0].tags[3]: is \"5\", but a section of keys is needed",
        "gateway.yaml:12: devices[1]: must be a section",
        "gateway.yaml:15: devices[2].address: ",
        "gateway.yaml:16: devices[2].poll_interval: ",
        "gateway.yaml:18: devices[2].tags[0].scale: is \"much\", but a number is needed",
        "gateway.yaml:18: devices[2].tags[0].class: is \"vital\", but must be one of telemetry, status, critical",
        "gateway.yaml:19: devices[2].tags[1].writable: is \"perhaps\", but true or false is needed",
        "gateway.yaml:19: devices[2].tags[1].address: \"20001\" read as a Modicon number",
        "gateway.yaml:20: devices[2].tags[2].address: \"20001\" read as a Modicon number",
        "gateway.yaml:20: devices[2].tags[2].poll_interval: ",
        "gateway.yaml:22: api.max_body: \"big\" is no number of bytes",
    ];
    assert_problems(&found, &expected);
}

#[test]
fn a_key_that_cannot_be_read_hides_no_other_problem_of_its_device_or_tag() {
    let text = "\
devices:
  - id: a
    protocol: modbus-tcp
    address: 127.0.0.1:99999
    unit_id: 300
    tags:
      - {id: t, address: \"4001\", data_type: float, min: 5, max: 1}
      - {id: t, address: \"holding:99999\", byte_order: XY}
      - {id: u, address: \"40001\", byte_order: XY, scale: 0}
      - {id: v, address: \"coil:1\", data_type: flot, deadband: 1, scale: 2}
";
    let expected = [
        "gateway.yaml:4: devices[0].address: ",
        "gateway.yaml:5: devices[0].unit_id: is 300",
        "gateway.yaml:7: devices[0].tags[0].address: ",
        "gateway.yaml:7: devices[0].tags[0].data_type: ",
        "gateway.yaml:8: devices[0].tags[1].address: ",
        "gateway.yaml:8: devices[0].tags[1].byte_order: ",
        "gateway.yaml:8: devices[0].tags[1].id: ",
        "gateway.yaml:9: devices[0].tags[2].byte_order: ",
        "gateway.yaml:9: devices[0].tags[2].scale: ",
        "gateway.yaml:10: devices[0].tags[3].data_type: ",
    ];
    let mut found = problems(text);
    found.sort_by_key(|problem| {
        let line: u32 = problem.split(':').nth(1).and_then(|line| line.parse().ok()).unwrap_or(0);
        (line, problem.clone())
    });
    assert_problems(&found, &expected);
}

#[test]
fn an_address_that_does_not_fit_its_type_is_told() {
    let text = "\
devices:
  - id: a
    protocol: modbus-tcp
    address: 192.0.2.1
    tags:
      - {id: t, address: coil:1, data_type: float32}
      - {id: u, address: input:1, writable: true}
";
    let expected =
        ["gateway.yaml:6: devices[0].tags[0].data_type: ", "gateway.yaml:7: devices[0].tags[1].writable: "];
    assert_problems(&problems(text), &expected);
}

#[test]
fn ids_that_come_twice_are_told_with_both_places() {
    let text = "\
devices:
  - id: a
    protocol: modbus-tcp
    address: 192.0.2.1
    tags:
      - {id: t, address: \"40001\"}
      - {id: t, address: \"40002\"}
  - id: b
    protocol: modbus-tcp
    address: 192.0.2.2
  - id: a
    protocol: modbus-tcp
    address: 192.0.2.3
";
    let expected = [
        "gateway.yaml:7: devices[0].tags[1].id: \"t\" is devices[0].tags[0] (line 6) already",
        "gateway.yaml:11: devices[2].id: \"a\" is devices[0].id (line 2) already",
    ];
    assert_problems(&problems(text), &expected);
}

#[test]
fn units_behind_one_address_cannot_disagree_about_its_connection() {
    let text = "\
devices:
  - &a {id: a, protocol: modbus-rtu, address: \"/dev/ttyS0?baud=9600\", unit_id: 1}
  - {<<: *a, id: b, unit_id: 2, timeout: 5s}
  - {<<: *a, id: c, unit_id: 3, address: \"/dev/ttyS0?baud=19200\"}
  - {<<: *a, id: d, unit_id: 4, pause_between_requests: 1s}
  - {id: e, protocol: modbus-tcp, address: plc}
  - {id: f, protocol: modbus-tcp, address: \"plc:502\", timeout: 5s}
  - {id: g, protocol: modbus-rtu, address: \"plc:502\"}
";
    let expected = [
        "gateway.yaml:4: devices[2].address: is /dev/ttyS0?baud=19200, but /dev/ttyS0?baud=9600 for devices[0]",
        "gateway.yaml:5: devices[3].pause_between_requests: is 1s, but 0ns for devices[0] on the same address",
        "gateway.yaml:8: devices[6].protocol: is modbus-rtu, but modbus-tcp for devices[4] on the same address",
    ];
    assert_problems(&problems(text), &expected);
}

#[test]
fn values_that_cannot_work_are_told_for_every_section() {
    let text = "\
gateway: {id: \" \", shutdown_timeout: 0s, bind: localhost, data_dir: \"\", performance: {max_connections: 0}}
supervision: {router: {budget: 0}, watchdog_limit: 0s}
limits: {events: 0}
discovery: {allowed_ranges: [plant], concurrency: 0}
logging: {level: loud, format: xml}
security: {encryption: {algorithms: {symmetric: DES}}}
messaging:
  spool: {max_bytes: 1TX, on_full: panic}
  nats: {enabled: false, servers: []}
  mqtt:
    - {enabled: false, broker: \"tls://a:1\", qos: 3}
    - {enabled: false, broker: a, topics: {alarms: \"a/{sit_id}\"}}
";
    let found = problems(text).join("\n");
    for key in [
        ":1: gateway.id: ",
        ":1: gateway.shutdown_timeout: ",
        ":1: gateway.bind: \"localhost\" is no IP address; write 127.0.0.1 or ::1",
        ":1: gateway.data_dir: ",
        ":1: gateway.performance.max_connections: ",
        ":2: supervision.router.budget: ",
        ":2: supervision.watchdog_limit: ",
        ":3: limits.events: ",
        ":4: discovery.allowed_ranges[0]: ",
        ":4: discovery.concurrency: ",
        ":5: logging.level: ",
        ":5: logging.format: ",
        ":6: security.encryption.algorithms.symmetric: ",
        ":8: messaging.spool.max_bytes: ",
        ":8: messaging.spool.on_full: ",
        ":9: messaging.nats.servers: ",
        ":11: messaging.mqtt[0].qos: ",
        ":12: messaging.mqtt[1].broker: ",
        ":12: messaging.mqtt[1].topics.alarms: {sit_id} is no placeholder here; did you mean {site_id}?",
    ] {
        assert!(found.contains(key), "{key} is not in\n{found}");
    }
}

#[test]
fn a_row_of_the_policy_table_may_change_one_key_alone() {
    let config = load("supervision: {router: {budget: 5}}").unwrap();
    let default = Config::default().supervision.router;
    assert_eq!((config.supervision.router.budget, config.supervision.router.window), (5, default.window));
}

#[test]
fn what_this_version_cannot_do_is_refused_and_never_ignored() {
    for (text, key) in [
        (
            "security: {encryption: {enabled: true}}",
            "security.encryption.enabled: is not part of this version",
        ),
        ("security: {certificates: {auto_rotate: true}}", "security.certificates.auto_rotate: "),
        ("security: {key_management: {provider: aws-kms}}", "security.key_management.provider: "),
        ("messaging: {mqtt: {broker: \"tls://a:1\", encrypt: true}}", "messaging.mqtt.encrypt: "),
        (
            "messaging: {nats: [{servers: [\"nats://a:1\"]}, {servers: [\"nats://b:1\"], encrypt: true}]}",
            "messaging.nats[1].encrypt: ",
        ),
        ("industrial_security: {encrypt_tag_data: true}", "industrial_security.encrypt_tag_data: "),
        ("industrial_security: {protocol_encryption: {opcua: true}}", "protocol_encryption.opcua: "),
        ("industrial_security: {compliance_mode: nist}", "industrial_security.compliance_mode: "),
        (
            "devices: [{id: a, protocol: opcua, address: \"opc.tcp://a\"}]",
            "devices[0].protocol: opcua is not part",
        ),
    ] {
        assert_problems(&problems(text), &[key]);
        let syntax_only = LoadOptions::text("gateway.yaml", text).syntax_only();
        let config = load_with(&syntax_only).unwrap_or_else(|found| panic!("{text}: {found:?}"));
        assert_eq!(config.unavailable().len(), 1, "{text}");
    }
}

#[test]
fn plain_http_is_for_loopback_and_settings_of_https_that_would_do_nothing_are_refused() {
    for (text, key) in [
        (
            "gateway: {insecure_http: true, bind: 0.0.0.0}",
            "gateway.insecure_http: plain HTTP is for loopback only, and 0.0.0.0",
        ),
        ("gateway: {insecure_http: true, bind: \"::\"}", "gateway.insecure_http: "),
        (
            "gateway: {insecure_http: true, tls: {min_version: \"1.2\"}}",
            "gateway.tls: does nothing for plain HTTP",
        ),
        ("gateway: {tls: {crl_file: /x}}", "gateway.tls.crl_file: is for clients' certificates"),
        ("gateway: {tls: {client_ca_file: /x}}", "gateway.tls.client_ca_file: is for clients' certificates"),
        ("gateway: {tls: {client_auth: required}}", "gateway.tls.client_ca_file: is missing"),
        (
            "gateway: {tls: {cipher_suites: [RC4-MD5]}}",
            "gateway.tls.cipher_suites: \"RC4-MD5\" is unknown or weak",
        ),
        (
            "gateway: {tls: {cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]}}",
            "gateway.tls.cipher_suites: ECDHE-RSA-AES128-GCM-SHA256 is a suite of TLS 1.2",
        ),
        ("gateway: {tls: {min_version: \"1.1\"}}", "gateway.tls.min_version: "),
    ] {
        assert_problems(&problems(text), &[key]);
    }
    for good in [
        "gateway: {bind: 0.0.0.0}",
        "gateway: {bind: \"::\", tls: {min_version: \"1.2\"}}",
        "{gateway: {tls: {client_auth: required}}, security: {certificates: {ca_file: /x}}}",
    ] {
        assert_eq!(problems(good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn settings_of_brokers_that_would_do_nothing_or_harm_are_refused() {
    for (text, key) in [
        (
            "messaging: {mqtt: {broker: \"mqtt://a:1\", tls: {ca_file: /x}}}",
            "messaging.mqtt.tls.ca_file: is given, but the connection isn't encrypted",
        ),
        (
            "messaging: {nats: {servers: [\"nats://a:1\"], tls: {ca_file: /x}}}",
            "messaging.nats.tls.ca_file: is given, but the connection isn't encrypted",
        ),
        (
            "messaging: {mqtt: {broker: \"tls://a:1\", password_env: \"hunter2!\"}}",
            "messaging.mqtt.password_env: is no name of an environment variable (the value isn't shown)",
        ),
    ] {
        assert_problems(&problems(text), &[key]);
    }
    let encrypted = "messaging: {mqtt: {broker: \"tls://a:1\", tls: {ca_file: /x}}}";
    assert_eq!(problems(encrypted), Vec::<String>::new());
}

#[test]
fn what_is_turned_off_is_no_problem() {
    let text = "\
gateway: {insecure_http: true, bind: \"::1\"}
security: {encryption: {enabled: false, level: industrial}}
messaging: {mqtt: [{enabled: false, broker: \"tls://a:1\"}], nats: {enabled: false, servers: [\"nats://a:1\"]}}
industrial_security: {encrypt_tag_data: false}
";
    assert_eq!(problems(text), Vec::<String>::new());
}

#[test]
fn toml_is_read_by_its_extension_with_lines_too() {
    let text = "[gateway]\nport = 8081\n\n[[devices]]\nid = \"a\"\nprotocol = \"modbus-tcp\"\naddress = \"192.0.2.1\"\n";
    let config = load_with(&LoadOptions::text("gateway.toml", text)).unwrap();
    assert_eq!((config.gateway.port, config.devices.len()), (8081, 1));
    let found = load_with(&LoadOptions::text("gateway.toml", format!("{text}adress = 1\n"))).unwrap_err();
    assert_problems(&found, &["gateway.toml:8: devices[0].adress: is no key here; did you mean address?"]);
}

#[test]
fn a_text_that_is_no_yaml_is_told_with_its_line() {
    assert_problems(&problems("gateway:\n  port: [1\n"), &["gateway.yaml:"]);
    assert_problems(&problems("- a\n- b\n"), &["gateway.yaml:1: holds no sections"]);
    assert_problems(&problems("hello"), &["gateway.yaml:1: holds no sections"]);
}

#[test]
fn secrets_are_not_repeated_in_problems() {
    let text = "\
gateway: {password: hunter2}
messaging:
  mqtt: {enabled: false, broker: \"tls://bifrost:hunter2@a:1\", token: hunter2}
security: {key_management: {backup_encryption: hunter2, key_rotation_enabled: hunter2}}
";
    let found = problems(text);
    assert_eq!(found.len(), 5, "{found:#?}");
    let shown: Vec<_> = found.iter().filter(|line| line.contains("hunter2")).collect();
    assert_problems(&[shown[0].clone()], &["security.key_management.backup_encryption"]);
    assert_eq!(shown.len(), 1, "only of a key whose name tells of no secret: {shown:#?}");
}

#[test]
fn a_data_dir_that_is_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let text = format!("gateway: {{data_dir: {}/data}}", file.display());
    assert_problems(&problems(&text), &["gateway.yaml:1: gateway.data_dir: needs a folder, but"]);
}

#[test]
fn an_encrypted_device_without_what_encryption_needs_is_told_key_by_key() {
    let device = |more: &str| format!("devices: [{{id: a, address: plc, protocol: {more}}}]");
    for (more, key) in [
        ("modbus-tls", "devices[0].tls: is missing; modbus-tls needs cert_file"),
        ("modbus-tcp, tls: {ca_file: /ca}", "devices[0].tls: is given, but this protocol isn't encrypted"),
        (
            "modbus-tls, tls: {ca_file: /ca, cert_file: /c}",
            "devices[0].tls.key_file: is missing; Modbus/TCP Security",
        ),
        ("modbus-tls, tls: {ca_file: /ca, key_file: /k}", "devices[0].tls.cert_file: is missing"),
        (
            "modbus-tls, tls: {cert_file: /c, key_file: /k}",
            "devices[0].tls.ca_file: is missing; name the authority",
        ),
        (
            "modbus-tls, tls: {cert_file: /c, key_file: /k, ca_file: /ca, min_version: \"1.1\"}",
            "devices[0].tls.min_version: ",
        ),
        (
            "modbus-tls, tls: {cert_file: /c, key_file: /k, ca_file: /ca, pinned_sha256: abc}",
            "devices[0].tls.pinned_sha256: must be 64 hexadecimal digits",
        ),
        (
            "modbus-tls, plaintext: allowed, tls: {cert_file: /c, key_file: /k, ca_file: /ca}",
            "devices[0].plaintext: has no meaning for modbus-tls",
        ),
    ] {
        assert_problems(&problems(&device(more)), &[key]);
    }
}

#[test]
fn units_behind_one_address_are_encrypted_alike() {
    let text = "
devices:
  - {id: a, protocol: modbus-tls, address: plc, tls: {cert_file: /c, key_file: /k, ca_file: /ca}}
  - {id: b, protocol: modbus-tls, address: \"plc:802\", tls: {cert_file: /d, key_file: /k, ca_file: /ca}}
  - {id: c, protocol: modbus-tcp, address: \"plc:802\"}";
    assert_problems(
        &problems(text),
        &[
            "devices[1].tls: is this, but another for devices[0] on the same address",
            "devices[2].protocol: is modbus-tcp, but modbus-tls for devices[0]",
        ],
    );
}

#[test]
fn what_nats_cannot_be_told_of_tls_is_refused_by_name() {
    for (tls, key) in [
        ("server_name: a", "messaging.nats.tls.server_name: isn't available for NATS"),
        ("min_version: \"1.2\"", "messaging.nats.tls.min_version: isn't available for NATS"),
        ("alpn: [\"\"]", "messaging.nats.tls.alpn: holds a name that has not 1 to 255 bytes"),
        ("crl_file: /crl", "messaging.nats.tls.crl_file: needs ca_file"),
    ] {
        let text = format!("messaging: {{nats: {{servers: [\"tls://a:1\"], tls: {{{tls}}}}}}}");
        assert_problems(&problems(&text), &[key]);
    }
}
