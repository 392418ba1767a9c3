//! The difference between the devices that run and those that should.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use super::stored::StoredSettings;

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

    /// Devices that run now and not as they are.
    pub(super) fn ended(&self) -> impl Iterator<Item = &String> {
        self.removed.iter().chain(self.changed.iter().map(|change| &change.id))
    }

    /// Devices that don't run yet as they will.
    pub(super) fn began(&self) -> HashSet<&String> {
        self.added.iter().chain(self.changed.iter().map(|change| &change.id)).collect()
    }

    /// Compares what runs with what should; `actors` is left to who applies it.
    pub(super) fn between<'a>(
        running: &BTreeMap<String, StoredSettings>,
        wanted: impl Iterator<Item = (&'a String, &'a StoredSettings)>,
    ) -> Self {
        let mut changes = Self::default();
        let mut ids = HashSet::new();
        for (id, wanted) in wanted {
            ids.insert(id);
            match running.get(id) {
                None => changes.added.push(id.clone()),
                Some(running) if running == wanted => changes.unchanged += 1,
                Some(running) => {
                    let keys = different_keys(running, wanted);
                    changes.changed.push(Change { id: id.clone(), keys });
                }
            }
        }
        changes.removed = running.keys().filter(|id| !ids.contains(id)).cloned().collect();
        changes.added.sort_unstable();
        changes.changed.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        changes
    }
}

fn different_keys(running: &StoredSettings, wanted: &StoredSettings) -> Vec<String> {
    let (running, wanted) = (running.keys(), wanted.keys());
    let keys = running.keys().chain(wanted.keys()).filter(|key| running.get(*key) != wanted.get(*key));
    let keys: BTreeSet<_> = keys.cloned().collect();
    keys.into_iter().collect()
}
