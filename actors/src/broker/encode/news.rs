//! Messages of everything but values: events, alarms, descriptions, figures, and whether the gateway is there.

use std::{borrow::Cow, sync::Arc};

use bifrost_model::{Alarm, DataType, DeviceTags, Event, Severity, TagClass, TagInfo, Timestamp};
use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value as Json;

use super::{Encoder, device::Device, json};
use crate::broker::{Class, Identity, Kind, Outgoing, Routes};

/// The type of event under which a device's tags are described.
const TAGS: &str = "tags";
/// The type of event under which the gateway says whether it is there.
const STATUS: &str = "status";
/// The type of event that is a command's answer, where nobody named a better place for it.
const COMMAND_RESULT: &str = "command_result";
/// The same of a read.
const READ_RESULT: &str = "read_result";
/// Where an event's particulars name devices: scans that were lost, each with its `device_id`.
const RANGES: &str = "ranges";

impl Encoder {
    /// Whether news of a device passes the filter; where its tenant isn't given, the one that was last seen
    /// of it counts. The gateway's own news (empty id) always pass.
    pub fn passes_device(&self, device_id: &str, tenant: Option<&str>) -> bool {
        let known = || self.devices.get(device_id).map(|device| &**device.tags.tenant());
        self.selection.passes_device(device_id, tenant.or_else(known))
    }

    /// An event's JSON; a command's result has its particulars beside the event's own members, so that whoever
    /// waits for it reads it like an answer. `None`: filtered out.
    pub fn event(&self, event: &Event) -> Option<Outgoing> {
        self.passes_device(&event.device_id, None).then(|| {
            let mut payload = Vec::new();
            json(&mut payload, &*self.without_others(event));
            if matches!(event.event_type, COMMAND_RESULT | READ_RESULT) {
                lift(&mut payload, &event.data);
            }
            let topic = self.routes.event(&event.device_id, event.event_type);
            let message = message(topic, payload, Kind::Event, &event.device_id, event.timestamp);
            Outgoing { class: class(event.severity), ..message }
        })
    }

    /// An event of the gateway itself may tell of many devices; those that don't pass aren't named.
    fn without_others<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        let passes =
            |entry: &Json| entry["device_id"].as_str().is_none_or(|device| self.passes_device(device, None));
        let ranges = event.data.get(RANGES).and_then(Json::as_array).filter(|_| event.device_id.is_empty());
        match ranges {
            Some(ranges) if !ranges.iter().all(passes) => {
                let mut event = event.clone();
                event.data[RANGES] = ranges.iter().filter(|entry| passes(entry)).cloned().collect();
                Cow::Owned(event)
            }
            _ => Cow::Borrowed(event),
        }
    }

    /// An alarm's JSON, on the level of its severity. `None`: filtered out.
    pub fn alarm(&self, alarm: &Alarm) -> Option<Outgoing> {
        self.passes_device(&alarm.device_id, None).then(|| {
            let mut payload = Vec::new();
            json(&mut payload, alarm);
            let level = serde_json::to_value(alarm.severity).unwrap_or_default();
            let topic = self.routes.alarm(&alarm.device_id, level.as_str().unwrap_or_default());
            let message = message(topic, payload, Kind::Alarm, &alarm.device_id, alarm.timestamp);
            Outgoing { class: class(alarm.severity), ..message }
        })
    }

    /// What is known of a device's tags beside their values, retained on the event topic `tags`:
    /// `{"device_id","site_id","gateway_id","timestamp","tags":{tag_id:{"name","address","data_type","unit",
    /// "writable","description","class"},…}}`, in configured order and without the tags that the filter keeps
    /// back. `None` when it keeps back all; but if there were some before, what clears their description.
    pub fn description(&mut self, tags: &Arc<DeviceTags>) -> Option<Outgoing> {
        let is_published = |this: &Self| this.devices.get(tags.device_id()).is_some_and(Device::is_published);
        let before = is_published(self);
        self.meet(tags);
        match (before, is_published(self)) {
            (_, true) => Some(self.describe(tags)),
            (true, false) => Some(self.cleared(tags.device_id())),
            (false, false) => None,
        }
    }

    /// A device is gone: what clears its description at the broker, if there can be one.
    pub fn forget(&mut self, device_id: &str) -> Option<Outgoing> {
        let had_one = match self.devices.remove(device_id) {
            Some(device) => device.is_published(),
            // Perhaps it was described before this encoder was made; clearing what isn't there harms nobody.
            None => self.passes_device(device_id, None),
        };
        had_one.then(|| self.cleared(&Arc::from(device_id)))
    }

    /// One figure of a device or, for the empty id, of the gateway:
    /// `{"device_id","site_id","gateway_id","timestamp","metric","value"}`. `None`: filtered out.
    pub fn diagnostics(
        &self,
        device_id: &Arc<str>,
        metric: &str,
        value: &impl Serialize,
    ) -> Option<Outgoing> {
        self.passes_device(device_id, None).then(|| {
            let (mut payload, now) = (Vec::new(), Timestamp::now());
            let Identity { gateway_id, site_id, .. } = &self.identity;
            json(&mut payload, &Figure { device_id, site_id, gateway_id, timestamp: now, metric, value });
            let topic = self.routes.diagnostics(device_id, metric);
            let message = message(topic, payload, Kind::Diagnostics, device_id, now);
            Outgoing { class: Class::Telemetry, ..message }
        })
    }

    fn describe(&self, tags: &Arc<DeviceTags>) -> Outgoing {
        let (mut payload, now) = (Vec::new(), Timestamp::now());
        let Identity { gateway_id, site_id, .. } = &self.identity;
        let device_id = tags.device_id();
        let described = Described { tags, encoder: self };
        json(&mut payload, &Description { device_id, site_id, gateway_id, timestamp: now, tags: described });
        let topic = self.routes.event(device_id, TAGS);
        retained(message(topic, payload, Kind::Description, device_id, now))
    }

    /// An empty retained message takes back the one before.
    fn cleared(&self, device_id: &Arc<str>) -> Outgoing {
        let topic = self.routes.event(device_id, TAGS);
        retained(message(topic, Vec::new(), Kind::Description, device_id, Timestamp::now()))
    }
}

fn retained(message: Outgoing) -> Outgoing {
    Outgoing { retain: true, ..message }
}

/// Whether the gateway is there, retained: `{"gateway_id","site_id","online","timestamp","version"}`, the
/// version left out where none is given. The will says `false`, with the time at which it was made.
pub fn status(identity: &Identity, routes: &Routes, online: bool, version: Option<&str>) -> Outgoing {
    let (mut payload, now) = (Vec::new(), Timestamp::now());
    let Identity { gateway_id, site_id, .. } = identity;
    json(&mut payload, &Presence { gateway_id, site_id, online, timestamp: now, version });
    retained(message(routes.event("", STATUS), payload, Kind::Description, &Arc::from(""), now))
}

/// Adds `"is_historical":true` as the last member of an object; what is none stays as it is.
pub fn as_historical(payload: &Bytes) -> Bytes {
    let Some(inner) = payload.trim_ascii().strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")) else {
        return payload.clone();
    };
    let inner = inner.trim_ascii();
    let comma: &[u8] = if inner.is_empty() { b"" } else { b"," };
    [b"{", inner, comma, br#""is_historical":true}"#].concat().into()
}

/// A message that matters like a state.
fn message(topic: String, payload: Vec<u8>, kind: Kind, device: &Arc<str>, made: Timestamp) -> Outgoing {
    // Two of the same moment differ in what they say.
    let part = format!("{:08x}", crc32fast::hash(&payload));
    Outgoing {
        topic: topic.into(),
        payload: payload.into_boxed_slice().into(),
        kind,
        class: Class::Status,
        retain: false,
        device: Arc::clone(device),
        seq: 0,
        values: 0,
        part: part.into(),
        made,
        historical: false,
    }
}

fn class(severity: Severity) -> Class {
    if severity == Severity::Critical { Class::Critical } else { Class::Status }
}

/// Repeats an event's particulars beside its own members, but for those that have the name of one.
fn lift(payload: &mut Vec<u8>, data: &serde_json::Value) {
    const OWN: [&str; 6] = ["device_id", "event_type", "severity", "timestamp", "message", "data"];
    let Some(data) = data.as_object() else { return };
    payload.pop();
    for (name, value) in data.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        payload.push(b',');
        json(payload, name);
        payload.push(b':');
        json(payload, value);
    }
    payload.push(b'}');
}

#[derive(Serialize)]
struct Presence<'a> {
    gateway_id: &'a str,
    site_id: &'a str,
    online: bool,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

#[derive(Serialize)]
struct Figure<'a, T: Serialize> {
    device_id: &'a str,
    site_id: &'a str,
    gateway_id: &'a str,
    timestamp: Timestamp,
    metric: &'a str,
    value: &'a T,
}

#[derive(Serialize)]
struct Description<'a> {
    device_id: &'a str,
    site_id: &'a str,
    gateway_id: &'a str,
    timestamp: Timestamp,
    tags: Described<'a>,
}

/// The tags that pass, by id.
struct Described<'a> {
    tags: &'a DeviceTags,
    encoder: &'a Encoder,
}

#[derive(Serialize)]
struct DescribedTag<'a> {
    name: &'a str,
    address: &'a str,
    data_type: DataType,
    unit: &'a str,
    writable: bool,
    description: &'a str,
    class: TagClass,
}

impl Serialize for Described<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let device = self.encoder.devices.get(self.tags.device_id());
        let passes = |tag| device.is_some_and(|device| device.passing.passes(tag));
        let mut map = serializer.serialize_map(None)?;
        for (_, tag) in (0..).zip(self.tags.iter()).filter(|(index, _)| passes(*index)) {
            map.serialize_entry(tag.id, &DescribedTag::from(tag))?;
        }
        map.end()
    }
}

impl<'a> From<TagInfo<'a>> for DescribedTag<'a> {
    fn from(tag: TagInfo<'a>) -> Self {
        let TagInfo { name, address, data_type, unit, writable, description, class, .. } = tag;
        Self { name, address, data_type, unit, writable, description, class }
    }
}
