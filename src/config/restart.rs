//! What a changed configuration changes outside the devices.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Config;

impl Config {
    /// The keys outside `devices` whose values differ: they take effect when the process starts again.
    /// Devices are compared and applied by the gateway itself.
    pub fn restart_needed(old: &Self, new: &Self) -> Vec<String> {
        let mut keys = Vec::new();
        differences("", &without_devices(old), &without_devices(new), &mut keys);
        keys
    }
}

fn without_devices(config: &Config) -> Value {
    let config = Config { devices: Vec::new(), ..config.clone() };
    // Settings are plain data, which always has a JSON form.
    serde_json::to_value(config).unwrap_or(Value::Null)
}

fn differences(path: &str, old: &Value, new: &Value, keys: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let value = |object: &serde_json::Map<String, Value>| object.get(name).cloned();
                let nothing = Value::Null;
                let (before, after) = (value(before), value(after));
                differences(
                    &path,
                    before.as_ref().unwrap_or(&nothing),
                    after.as_ref().unwrap_or(&nothing),
                    keys,
                );
            }
        }
        _ if old != new => keys.push(path.to_owned()),
        _ => {}
    }
}
