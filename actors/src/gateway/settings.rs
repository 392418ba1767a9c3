//! What the running system needs to know beside its devices.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::brokers::BrokerSettings;
use crate::{
    audit::AuditSettings, certificate_rotator::RotatorSettings, dead_letters::DeadLetterSettings,
    supervision::SupervisionSettings,
};

/// Bounds of mailboxes, queues and stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Scans, statuses and events that wait for the router.
    pub router_mailbox: usize,
    /// Messages that wait for one device's actor.
    pub device_mailbox: usize,
    /// Requests that wait for one PLC connection.
    pub link_queue: usize,
    /// Commands of one device that wait or are carried out at a time; more are refused.
    pub device_writes: usize,
    /// Command ids remembered per device, so that none is carried out twice.
    pub command_ids: usize,
    /// Scans, events and alarms that wait for one broker's spool.
    pub broker_mailbox: usize,
    /// Pieces of news that wait for one WebSocket client's actor.
    pub websocket_mailbox: usize,
    /// Tag updates kept for a WebSocket client that reads too slowly, before only the newest per tag is kept.
    pub websocket_backlog: usize,
    /// Events kept in memory.
    pub events: usize,
    /// Cleared alarms kept in memory.
    pub cleared_alarms: usize,
    /// Sequence numbers reserved on disk at a time, per device.
    pub sequence_block: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            router_mailbox: 16_384,
            device_mailbox: 64,
            link_queue: 256,
            device_writes: 32,
            command_ids: 1024,
            broker_mailbox: 2048,
            websocket_mailbox: 1024,
            websocket_backlog: 4096,
            events: 1000,
            cleared_alarms: 200,
            sequence_block: 10_000,
        }
    }
}

impl LimitSettings {
    /// Every key with a value that can't work.
    pub fn validate(&self) -> Vec<(&'static str, &'static str)> {
        let bounds = [
            ("router_mailbox", self.router_mailbox),
            ("device_mailbox", self.device_mailbox),
            ("link_queue", self.link_queue),
            ("device_writes", self.device_writes),
            ("command_ids", self.command_ids),
            ("broker_mailbox", self.broker_mailbox),
            ("websocket_mailbox", self.websocket_mailbox),
            ("websocket_backlog", self.websocket_backlog),
            ("events", self.events),
        ];
        let mut problems: Vec<_> =
            bounds.into_iter().filter(|(_, n)| *n == 0).map(|(key, _)| (key, "must be at least 1")).collect();
        if self.sequence_block < 100 {
            problems
                .push(("sequence_block", "must be at least 100, or the disk is written for each few scans"));
        }
        problems
    }
}

/// What the running system needs to know beside its devices.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// This gateway's id.
    pub gateway_id: Arc<str>,
    /// Where it stands.
    pub site_id: Arc<str>,
    /// The machine's name.
    pub hostname: Arc<str>,
    /// How the audit trail is kept.
    pub audit: AuditSettings,
    /// What HTTPS shows, and who renews it.
    pub certificates: RotatorSettings,
    /// Where messages go, each with a name of its own.
    pub brokers: Vec<BrokerSettings>,
    /// Where state lives that must survive.
    pub data_dir: PathBuf,
    /// How children are restarted.
    pub supervision: SupervisionSettings,
    /// Bounds.
    pub limits: LimitSettings,
    /// How much is kept of what brokers refuse for good.
    pub dead_letters: DeadLetterSettings,
}

impl GatewaySettings {
    /// Where the audit trail is.
    pub fn audit_folder(&self) -> PathBuf {
        self.audit.folder.clone().unwrap_or_else(|| self.data_dir.join("audit"))
    }
}
