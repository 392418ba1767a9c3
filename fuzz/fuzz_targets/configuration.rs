//! No text makes the loader of configurations panic.
#![no_main]

use bifrost::config::{Config, LoadOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for name in ["gateway.yaml", "gateway.toml"] {
        let _ = Config::load(&LoadOptions::text(name, text).syntax_only());
    }
});
