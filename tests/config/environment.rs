//! The environment wins over the file, flags win over both, and nothing is dropped in silence.

use bifrost::config::{Config, LoadOptions};

use crate::{assert_problems, load_with};

fn under(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load_with(&LoadOptions { env, ..LoadOptions::text("gateway.yaml", text) })
}

fn refused(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    under(text, env).expect_err("refused")
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut options = LoadOptions::text("gateway.yaml", "gateway: {port: 1, site_id: a, id: file}");
    options.env = vec![
        ("BIFROST_GATEWAY__PORT".to_owned(), "2".to_owned()),
        ("BIFROST_GATEWAY__SITE_ID".to_owned(), "0042".to_owned()),
    ];
    options.flags = vec![("gateway.port".to_owned(), "3".to_owned())];
    let gateway = load_with(&options).unwrap().gateway;
    assert_eq!((gateway.port, gateway.site_id.as_str(), gateway.id.as_str()), (3, "0042", "file"));
}

#[test]
fn values_are_read_as_their_keys_need_them() {
    let config = under(
        "",
        &[
            ("BIFROST_GATEWAY__PERFORMANCE__READ_TIMEOUT", "5s"),
            ("BIFROST_GATEWAY__INSECURE_HTTP", "true"),
            ("BIFROST_DISCOVERY__ALLOWED_RANGES", "[127.0.0.0/8, 192.0.2.1]"),
            ("BIFROST_SUPERVISION__ROUTER__BUDGET", "7"),
        ],
    )
    .unwrap();
    assert_eq!(config.gateway.performance.read_timeout.as_secs(), 5);
    assert!(config.gateway.insecure_http);
    assert_eq!(config.discovery.allowed_ranges.len(), 2);
    assert_eq!(config.supervision.router.budget, 7);
}

#[test]
fn a_wrong_variable_is_named_without_a_file() {
    let found = refused(
        "gateway:\n  port: 1\n",
        &[
            ("BIFROST_GATEWAY__PORT", "many"),
            ("BIFROST_GATEWAY__PRT", "hunter2"),
            ("BIFROST_GATWAY__PORT", "1"),
        ],
    );
    let expected = [
        "gatway: is no key here; did you mean gateway? (given by BIFROST_GATWAY__PORT)",
        "gateway.port: is \"many\", but a whole number from 0 to 65535 is needed (given by BIFROST_GATEWAY__PORT)",
        "gateway.prt: is no key here; did you mean port? (given by BIFROST_GATEWAY__PRT)",
    ];
    assert_problems(&found, &expected);
    assert!(!found.concat().contains("hunter2") && !found.concat().contains("gateway.yaml"), "{found:?}");
}

#[test]
fn a_single_underscore_is_no_divider_and_is_told() {
    let found = refused("", &[("BIFROST_GATEWAY_PORT", "1")]);
    assert_problems(&found, &["BIFROST_GATEWAY_PORT: names no key; the environment divides keys by two"]);
    assert!(found[0].contains("BIFROST_GATEWAY__PORT"), "{found:?}");
    assert_problems(&refused("", &[("BIFROST_GATEWAY", "{}")]), &["BIFROST_GATEWAY: names a whole section"]);
}

#[test]
fn variables_that_kubernetes_makes_up_for_a_service_are_left_alone() {
    let env = [
        ("BIFROST_SERVICE_HOST", "10.0.0.1"),
        ("BIFROST_PORT", "tcp://10.0.0.1:8080"),
        ("BIFROST_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("BIFROST_GATEWAY_PORT", "tcp://10.0.0.1:8080"),
        ("BIFROST_GATEWAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    assert_eq!(under("", &env), Ok(Config::default()));
}

#[test]
fn lists_of_the_file_cannot_be_changed_by_halves() {
    let text = "messaging: {mqtt: [{enabled: false, broker: \"tls://a:1\"}]}";
    let found =
        refused(text, &[("BIFROST_MESSAGING__MQTT__ENABLED", "true"), ("BIFROST_DEVICES__0__ID", "a")]);
    let expected = [
        "BIFROST_DEVICES__0__ID: devices come from the file alone",
        "BIFROST_MESSAGING__MQTT__ENABLED: is inside a list in the file",
    ];
    assert_problems(&found, &expected);
}

#[test]
fn the_customary_names_are_honoured_by_being_refused_until_there_is_encryption() {
    let encryption = "security.encryption.enabled: is not part of this version";
    assert_problems(&refused("", &[("ENABLE_ENCRYPTION", "true")]), &[encryption]);
    assert_problems(&refused("", &[("INDUSTRIAL_MODE", "1")]), &[encryption]);
    let found = refused("", &[("KEY_ROTATION_INTERVAL", "24")]);
    assert_problems(&found, &["security.key_management.key_rotation_enabled: is not part of this version"]);
    let found = refused("", &[("KEY_ROTATION_INTERVAL", "soon"), ("ENABLE_ENCRYPTION", "perhaps")]);
    assert_problems(
        &found,
        &["ENABLE_ENCRYPTION: must be true", "KEY_ROTATION_INTERVAL: is no number of hours"],
    );
    let found = refused("", &[("ENABLE_ENCRYPTION", "false"), ("INDUSTRIAL_MODE", "true")]);
    assert!(found[0].contains("INDUSTRIAL_MODE: is true, which encrypts everything"), "{found:?}");
}

#[test]
fn the_customary_names_set_what_they_always_meant() {
    let env = [("ENABLE_ENCRYPTION", "true"), ("INDUSTRIAL_MODE", "true"), ("KEY_ROTATION_INTERVAL", "6")];
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = load_with(&LoadOptions { env, ..LoadOptions::default() }.syntax_only()).unwrap();
    assert!(config.security.encryption.enabled && config.security.key_management.key_rotation_enabled);
    assert_eq!(config.security.encryption.level, bifrost::config::EncryptionLevel::Industrial);
    assert_eq!(config.security.key_management.key_rotation_interval.as_secs(), 6 * 3600);
}
