//! From what the router tells to messages for one broker: chosen, thinned out, written as JSON.
//!
//! Each sink has an encoder of its own, since each has its own filter and topics. It knows neither the
//! broker nor what becomes of the messages.
//!
//! A scan becomes one message, `{"device_id","site_id","seq","timestamp","values":{tag:value,…},
//! "quality":{tag:"STALE",…}}`, or one for each tag with the tag's JSON. In the first form what is known of
//! the tags beside their values is told once, see [`Encoder::description`].

mod device;
mod news;
mod scan;

use std::{collections::HashMap, sync::Arc};

use bifrost_model::{DeviceTags, TagBatch};
use serde::Serialize;

use self::{
    device::Device,
    scan::{Scan, Writer},
};
use super::{
    DownsampleSettings, FilterSettings, Identity, Outgoing, Routes,
    downsample::{Point, Rules},
    select::Selection,
};

pub use news::{as_historical, status};

/// Makes the messages for one broker.
#[derive(Debug)]
pub struct Encoder {
    identity: Identity,
    routes: Arc<Routes>,
    selection: Selection,
    rules: Option<Rules>,
    writer: Writer,
    devices: HashMap<Arc<str>, Device>,
    /// What was held back of a device whose tags have changed.
    late: Vec<Outgoing>,
    counts: Counts,
}

/// How many values there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// That went into messages.
    pub passed: u64,
    /// That the filter kept back.
    pub filtered: u64,
    /// That downsampling left out for good.
    pub thinned_out: u64,
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.passed += more.passed;
        self.filtered += more.filtered;
        self.thinned_out += more.thinned_out;
    }
}

impl Encoder {
    /// For a broker with these topics.
    pub fn new(
        identity: Identity,
        routes: Arc<Routes>,
        filter: &FilterSettings,
        downsample: &DownsampleSettings,
        retain_telemetry: bool,
    ) -> Self {
        Self {
            identity,
            routes,
            selection: Selection::new(filter),
            rules: Rules::new(downsample),
            writer: Writer::new(retain_telemetry),
            devices: HashMap::new(),
            late: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Whether this set of tags is the one that was last seen of its device; if not, its
    /// [description](Self::description) is news.
    pub fn knows(&self, tags: &Arc<DeviceTags>) -> bool {
        self.devices.get(tags.device_id()).is_some_and(|device| Arc::ptr_eq(&device.tags, tags))
    }

    /// Whether anything of this device is published, as far as its tags were seen.
    pub fn publishes(&self, device_id: &str) -> bool {
        self.devices.get(device_id).is_some_and(Device::is_published)
    }

    /// Adds the messages of a scan, oldest first: before those of the scan itself, values of earlier scans
    /// that downsampling held back until now, with their own scan's number and time.
    pub fn scan(&mut self, batch: &TagBatch, out: &mut Vec<Outgoing>) {
        self.meet(&batch.device);
        out.append(&mut self.late);
        let Some(device) = self.devices.get_mut(batch.device.device_id()) else { return };
        let counts = match device.thinner {
            None => all(&mut self.writer, device, batch, out),
            Some(_) => thinned_out(&mut self.writer, device, batch, out),
        };
        self.counts.add(counts);
    }

    /// Adds everything that downsampling holds back, as is due when the gateway stops.
    pub fn flush(&mut self, out: &mut Vec<Outgoing>) {
        out.append(&mut self.late);
        for device in self.devices.values_mut() {
            self.counts.passed += let_go(&mut self.writer, device, out);
        }
    }

    /// Values so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Makes what a device's messages have in common, unless it is there.
    fn meet(&mut self, tags: &Arc<DeviceTags>) {
        if self.knows(tags) {
            return;
        }
        let device = Device::new(tags, &self.identity, &self.routes, &self.selection, self.rules);
        if let Some(mut earlier) = self.devices.insert(Arc::clone(tags.device_id()), device) {
            self.counts.passed += let_go(&mut self.writer, &mut earlier, &mut self.late);
        }
    }
}

/// Writes what passes the filter.
fn all(writer: &mut Writer, device: &Device, batch: &TagBatch, out: &mut Vec<Outgoing>) -> Counts {
    let passing = batch.readings.iter().filter(|reading| device.passing.passes(reading.tag));
    let passed = writer.write(device, Scan::from(batch), passing, out);
    Counts { passed, filtered: batch.readings.len() as u64 - passed, thinned_out: 0 }
}

/// Writes what passes the filter and isn't left out, and what was held back until now.
fn thinned_out(
    writer: &mut Writer,
    device: &mut Device,
    batch: &TagBatch,
    out: &mut Vec<Outgoing>,
) -> Counts {
    let (mut earlier, mut now) = (Vec::new(), Vec::with_capacity(batch.readings.len()));
    let mut counts = Counts::default();
    if let Some(thinner) = &mut device.thinner {
        for reading in &batch.readings {
            if !device.passing.passes(reading.tag) {
                counts.filtered += 1;
            } else if thinner.take(reading, batch.seq, batch.timestamp, &mut earlier) {
                now.push(reading);
            }
        }
        thinner.sweep(batch.timestamp, &mut earlier);
        counts.thinned_out = thinner.left_out();
    }
    counts.passed = release(writer, device, earlier, &batch.seq.to_string(), out);
    counts.passed += writer.write(device, Scan::from(batch), now.iter().copied(), out);
    counts
}

/// What is held back of a device, no scan being there that lets it go.
fn let_go(writer: &mut Writer, device: &mut Device, out: &mut Vec<Outgoing>) -> u64 {
    let mut points = Vec::new();
    if let Some(thinner) = &mut device.thinner {
        thinner.let_go(&mut points);
    }
    release(writer, device, points, "end", out)
}

/// Writes values of earlier scans, scan by scan. `part` tells their messages from the scan's own, which may
/// have been sent long ago.
fn release(
    writer: &mut Writer,
    device: &Device,
    mut points: Vec<Point>,
    part: &str,
    out: &mut Vec<Outgoing>,
) -> u64 {
    points.sort_by_key(|point| point.seq);
    let scans = points.chunk_by(|a, b| a.seq == b.seq);
    let written = scans.filter_map(|points| {
        let first = points.first()?;
        let scan = Scan { seq: first.seq, at: first.at, part };
        Some(writer.write(device, scan, points.iter().map(|point| &point.reading), out))
    });
    written.sum()
}

/// Adds a value's JSON. A vector takes everything and none of our types has keys that aren't texts, so that
/// nothing can fail; `null` would stand there if it did.
fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let begin = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(begin);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests;
