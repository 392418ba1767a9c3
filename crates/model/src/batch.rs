//! What one scan of one device read.

use std::sync::Arc;

use crate::{DeviceTags, Quality, Reason, Tag, Timestamp, Value};

/// One tag's share of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which tag: an index into the batch's [`DeviceTags`].
    pub tag: u32,
    /// How far to trust it.
    pub quality: Quality,
    /// Why not further.
    pub reason: Reason,
    /// In engineering units; the last good one while quality is UNCERTAIN or STALE.
    pub value: Value,
}

/// What one scan of one device read: made once, shared behind an `Arc`, never copied.
#[derive(Debug)]
pub struct TagBatch {
    /// Whose tags, and what the indices mean.
    pub device: Arc<DeviceTags>,
    /// Counts published scans of the device up by one, also across restarts.
    pub seq: u64,
    /// When the last answer of the scan arrived.
    pub timestamp: Timestamp,
    /// What was read and, where a deadband is set, has moved.
    pub readings: Vec<Reading>,
}

impl TagBatch {
    /// The readings in the form that peers see, in the order they were read.
    pub fn tags(&self) -> impl Iterator<Item = Tag<'_>> {
        self.readings.iter().filter_map(|reading| self.tag(reading))
    }

    /// One reading in the form that peers see; `None` when it is of another device.
    pub fn tag<'a>(&'a self, reading: &'a Reading) -> Option<Tag<'a>> {
        let info = self.device.get(reading.tag)?;
        let quality = (reading.quality, reading.reason);
        Some(Tag::new(self.device.device_id(), info, &reading.value, quality, self.timestamp, Some(self.seq)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataType, TagClass, TagInfo};

    fn batch(quality: Quality, reason: Reason) -> TagBatch {
        let info = TagInfo {
            id: "temperature",
            name: "temperature",
            address: "40001",
            data_type: DataType::Float32,
            unit: "degC",
            description: "",
            writable: true,
            class: TagClass::Telemetry,
        };
        TagBatch {
            device: Arc::new(DeviceTags::new("press-1", "default", vec![info])),
            seq: 4711,
            timestamp: Timestamp::from_micros(1_769_860_800_123_456),
            readings: vec![Reading { tag: 0, quality, reason, value: Value::Float32(25.4) }],
        }
    }

    #[test]
    fn a_good_tag_is_the_contracts_json() {
        let batch = batch(Quality::Good, Reason::None);
        let json: Vec<_> = batch.tags().map(|tag| serde_json::to_string(&tag).unwrap()).collect();
        assert_eq!(
            json,
            [concat!(
                r#"{"id":"temperature","device_id":"press-1","name":"temperature","address":"40001","#,
                r#""data_type":"float32","value":25.4,"quality":"GOOD","timestamp":"2026-01-31T12:00:00.123456Z","#,
                r#""seq":4711,"unit":"degC","writable":true,"description":""}"#
            )]
        );
    }

    #[test]
    fn what_is_not_good_says_why() {
        let batch = batch(Quality::Bad, Reason::Refused(2));
        let json = serde_json::to_value(batch.tags().next().unwrap()).unwrap();
        assert_eq!(json["quality_reason"], "refused by the device with exception 02");
    }

    #[test]
    fn a_reading_of_an_unknown_tag_is_left_out() {
        let mut batch = batch(Quality::Good, Reason::None);
        batch.readings[0].tag = 9;
        assert_eq!(batch.tags().count(), 0);
    }

    #[test]
    fn a_reading_stays_small_because_a_scan_holds_a_thousand() {
        assert!(size_of::<Reading>() <= 40);
    }
}
