//! The configuration that was promised to users first is read as it stands.

use bifrost::config::{ComplianceMode, Config, EncryptionLevel, KeyProvider, LoadOptions};

use crate::load_with;

const SEED: &str = include_str!("seed-gateway.yaml");

/// The sample of the public contract, with the protocols of this version.
const CONTRACT: &str = include_str!("contract-gateway.yaml");

fn seed() -> LoadOptions {
    LoadOptions::text("gateway.yaml", SEED).syntax_only()
}

#[test]
fn every_key_of_it_is_understood() {
    let config = load_with(&seed()).unwrap();
    assert_eq!(config.gateway.port, 8080);
    assert_eq!(config.security.encryption.level, EncryptionLevel::Industrial);
    assert_eq!(config.security.key_management.provider, KeyProvider::Vault);
    assert_eq!(config.security.certificates.rotation_interval.as_secs(), 24 * 3600);
    let mqtt = &config.messaging.mqtt[0];
    assert_eq!((mqtt.qos, mqtt.client_id.as_str()), (1, "bifrost-gateway-{hostname}"));
    assert!(mqtt.tls.enabled && mqtt.tls.key_file.is_some());
    let nats = config.messaging.nats[0].clone();
    assert_eq!((nats.servers.len(), nats.jetstream.retention.as_secs()), (2, 7 * 24 * 3600));
    assert_eq!(config.industrial_security.compliance_mode, Some(ComplianceMode::Iec62443));
}

#[test]
fn the_environment_overrides_it() {
    let mut options = seed();
    options.env = vec![
        ("BIFROST_GATEWAY__PORT".to_owned(), "8081".to_owned()),
        ("BIFROST_MESSAGING__MQTT__BROKER".to_owned(), "tls://other:8883".to_owned()),
        ("BIFROST_MESSAGING__NATS__SERVERS".to_owned(), "[\"tls://a:1\"]".to_owned()),
    ];
    let config = load_with(&options).unwrap();
    assert_eq!(config.gateway.port, 8081);
    assert_eq!(
        (config.messaging.mqtt[0].broker.as_str(), config.messaging.mqtt[0].qos),
        ("tls://other:8883", 1)
    );
    assert_eq!(config.messaging.nats[0].clone().servers, ["tls://a:1"]);
}

#[test]
fn running_it_is_refused_with_every_key_that_this_version_cannot_honour() {
    let found = load_with(&LoadOptions::text("gateway.yaml", SEED)).unwrap_err();
    for key in [
        ":11: security.encryption.enabled: ",
        ":22: security.certificates.auto_rotate: ",
        ":26: security.key_management.provider: ",
        ":63: industrial_security.encrypt_tag_data: ",
        ":68: industrial_security.protocol_encryption.opcua: ",
    ] {
        assert!(found.iter().any(|line| line.contains(key)), "{key} is not in {found:#?}");
    }
}

#[test]
fn the_contracts_sample_is_read_too() {
    let config = load_with(&LoadOptions::text("gateway.yaml", CONTRACT).syntax_only()).unwrap();
    let tag = &config.devices[0].tags[0];
    assert_eq!((tag.address.as_str(), tag.scale, tag.deadband), ("40001", 0.1, Some(0.5)));
    assert_eq!(config.messaging.spool, bifrost_actors::spool::SpoolSettings::default());
    assert_ne!(config, Config::default());
}
