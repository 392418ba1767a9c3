//! What a changed file changes outside the devices.

use bifrost::config::{Config, check_devices};

use crate::load;

#[test]
fn equal_configurations_need_no_restart() {
    let text = "gateway: {port: 1}\ndevices: [{id: a, protocol: modbus-tcp, address: 192.0.2.1}]";
    let (old, new) = (load(text).unwrap(), load(text).unwrap());
    assert_eq!((Config::restart_needed(&old, &new), old == new), (Vec::new(), true));
}

#[test]
fn the_keys_that_need_a_restart_are_named_and_devices_are_not_among_them() {
    let old = load("gateway: {port: 1}\nlogging: {level: info}").unwrap();
    let new = load(
        "gateway: {port: 2, insecure_http: true, performance: {read_timeout: 5s}}
supervision: {router: {budget: 4}}
discovery: {allowed_ranges: [127.0.0.1]}
devices: [{id: a, protocol: modbus-tcp, address: 192.0.2.1}]",
    )
    .unwrap();
    let expected = [
        "discovery.allowed_ranges",
        "gateway.insecure_http",
        "gateway.performance.read_timeout",
        "gateway.port",
        "supervision.router.budget",
    ];
    assert_eq!(Config::restart_needed(&old, &new), expected);
    assert_eq!(Config::restart_needed(&new, &old), expected);
}

#[test]
fn devices_that_come_from_elsewhere_are_checked_as_those_of_the_file() {
    let text = "\
devices:
  - {id: a, protocol: modbus-tcp, address: 192.0.2.1, tags: [{id: t, address: \"40001\"}]}
  - {id: b, protocol: modbus-tcp, address: 192.0.2.1}
";
    let mut devices = load(text).unwrap().devices;
    assert_eq!(check_devices(&devices), []);
    devices[0].tags[0].address = "nowhere".to_owned();
    let twin = devices[0].tags[0].clone();
    devices[0].tags.push(twin);
    devices[1].pause_after_connect = std::time::Duration::from_secs(1);
    devices[1].tags_file = Some("tags.csv".into());
    let mut keys: Vec<_> = check_devices(&devices).into_iter().map(|problem| problem.key).collect();
    keys.sort();
    let expected = [
        "[0].tags[0].address",
        "[0].tags[1].address",
        "[0].tags[1].id",
        "[1].pause_after_connect",
        "[1].tags_file",
    ];
    assert_eq!(keys, expected);
}
