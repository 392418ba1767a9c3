//! Where discovery may look, and how hard.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AddressRange;

/// Where discovery may look, and how hard. Without allowed ranges it looks nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoverySettings {
    /// `192.0.2.0/28`, `192.0.2.1-192.0.2.9` or one address; a scan must lie in one of them.
    pub allowed_ranges: Vec<AddressRange>,
    /// Most addresses times ports times units in one scan.
    pub max_probes: usize,
    /// Connections that are tried at a time.
    pub concurrency: usize,
    /// How long a scan may take; what was found until then is told.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long a connection, and each answer, is waited for when the request says nothing.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self {
            allowed_ranges: Vec::new(),
            max_probes: 4096,
            concurrency: 64,
            deadline: Duration::from_secs(30),
            timeout: Duration::from_millis(500),
        }
    }
}

impl DiscoverySettings {
    /// Every key with a value that can't work, and why.
    pub fn validate(&self) -> Vec<(&'static str, &'static str)> {
        let checks = [
            ("max_probes", self.max_probes == 0, "must be at least 1"),
            ("concurrency", !(1..=1024).contains(&self.concurrency), "must be from 1 to 1024"),
            ("deadline", self.deadline.is_zero(), "must be more than zero, such as 30s"),
            ("timeout", self.timeout.is_zero(), "must be more than zero, such as 500ms"),
        ];
        checks.into_iter().filter(|(_, wrong, _)| *wrong).map(|(key, _, problem)| (key, problem)).collect()
    }

    /// Whether all of this range may be looked at.
    pub fn allows(&self, range: &AddressRange) -> bool {
        self.allowed_ranges.iter().any(|allowed| allowed.contains(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_unless_it_is_said() {
        let mut settings = DiscoverySettings::default();
        let loopback = "127.0.0.1".parse().unwrap();
        assert!(settings.validate().is_empty() && !settings.allows(&loopback));
        settings.allowed_ranges.push("127.0.0.0/8".parse().unwrap());
        assert!(settings.allows(&loopback));
    }

    #[test]
    fn every_value_that_cannot_work_is_named() {
        let settings =
            DiscoverySettings { concurrency: 5000, deadline: Duration::ZERO, ..Default::default() };
        let keys: Vec<_> = settings.validate().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["concurrency", "deadline"]);
    }
}
