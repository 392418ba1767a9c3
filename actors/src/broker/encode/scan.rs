//! The values of one scan as messages: one for the device, or one for each tag.

use std::sync::Arc;

use bifrost_model::{Quality, Reading, TagBatch, TagClass, Timestamp};
use bytes::Bytes;

use super::{
    device::{Device, Form, Skeleton},
    json,
};
use crate::broker::{Kind, Outgoing};

/// Writes messages of values.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) retain: bool,
    /// Payloads are put together here, then copied out at their exact size: a spool full of them holds no
    /// byte too many.
    scratch: Vec<u8>,
    whole: Arc<str>,
}

/// The scan that values are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    /// Which part of it; see [`Outgoing::part`].
    pub(super) part: &'a str,
}

impl<'a> From<&'a TagBatch> for Scan<'a> {
    fn from(batch: &'a TagBatch) -> Self {
        Self { seq: batch.seq, at: batch.timestamp, part: "" }
    }
}

impl Writer {
    pub(super) fn new(retain: bool) -> Self {
        Self { retain, scratch: Vec::new(), whole: Arc::from("") }
    }

    /// Adds the messages of these values; answers how many values went in.
    pub(super) fn write<'a>(
        &mut self,
        device: &Device,
        scan: Scan<'_>,
        readings: impl Iterator<Item = &'a Reading> + Clone,
        out: &mut Vec<Outgoing>,
    ) -> u64 {
        let before = out.len();
        match &device.form {
            Form::None => {}
            Form::PerDevice(skeleton) => out.extend(self.whole(device, skeleton, scan, readings)),
            Form::PerTag(topics) => {
                out.extend(readings.filter_map(|reading| self.single(device, topics, scan, reading)));
            }
        }
        out.get(before..).unwrap_or_default().iter().map(|message| u64::from(message.values)).sum()
    }

    /// All values in one message.
    fn whole<'a>(
        &mut self,
        device: &Device,
        skeleton: &Skeleton,
        scan: Scan<'_>,
        readings: impl Iterator<Item = &'a Reading> + Clone,
    ) -> Option<Outgoing> {
        let (values, class) = compose(&mut self.scratch, skeleton, scan, readings);
        let part = if scan.part.is_empty() { Arc::clone(&self.whole) } else { Arc::from(scan.part) };
        (values > 0).then(|| self.outgoing(device, scan, &skeleton.topic, part, (values, class)))
    }

    /// One value in a message of its own: the tag's JSON.
    fn single(
        &mut self,
        device: &Device,
        topics: &[(Arc<str>, Arc<str>)],
        scan: Scan<'_>,
        reading: &Reading,
    ) -> Option<Outgoing> {
        let (info, (topic, part)) = (device.tags.get(reading.tag)?, topics.get(reading.tag as usize)?);
        let quality = (reading.quality, reading.reason);
        let id = device.tags.device_id();
        self.scratch.clear();
        json(
            &mut self.scratch,
            &bifrost_model::Tag::new(id, info, &reading.value, quality, scan.at, Some(scan.seq)),
        );
        Some(self.outgoing(device, scan, topic, Arc::clone(part), (1, info.class)))
    }

    fn outgoing(
        &self,
        device: &Device,
        scan: Scan<'_>,
        topic: &Arc<str>,
        part: Arc<str>,
        (values, class): (u32, TagClass),
    ) -> Outgoing {
        Outgoing {
            topic: Arc::clone(topic),
            payload: Bytes::copy_from_slice(&self.scratch),
            kind: Kind::Telemetry,
            class,
            retain: self.retain,
            device: Arc::clone(device.tags.device_id()),
            seq: scan.seq,
            values,
            part,
            made: scan.at,
            historical: false,
        }
    }
}

/// Puts a whole scan's payload together; answers how many values it has and their highest class.
fn compose<'a>(
    out: &mut Vec<u8>,
    skeleton: &Skeleton,
    scan: Scan<'_>,
    readings: impl Iterator<Item = &'a Reading> + Clone,
) -> (u32, TagClass) {
    out.clear();
    out.extend_from_slice(&skeleton.head);
    json(out, &scan.seq);
    out.extend_from_slice(br#","timestamp":"#);
    json(out, &scan.at);
    out.extend_from_slice(br#","values":{"#);
    let (mut values, mut class, mut all_good) = (0, TagClass::default(), true);
    for reading in readings.clone() {
        let Some(key) = skeleton.key(reading.tag, values == 0) else { continue };
        out.extend_from_slice(key);
        json(out, &reading.value);
        values += 1;
        all_good &= reading.quality == Quality::Good;
        class = class.max(skeleton.class(reading.tag));
    }
    out.push(b'}');
    if !all_good {
        qualities(out, skeleton, readings);
    }
    out.push(b'}');
    (values, class)
}

/// What isn't good, by tag.
fn qualities<'a>(out: &mut Vec<u8>, skeleton: &Skeleton, readings: impl Iterator<Item = &'a Reading>) {
    out.extend_from_slice(br#","quality":{"#);
    let mut first = true;
    for reading in readings.filter(|reading| reading.quality != Quality::Good) {
        let Some(key) = skeleton.key(reading.tag, first) else { continue };
        out.extend_from_slice(key);
        json(out, &reading.quality);
        first = false;
    }
    out.push(b'}');
}
