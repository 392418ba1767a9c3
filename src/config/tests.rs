//! `config/gateway.yaml` says what the code does: every key is in it, and every default is the real one.

use super::{
    Config, LoadOptions, decode,
    key::{KeyPath, Step},
    source::{self, Kind, Node},
};

const DOCUMENTED: &str = include_str!("../../config/gateway.yaml");

/// With every `#key: value` turned on, but for those that stand in another's place.
fn turned_on() -> String {
    let line = |line: &&str| !line.ends_with("# or this");
    turned_on_of(&DOCUMENTED.lines().filter(line).collect::<Vec<_>>())
}

fn turned_on_of(lines: &[&str]) -> String {
    let line = |line: &str| {
        let (before, after) = line.split_once('#').unwrap_or((line, ""));
        let is_setting = before.trim().is_empty() && after.starts_with(|c: char| !c.is_whitespace());
        if is_setting { format!("{before}{after}\n") } else { format!("{line}\n") }
    };
    lines.iter().copied().map(line).collect()
}

/// Every key that can be written, found by asking the types.
fn all_keys(path: &KeyPath, found: &mut Vec<KeyPath>) {
    let Some(keys) = decode::known_keys_at::<Config>(&path.0) else { return };
    for key in keys {
        let path = path.key(key);
        found.push(path.clone());
        all_keys(&path, found);
        all_keys(&path.join(&[Step::Index(0)]), found);
    }
}

fn at<'a>(tree: &'a Node, path: &KeyPath) -> Option<&'a Node> {
    path.0.iter().try_fold(tree, |node, step| match (step, &node.kind) {
        (Step::Key(key), _) => node.get(key).map(|entry| &entry.value),
        (Step::Index(index), Kind::List(nodes)) => nodes.get(*index),
        _ => None,
    })
}

#[test]
fn every_key_there_is_is_documented() {
    let everything = turned_on_of(&DOCUMENTED.lines().collect::<Vec<_>>());
    let tree = source::parse_value(&everything).expect("is YAML when turned on");
    let mut keys = Vec::new();
    all_keys(&KeyPath::default(), &mut keys);
    assert!(keys.len() > 150, "only {} keys were found", keys.len());
    // A broker stands there without a list, but may stand in one; its own spool has the keys of the common one.
    keys.retain(|key| {
        let key = key.to_string();
        let in_list = ["mqtt[0]", "nats[0]"].iter().any(|list| key.starts_with(&format!("messaging.{list}")));
        !in_list && !key.contains("mqtt.spool.") && !key.contains("nats.spool.")
    });
    // Keys that exclude others can't be turned on beside them.
    keys.retain(|key| key.name() != "swinging_door");
    let missing: Vec<_> =
        keys.iter().filter(|key| at(&tree, key).is_none()).map(ToString::to_string).collect();
    assert_eq!(missing, Vec::<String>::new(), "not in config/gateway.yaml");
}

#[test]
fn everything_documented_can_be_turned_on() {
    let options = LoadOptions::text("gateway.yaml", turned_on()).syntax_only();
    if let Err(problems) = Config::load(&options) {
        panic!("{problems:#?}");
    }
}

#[test]
fn every_default_that_is_documented_is_the_real_one() {
    let options = LoadOptions::text("gateway.yaml", turned_on()).syntax_only();
    let mut documented = Config::load(&options).unwrap();
    let default = Config::default();
    documented.gateway.id = default.gateway.id.clone();
    documented.gateway.tls = default.gateway.tls.clone();
    documented.security.certificates = super::CertificateSettings {
        ca_file: None,
        cert_file: None,
        key_file: None,
        issuer: None,
        ..documented.security.certificates
    };
    documented.security.key_management.vault_address = None;
    documented.security.bootstrap_password_file = None;
    let audit = &mut documented.security.audit;
    (audit.folder, audit.checkpoint_file, audit.max_age) = (None, None, None);
    documented.security.roles.clear();
    documented.industrial_security.compliance_mode = None;
    documented.messaging.mqtt.clear();
    documented.messaging.nats.clear();
    documented.devices.clear();
    assert_eq!(documented, default);
}

#[test]
fn the_defaults_of_optional_sections_are_the_real_ones_too() {
    let options = LoadOptions::text("gateway.yaml", turned_on()).syntax_only();
    let documented = Config::load(&options).unwrap();
    let text = "
messaging: {mqtt: {broker: \"tls://mqtt.example.com:8883\"}, nats: {servers: [\"tls://a:1\"]}}
devices: [{id: press-1, protocol: modbus-tcp, address: \"192.0.2.10:502\", tags: [{id: temperature, address: \"40001\"}]}]";
    let default = Config::load(&LoadOptions::text("gateway.yaml", text).syntax_only()).unwrap();
    let mut broker = documented.messaging.mqtt[0].clone();
    (broker.name, broker.username, broker.password_file) = Default::default();
    (broker.failover, broker.max_packet_size, broker.message_expiry) = Default::default();
    (broker.qos_by_class, broker.encrypt, broker.tls) = Default::default();
    (broker.filter, broker.downsample) = Default::default();
    (broker.diagnostics_interval, broker.spool) = Default::default();
    assert_eq!(broker, default.messaging.mqtt[0]);
    let mut nats = documented.messaging.nats[0].clone();
    nats.servers = vec!["tls://a:1".to_owned()];
    (nats.name, nats.username, nats.password_file) = Default::default();
    (nats.jetstream.stream, nats.jetstream.max_bytes) = Default::default();
    (nats.encrypt, nats.tls) = Default::default();
    (nats.filter, nats.downsample) = Default::default();
    (nats.diagnostics_interval, nats.spool) = Default::default();
    assert_eq!(nats, default.messaging.nats[0]);
    let mut device = documented.devices[0].clone();
    let expected = &default.devices[0];
    (device.name, device.tags_file, device.late_reply_wait) = (None, None, None);
    (device.stale_after, device.bad_after, device.plaintext) = (None, None, None);
    let mut tag = device.tags.remove(0);
    device.tags.clone_from(&expected.tags);
    assert_eq!(&device, expected);
    (tag.name, tag.data_type, tag.deadband, tag.poll_interval, tag.min, tag.max) = Default::default();
    (tag.description, tag.unit) = Default::default();
    assert_eq!(tag, expected.tags[0]);
}
