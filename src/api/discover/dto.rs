//! What discovery is asked, and what it answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{body::RequestBody, discover::AddressRange};

/// Where to look for Modbus/TCP servers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverRequest {
    /// `192.0.2.0/28`, `192.0.2.1-192.0.2.9` or one address; inside `discovery.allowed_ranges`.
    #[schema(value_type = String, example = "192.0.2.0/28")]
    pub range: AddressRange,
    /// TCP ports; absent: 502.
    #[serde(default = "modbus_port")]
    pub ports: Vec<u16>,
    /// Modbus units; absent: 1.
    #[serde(default = "first_unit")]
    pub unit_ids: Vec<u8>,
    /// How long a connection, and each answer, is waited for; absent: `discovery.timeout`.
    #[serde(default, with = "humantime_serde")]
    #[schema(value_type = Option<String>, example = "500ms")]
    pub timeout: Option<Duration>,
}

fn modbus_port() -> Vec<u16> {
    vec![502]
}

fn first_unit() -> Vec<u8> {
    vec![1]
}

impl RequestBody for DiscoverRequest {}

/// One unit that answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FoundDevice {
    /// `host:port`
    pub address: String,
    /// Modbus unit.
    pub unit_id: u8,
    /// By its own account (Modbus device identification).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// By its own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// By its own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// How long the answers took once connected, in milliseconds.
    pub response_time_ms: f64,
}

/// What a scan found.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiscoverAnswer {
    /// Units that answered, by address and unit.
    pub devices: Vec<FoundDevice>,
    /// Endpoints (address and port) that were looked at to the end.
    pub scanned: usize,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Whether everything asked for was looked at; `false` when `discovery.deadline` came first.
    pub complete: bool,
}
