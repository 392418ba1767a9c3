//! What is known of a tag beside its value, and the JSON a peer sees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DataType, Quality, Reason, Timestamp, Value};

/// How much a tag matters to whoever carries it on, the least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagInfo<'a> {
    /// Unique within its device.
    pub id: &'a str,
    /// For people; the id when nothing else was given.
    pub name: &'a str,
    /// As configured.
    pub address: &'a str,
    /// As stored in the device.
    pub data_type: DataType,
    /// Engineering unit, empty when there is none.
    pub unit: &'a str,
    /// For people.
    pub description: &'a str,
    /// Whether a command may write it.
    pub writable: bool,
    /// How it is carried on.
    pub class: TagClass,
}

/// A device's tags in configured order: what the indices in a batch refer to.
///
/// A gateway holds a hundred thousand tags: their texts lie in one block, and a row says where.
#[derive(Debug)]
pub struct DeviceTags {
    device_id: Arc<str>,
    tenant: Arc<str>,
    texts: Box<str>,
    rows: Box<[Row]>,
    /// Indices in order of the ids.
    by_id: Box<[u32]>,
}

/// Texts stand one behind the other: id, name (if it isn't the id), address, unit, description.
#[derive(Debug)]
struct Row {
    begin: u32,
    /// Lengths in bytes.
    lengths: [u16; 5],
    data_type: DataType,
    class: TagClass,
    writable: bool,
}

impl DeviceTags {
    /// Of two tags with the same id either may be found by [`Self::index_of`]; configuration refuses that.
    /// Texts are cut at 65,535 bytes.
    pub fn new<'a>(
        device_id: impl Into<Arc<str>>,
        tenant: impl Into<Arc<str>>,
        tags: impl IntoIterator<Item = TagInfo<'a>>,
    ) -> Self {
        let mut texts = String::new();
        let rows: Vec<_> = tags.into_iter().map(|tag| Row::new(&tag, &mut texts)).collect();
        let (device_id, tenant) = (device_id.into(), tenant.into());
        let mut this =
            Self { device_id, tenant, texts: texts.into(), rows: rows.into(), by_id: Box::default() };
        let mut by_id: Vec<_> = (0..).take(this.rows.len()).collect();
        by_id.sort_by_key(|index| this.get(*index).map(|tag| tag.id));
        this.by_id = by_id.into();
        this
    }

    /// The device's id.
    pub fn device_id(&self) -> &Arc<str> {
        &self.device_id
    }

    /// Whose device it is.
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// How many tags there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All tags, in configured order.
    pub fn iter(&self) -> impl Iterator<Item = TagInfo<'_>> {
        self.rows.iter().map(|row| row.view(&self.texts))
    }

    /// The tag at an index of this device.
    pub fn get(&self, index: u32) -> Option<TagInfo<'_>> {
        self.rows.get(index as usize).map(|row| row.view(&self.texts))
    }

    /// Where the tag with this id stands.
    pub fn index_of(&self, tag_id: &str) -> Option<u32> {
        let found =
            self.by_id.binary_search_by_key(&Some(tag_id), |index| self.get(*index).map(|tag| tag.id));
        found.ok().and_then(|place| self.by_id.get(place)).copied()
    }
}

impl Row {
    fn new(tag: &TagInfo<'_>, texts: &mut String) -> Self {
        let begin = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        let name = if tag.name == tag.id { "" } else { tag.name };
        let lengths = [tag.id, name, tag.address, tag.unit, tag.description].map(|text| {
            let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
            texts.push_str(text);
            u16::try_from(text.len()).unwrap_or(u16::MAX)
        });
        Self { begin, lengths, data_type: tag.data_type, class: tag.class, writable: tag.writable }
    }

    fn view<'a>(&self, texts: &'a str) -> TagInfo<'a> {
        let mut at = self.begin as usize;
        let [id, name, address, unit, description] = self.lengths.map(|length| {
            let begin = at;
            at += usize::from(length);
            texts.get(begin..at).unwrap_or_default()
        });
        TagInfo {
            id,
            name: if name.is_empty() { id } else { name },
            address,
            data_type: self.data_type,
            unit,
            description,
            writable: self.writable,
            class: self.class,
        }
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
        info: TagInfo<'a>,
        value: &'a Value,
        (quality, reason): (Quality, Reason),
        timestamp: Timestamp,
        seq: Option<u64>,
    ) -> Self {
        Self {
            id: info.id,
            device_id,
            name: info.name,
            address: info.address,
            data_type: info.data_type,
            value,
            quality,
            quality_reason: reason,
            timestamp,
            seq,
            unit: info.unit,
            writable: info.writable,
            description: info.description,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn info<'a>(id: &'a str, name: &'a str, unit: &'a str) -> TagInfo<'a> {
        TagInfo {
            id,
            name,
            address: "40001",
            data_type: DataType::Uint16,
            unit,
            description: "",
            writable: id == "b",
            class: TagClass::Status,
        }
    }

    #[test]
    fn every_tag_is_given_back_as_it_was_put_in() {
        let infos = [info("b", "b", "°C"), info("ä", "Länge", ""), info("a", "a", "mm")];
        let tags = DeviceTags::new("press-1", "default", infos);
        assert_eq!(tags.iter().collect::<Vec<_>>(), infos);
        assert_eq!(
            (0..4).map(|index| tags.get(index)).collect::<Vec<_>>(),
            [Some(infos[0]), Some(infos[1]), Some(infos[2]), None]
        );
        assert_eq!(["a", "b", "ä", "c"].map(|id| tags.index_of(id)), [Some(2), Some(0), Some(1), None]);
    }

    #[test]
    fn a_text_that_is_far_too_long_is_cut_between_two_characters() {
        let long = "ä".repeat(40_000);
        let tags = DeviceTags::new("press-1", "default", [info("a", "a", &long), info("b", "b", "x")]);
        assert_eq!(tags.get(0).map(|tag| tag.unit.chars().count()), Some(32_767));
        assert_eq!(tags.get(1).map(|tag| tag.unit), Some("x"));
    }

    #[test]
    fn a_tag_takes_few_bytes_because_a_gateway_holds_a_hundred_thousand() {
        assert!(size_of::<Row>() <= 24);
    }
}
