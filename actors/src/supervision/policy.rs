//! The one table that says how children are restarted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a child is; selects its row of the policy table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildKind {
    /// A node that only holds children.
    Branch,
    /// Reserves sequence numbers on disk.
    Sequence,
    /// Fans tags and events out.
    Router,
    /// One connection to a PLC, shared by the units behind it.
    PlcLink,
    /// One device: schedule, poll, write.
    PlcConnection,
    /// One WebSocket client; ends with its socket and is never rebuilt.
    WebsocketClient,
    /// What waits for one broker.
    Spool,
    /// One connection to an MQTT broker.
    MqttSession,
    /// One connection to a NATS cluster.
    NatsSession,
    /// What brokers refuse for good.
    DeadLetters,
    /// Remembers commands over restarts.
    CommandLedger,
    /// Records who did what.
    AuditTrail,
    /// Looks after certificates.
    CertificateRotator,
}

/// What happens when a child fails more often than its budget allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// The parent branch is restarted as a whole; beyond the root's budget the process ends.
    Escalate,
    /// The child is marked `failed`, an alarm is raised, and it is rebuilt only every `parked_retry`.
    Park,
}

/// How children of one kind are restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    /// Upper bound of the first delay; it doubles with each failure, and the delay is drawn evenly between
    /// zero and the bound (full jitter).
    #[serde(with = "humantime_serde")]
    pub initial_delay: Duration,
    /// The bound grows no further than this.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Failures within `window` that are borne …
    pub budget: u32,
    /// … before `beyond` applies.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// What happens then.
    pub beyond: Beyond,
    /// Pause between attempts at a parked child.
    #[serde(with = "humantime_serde")]
    pub parked_retry: Duration,
    /// Longest time that building a child may take.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
    /// Longest time a child may take to stop before it is dropped.
    #[serde(with = "humantime_serde")]
    pub stop_timeout: Duration,
}

/// The policy table: a row per kind of child, and the watchdog's times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionSettings {
    /// How often every child is asked whether it lives.
    #[serde(with = "humantime_serde")]
    pub watchdog_interval: Duration,
    /// How long it may take to answer.
    #[serde(with = "humantime_serde")]
    pub watchdog_limit: Duration,
    /// Branches, the root among them.
    pub branch: RestartPolicy,
    /// The sequence store.
    pub sequence: RestartPolicy,
    /// The router.
    pub router: RestartPolicy,
    /// Connections to PLCs.
    pub plc_link: RestartPolicy,
    /// Devices.
    pub plc_connection: RestartPolicy,
    /// Stores on disk: spools, dead letters, the ledger of commands.
    pub store: RestartPolicy,
    /// Connections to brokers.
    pub broker_session: RestartPolicy,
}

/// Failures beyond this are as good as none being borne, and the tree doesn't remember more.
pub(super) const MAX_BUDGET: u32 = 1000;

/// A row of the policy table that can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("supervision.{key}: {problem}")]
pub struct BadPolicy {
    /// Which key, below `supervision`.
    pub key: String,
    /// What is wrong with it, and what to do.
    pub problem: &'static str,
}

const CORE: RestartPolicy = RestartPolicy {
    initial_delay: Duration::from_millis(50),
    max_delay: Duration::from_secs(5),
    budget: 10,
    window: Duration::from_mins(1),
    beyond: Beyond::Escalate,
    parked_retry: Duration::from_secs(30),
    start_timeout: Duration::from_secs(10),
    stop_timeout: Duration::from_secs(5),
};

impl Default for SupervisionSettings {
    fn default() -> Self {
        Self {
            watchdog_interval: Duration::from_secs(5),
            watchdog_limit: Duration::from_secs(10),
            branch: RestartPolicy { budget: 3, window: Duration::from_mins(5), ..CORE },
            sequence: CORE,
            router: CORE,
            plc_link: RestartPolicy {
                initial_delay: Duration::from_millis(200),
                beyond: Beyond::Park,
                parked_retry: Duration::from_secs(10),
                start_timeout: Duration::from_secs(30),
                ..CORE
            },
            plc_connection: RestartPolicy {
                beyond: Beyond::Park,
                parked_retry: Duration::from_secs(10),
                ..CORE
            },
            store: RestartPolicy {
                beyond: Beyond::Park,
                parked_retry: Duration::from_secs(10),
                stop_timeout: Duration::from_secs(10),
                ..CORE
            },
            broker_session: RestartPolicy {
                initial_delay: Duration::from_millis(200),
                beyond: Beyond::Park,
                parked_retry: Duration::from_secs(10),
                start_timeout: Duration::from_mins(1),
                ..CORE
            },
        }
    }
}

impl SupervisionSettings {
    /// The row for a kind of child; a WebSocket client has none, since it is never rebuilt.
    pub fn policy(&self, kind: ChildKind) -> Option<&RestartPolicy> {
        match kind {
            ChildKind::Branch => Some(&self.branch),
            ChildKind::Sequence => Some(&self.sequence),
            ChildKind::Router => Some(&self.router),
            ChildKind::PlcLink => Some(&self.plc_link),
            ChildKind::PlcConnection => Some(&self.plc_connection),
            ChildKind::WebsocketClient => None,
            ChildKind::Spool
            | ChildKind::DeadLetters
            | ChildKind::CommandLedger
            | ChildKind::AuditTrail
            | ChildKind::CertificateRotator => Some(&self.store),
            ChildKind::MqttSession | ChildKind::NatsSession => Some(&self.broker_session),
        }
    }

    /// Every row that can't work.
    pub fn validate(&self) -> Vec<BadPolicy> {
        let rows = [
            ("branch", &self.branch),
            ("sequence", &self.sequence),
            ("router", &self.router),
            ("plc_link", &self.plc_link),
            ("plc_connection", &self.plc_connection),
            ("store", &self.store),
            ("broker_session", &self.broker_session),
        ];
        let mut problems: Vec<_> = rows.into_iter().flat_map(|(name, row)| row.problems(name)).collect();
        if self.watchdog_interval.is_zero() {
            problems.push(bad("watchdog_interval", "must be more than zero, such as 5s"));
        }
        if self.watchdog_limit.is_zero() {
            problems.push(bad("watchdog_limit", "must be more than zero, such as 10s"));
        }
        problems
    }
}

fn bad(key: impl Into<String>, problem: &'static str) -> BadPolicy {
    BadPolicy { key: key.into(), problem }
}

impl RestartPolicy {
    fn problems(&self, row: &str) -> Vec<BadPolicy> {
        let checks = [
            ("initial_delay", self.initial_delay.is_zero(), "must be more than zero, such as 200ms"),
            ("max_delay", self.max_delay < self.initial_delay, "must be at least initial_delay"),
            ("budget", !(1..=MAX_BUDGET).contains(&self.budget), "must be 1 to 1000"),
            ("window", self.window.is_zero(), "must be more than zero, such as 1m"),
            ("parked_retry", self.parked_retry.is_zero(), "must be more than zero, such as 10s"),
            ("start_timeout", self.start_timeout.is_zero(), "must be more than zero, such as 10s"),
            ("stop_timeout", self.stop_timeout.is_zero(), "must be more than zero, such as 5s"),
        ];
        let failed = checks.into_iter().filter(|(_, failed, _)| *failed);
        failed.map(|(key, _, problem)| bad(format!("{row}.{key}"), problem)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_a_valid_table() {
        assert_eq!(SupervisionSettings::default().validate(), []);
    }

    #[test]
    fn every_value_that_cannot_work_is_named() {
        let mut settings = SupervisionSettings { watchdog_limit: Duration::ZERO, ..Default::default() };
        settings.plc_link.max_delay = Duration::ZERO;
        settings.router.budget = 0;
        settings.branch.budget = MAX_BUDGET + 1;
        let keys: Vec<_> = settings.validate().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["branch.budget", "router.budget", "plc_link.max_delay", "watchdog_limit"]);
    }
}
