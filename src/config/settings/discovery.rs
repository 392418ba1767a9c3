//! `discovery`: where, and how hard, devices may be searched for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cidr, Flaw, flaw, zero_durations, zero_numbers};

/// The section `discovery`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoverySettings {
    /// Ranges that may be searched; none: discovery is off.
    pub allowed_ranges: Vec<Cidr>,
    /// TCP ports that may be tried.
    pub ports: Vec<u16>,
    /// Connections tried at a time.
    pub max_concurrency: usize,
    /// How long one address may take to answer.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long a search may take.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Most addresses in one search.
    pub max_addresses: usize,
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self {
            allowed_ranges: Vec::new(),
            ports: vec![502],
            max_concurrency: 64,
            connect_timeout: Duration::from_millis(500),
            deadline: Duration::from_secs(30),
            max_addresses: 4096,
        }
    }
}

impl DiscoverySettings {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let mut flaws =
            zero_numbers([("max_concurrency", self.max_concurrency), ("max_addresses", self.max_addresses)]);
        flaws
            .extend(zero_durations([("connect_timeout", self.connect_timeout), ("deadline", self.deadline)]));
        if self.ports.is_empty() {
            flaws.push(flaw("ports", "is empty; write [502]"));
        }
        let zeros = self.ports.iter().enumerate().filter(|(_, port)| **port == 0);
        flaws.extend(zeros.map(|(n, _)| flaw(format!("ports[{n}]"), "is 0; a port goes from 1 to 65535")));
        flaws
    }
}
