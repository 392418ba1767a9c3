//! The last known value of every tag.

use std::{collections::HashMap, num::NonZeroU64, sync::Arc};

use bifrost_model::{DeviceTags, Quality, Reading, Reason, TagBatch, Timestamp, Value};

use super::messages::{Filter, LastTag, Unknown};

/// Last known values by device and index of tag.
#[derive(Default)]
pub(super) struct LastValues(HashMap<Arc<str>, Device>);

struct Device {
    tags: Arc<DeviceTags>,
    last: Vec<Last>,
}

#[derive(Clone)]
struct Last {
    value: Value,
    quality: Quality,
    reason: Reason,
    timestamp: Timestamp,
    /// Numbers begin at 1.
    seq: Option<NonZeroU64>,
}

impl LastValues {
    /// A device whose tags are known, and not yet read. One that is known already, with the same tags,
    /// keeps its values.
    pub(super) fn register(&mut self, tags: Arc<DeviceTags>) {
        let known = self.0.get(tags.device_id()).is_some_and(|device| Arc::ptr_eq(&device.tags, &tags));
        if known {
            return;
        }
        let unread = Last {
            value: Value::Null,
            quality: Quality::Bad,
            reason: Reason::NotYetRead,
            timestamp: Timestamp::now(),
            seq: None,
        };
        let last = vec![unread; tags.len()];
        self.0.insert(Arc::clone(tags.device_id()), Device { tags, last });
    }

    /// Nobody confirms this device's values any more: what isn't BAD becomes STALE. Answers all of
    /// them if any did.
    pub(super) fn lose(&mut self, device_id: &str) -> Option<Arc<Vec<LastTag>>> {
        let device = self.0.get_mut(device_id)?;
        let stopped = (Quality::Stale, Reason::Stopped);
        let trusted =
            |last: &&mut Last| last.quality != Quality::Bad && (last.quality, last.reason) != stopped;
        let mut changed = false;
        for last in device.last.iter_mut().filter(trusted) {
            (last.quality, last.reason) = stopped;
            changed = true;
        }
        changed.then(|| Arc::new(device.all().collect()))
    }

    pub(super) fn forget(&mut self, device_id: &str) {
        self.0.remove(device_id);
    }

    /// The devices that are registered.
    pub(super) fn devices(&self) -> impl Iterator<Item = Arc<DeviceTags>> {
        self.0.values().map(|device| Arc::clone(&device.tags))
    }

    /// Keeps only devices that exist.
    pub(super) fn retain(&mut self, exists: impl Fn(&Arc<str>) -> bool) {
        self.0.retain(|id, _| exists(id));
    }

    /// Takes a scan in. What a device that was changed or removed meanwhile had under way is left out.
    pub(super) fn take(&mut self, batch: &TagBatch) -> bool {
        let Some(device) = self.0.get_mut(batch.device.device_id()) else { return false };
        if !Arc::ptr_eq(&device.tags, &batch.device) {
            return false;
        }
        for reading in &batch.readings {
            if let Some(last) = device.last.get_mut(reading.tag as usize) {
                last.value.clone_from(&reading.value);
                (last.quality, last.reason) = (reading.quality, reading.reason);
                (last.timestamp, last.seq) = (batch.timestamp, NonZeroU64::new(batch.seq));
            }
        }
        true
    }

    pub(super) fn read(&self, device_id: &str, tag_ids: Option<&[String]>) -> Result<Vec<LastTag>, Unknown> {
        let device = self.0.get(device_id).ok_or_else(|| Unknown::Device(device_id.to_owned()))?;
        let Some(tag_ids) = tag_ids else { return Ok(device.all().collect()) };
        let one = |id: &String| {
            let index = device.tags.index_of(id);
            index
                .and_then(|index| device.one(index))
                .ok_or_else(|| Unknown::Tag { device: device_id.to_owned(), tag: id.clone() })
        };
        tag_ids.iter().map(one).collect()
    }

    /// What a new subscriber starts from, device by device.
    pub(super) fn snapshot(&self, filter: &Filter) -> Vec<Arc<Vec<LastTag>>> {
        let devices = self.0.iter().filter(|(id, _)| filter.passes_device(id));
        let tags = devices.map(|(_, device)| {
            let passes = |tag: &LastTag| {
                device.tags.get(tag.reading.tag).is_some_and(|info| filter.passes_tag(info.id))
            };
            Arc::new(device.all().filter(passes).collect::<Vec<_>>())
        });
        tags.filter(|tags| !tags.is_empty()).collect()
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.values().map(|device| device.last.len()).sum())
    }
}

impl Device {
    fn all(&self) -> impl Iterator<Item = LastTag> {
        (0..).zip(&self.last).map(|(index, last)| self.join(index, last))
    }

    fn one(&self, index: u32) -> Option<LastTag> {
        self.last.get(index as usize).map(|last| self.join(index, last))
    }

    fn join(&self, tag: u32, last: &Last) -> LastTag {
        let reading = Reading { tag, quality: last.quality, reason: last.reason, value: last.value.clone() };
        LastTag {
            device: Arc::clone(&self.tags),
            reading,
            timestamp: last.timestamp,
            seq: last.seq.map(NonZeroU64::get),
        }
    }
}
