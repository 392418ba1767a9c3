//! What is recorded: the fields that IEC 62443-4-2 CR 2.8 asks for.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What kind of thing happened, in the categories of IEC 62443-4-2 CR 2.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Log-ins, refusals, commands to devices, accounts, keys and certificates.
    AccessControl,
    /// Requests that can't be understood.
    RequestError,
    /// Start, stop, actors stopped by hand, clocks that jump.
    SystemEvent,
    /// Backup and restore.
    BackupRestore,
    /// What was changed, and how.
    Configuration,
    /// The trail itself.
    AuditLog,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is about to be done; another record says how it ended.
    Begun,
    /// It was done.
    Success,
    /// It was tried and didn't work.
    Failure,
    /// It wasn't allowed.
    Refused,
}

/// By which way it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// REST or the live feed.
    Rest,
    /// A broker's session, by its name.
    Mqtt(Arc<str>),
    /// The same.
    Nats(Arc<str>),
    /// The command line.
    Cli,
    /// The gateway itself.
    Gateway,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The account or token; `None`: nobody who is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Arc<str>>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// By which way.
    pub channel: Channel,
}

impl Source {
    /// The gateway itself.
    pub fn gateway() -> Self {
        Self { account: None, address: None, channel: Channel::Gateway }
    }
}

/// One thing that happened. Its number and its time are the trail's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub source: Source,
    /// In which category.
    pub category: Category,
    /// What, as programs see it: `login`, `tag_write`, `config_reload`, …
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// How it ended.
    pub result: Outcome,
    /// What it was done to: a device, an account, a path of the tree; empty: the gateway.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Particulars, by type. Never a secret.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// The request that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Entry {
    /// Something without an object and particulars.
    pub fn new(source: Source, category: Category, kind: &str, result: Outcome) -> Self {
        let (object, detail, request_id) = (String::new(), Value::Null, None);
        Self { source, category, kind: kind.into(), result, object, detail, request_id }
    }

    /// What it was done to.
    #[must_use]
    pub fn on(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// With particulars.
    #[must_use]
    pub fn with(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    /// In a request.
    #[must_use]
    pub fn in_request(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}
