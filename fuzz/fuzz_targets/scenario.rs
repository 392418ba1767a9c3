//! No text makes the loader of scenarios panic.
#![no_main]

use bifrost_simulator::Scenario;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Scenario::from_yaml(text, "fuzz.yaml");
});
