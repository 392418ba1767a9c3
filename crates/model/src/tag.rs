//! What is known of a tag beside its value, and the JSON a peer sees.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{DataType, Quality, Reason, Timestamp, Value};

/// How much a tag matters to whoever carries it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagClass {
    /// Readings that come again (`QoS` 0).
    #[default]
    Telemetry,
    /// States that must arrive (`QoS` 1).
    Status,
    /// What must arrive exactly once (`QoS` 2).
    Critical,
}

/// What doesn't change from scan to scan.
#[derive(Debug, Clone, PartialEq)]
pub struct TagInfo {
    /// Unique within its device.
    pub id: Arc<str>,
    /// For people; the id when nothing else was given.
    pub name: Arc<str>,
    /// As configured.
    pub address: Arc<str>,
    /// As stored in the device.
    pub data_type: DataType,
    /// Engineering unit, empty when there is none.
    pub unit: Arc<str>,
    /// For people.
    pub description: Arc<str>,
    /// Whether a command may write it.
    pub writable: bool,
    /// How it is carried on.
    pub class: TagClass,
}

/// A device's tags in configured order: what the indices in a batch refer to.
#[derive(Debug)]
pub struct DeviceTags {
    device_id: Arc<str>,
    tenant: Arc<str>,
    tags: Vec<TagInfo>,
    by_id: HashMap<Arc<str>, u32>,
}

impl DeviceTags {
    /// Of two tags with the same id the later one is found by [`Self::index_of`]; configuration refuses that.
    pub fn new(device_id: impl Into<Arc<str>>, tenant: impl Into<Arc<str>>, tags: Vec<TagInfo>) -> Self {
        let by_id = (0..).zip(&tags).map(|(index, tag)| (Arc::clone(&tag.id), index)).collect();
        Self { device_id: device_id.into(), tenant: tenant.into(), tags, by_id }
    }

    /// The device's id.
    pub fn device_id(&self) -> &Arc<str> {
        &self.device_id
    }

    /// Whose device it is.
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// All tags, in configured order.
    pub fn tags(&self) -> &[TagInfo] {
        &self.tags
    }

    /// The tag at an index of this device.
    pub fn get(&self, index: u32) -> Option<&TagInfo> {
        self.tags.get(index as usize)
    }

    /// Where the tag with this id stands.
    pub fn index_of(&self, tag_id: &str) -> Option<u32> {
        self.by_id.get(tag_id).copied()
    }
}

/// A tag with its value: the JSON of the contract.
#[derive(Debug, Clone, Serialize)]
pub struct Tag<'a> {
    /// Unique within its device.
    pub id: &'a str,
    /// The device it belongs to.
    pub device_id: &'a str,
    /// For people.
    pub name: &'a str,
    /// As configured.
    pub address: &'a str,
    /// As stored in the device.
    pub data_type: DataType,
    /// Null when there is none.
    pub value: &'a Value,
    /// How far to trust it.
    pub quality: Quality,
    /// Why it isn't GOOD; left out when it is.
    #[serde(skip_serializing_if = "is_none", serialize_with = "as_text")]
    pub quality_reason: Reason,
    /// When it was read.
    pub timestamp: Timestamp,
    /// The scan it belongs to; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Engineering unit.
    pub unit: &'a str,
    /// Whether a command may write it.
    pub writable: bool,
    /// For people.
    pub description: &'a str,
}

impl<'a> Tag<'a> {
    /// Joins what is known of a tag with what was read.
    pub fn new(
        device_id: &'a str,
        info: &'a TagInfo,
        value: &'a Value,
        (quality, reason): (Quality, Reason),
        timestamp: Timestamp,
        seq: Option<u64>,
    ) -> Self {
        Self {
            id: &info.id,
            device_id,
            name: &info.name,
            address: &info.address,
            data_type: info.data_type,
            value,
            quality,
            quality_reason: reason,
            timestamp,
            seq,
            unit: &info.unit,
            writable: info.writable,
            description: &info.description,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_none(reason: &Reason) -> bool {
    matches!(reason, Reason::None)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_text<S: serde::Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}
