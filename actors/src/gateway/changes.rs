//! The difference between the devices that run and those that should.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plc::DeviceSettings;

/// What applying a list of devices does, or did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Devices that come.
    pub added: Vec<String>,
    /// Devices that go.
    pub removed: Vec<String>,
    /// Devices that change, each with the keys that differ.
    pub changed: Vec<Change>,
    /// Devices that stay as they are, and aren't touched.
    pub unchanged: usize,
    /// Paths of the actors that are started, stopped or rebuilt.
    pub actors: Vec<String>,
}

/// One device that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which.
    pub id: String,
    /// Keys whose values differ.
    pub keys: Vec<String>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Compares; `actors` is left to who applies it.
    pub fn between(old: &BTreeMap<String, DeviceSettings>, new: &BTreeMap<String, DeviceSettings>) -> Self {
        let mut changes = Self::default();
        for (id, settings) in new {
            match old.get(id) {
                None => changes.added.push(id.clone()),
                Some(before) if before == settings => changes.unchanged += 1,
                Some(before) => {
                    let keys = different_keys(before, settings);
                    changes.changed.push(Change { id: id.clone(), keys });
                }
            }
        }
        changes.removed = old.keys().filter(|id| !new.contains_key(*id)).cloned().collect();
        changes
    }
}

fn different_keys(old: &DeviceSettings, new: &DeviceSettings) -> Vec<String> {
    let (Ok(serde_json::Value::Object(old)), Ok(serde_json::Value::Object(new))) =
        (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return Vec::new();
    };
    let mut keys: Vec<_> =
        old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().cloned().collect()
}
