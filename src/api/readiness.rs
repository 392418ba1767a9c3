//! Whether the gateway is ready, and what it waits for.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// What the gateway waits for, by name. Shared by everybody who has something to wait for.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<RwLock<BTreeMap<&'static str, String>>>);

impl Readiness {
    /// Not ready for this reason, until [`Self::done`] is called with the same name.
    pub fn waits_for(&self, name: &'static str, reason: impl Into<String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, reason.into());
    }

    /// This is no longer waited for.
    pub fn done(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// All that is waited for; ready when there is nothing.
    pub fn reasons(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_waits_for_nothing() {
        let readiness = Readiness::default();
        readiness.waits_for("configuration", "not applied yet");
        readiness.waits_for("configuration", "invalid");
        assert_eq!(readiness.clone().reasons(), ["invalid"]);
        readiness.done("configuration");
        assert!(readiness.reasons().is_empty());
    }
}
