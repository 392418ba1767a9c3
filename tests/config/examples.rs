//! The files that come with the gateway can be used as they are.

use std::path::{Path, PathBuf};

use bifrost::config::{Config, LoadOptions};

use crate::load_with;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn load(name: &str) -> Config {
    let options = LoadOptions { file: Some(shipped(name)), ..LoadOptions::default() };
    load_with(&options).unwrap_or_else(|found| panic!("{name}: {found:#?}"))
}

#[test]
fn the_documented_configuration_starts_a_gateway_with_nothing_but_defaults() {
    assert_eq!(load("gateway.yaml"), Config::default());
}

#[test]
fn the_examples_can_be_run() {
    let plant = load("examples/two-plcs/gateway.yaml");
    let counts: Vec<_> = plant.devices.iter().map(|device| (device.id.as_str(), device.tags.len())).collect();
    assert_eq!(counts, [("press-1", 4), ("furnace-1", 8)]);
    let line = load("examples/rtu-line/gateway.yaml");
    let units: Vec<_> = line.devices.iter().map(|device| device.unit_id).collect();
    assert_eq!((units, line.tag_count()), (vec![1, 2, 3], 6));
}
