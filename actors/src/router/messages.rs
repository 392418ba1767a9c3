//! What can be said to the router, and what it says to its subscribers.

use std::{collections::HashSet, sync::Arc};

use actix::{Message, Recipient};
use bifrost_model::{Alarm, DeviceTags, Event, Reading, Tag, TagBatch, Timestamp};
use thiserror::Error;

use crate::plc::DeviceStatus;

/// One scan was read; goes to every sink whose filter it passes.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Publish(pub Arc<TagBatch>);

/// These tags exist from now on, with quality BAD until they are read.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct RegisterDevice(pub Arc<DeviceTags>);

/// This device is gone, and its last values with it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ForgetDevice(pub Arc<str>);

/// Nobody reads this device any more, though it exists: its values are no longer confirmed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct LoseDevice(pub Arc<str>);

/// A device's status changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ReportStatus(pub Arc<DeviceStatus>);

/// Something happened.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct RecordEvent(pub Event);

/// An alarm was raised or cleared; repeating its state changes nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SetAlarm(pub Alarm);

/// Which kinds of news a subscriber wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent topics, four of them of the contract")]
pub struct Topics {
    /// `device_data`
    pub device_data: bool,
    /// `device_status`
    pub device_status: bool,
    /// `events`
    pub events: bool,
    /// `alarms`
    pub alarms: bool,
    /// Which devices there are, with their tags; no client can ask for these.
    pub descriptions: bool,
}

/// What passes to a subscriber; absent lists let everything pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Kinds of news.
    pub topics: Topics,
    /// Device ids.
    pub devices: Option<HashSet<Arc<str>>>,
    /// Tag ids; applied by the subscriber, the router passes whole batches.
    pub tags: Option<HashSet<Arc<str>>>,
    /// Whether last known values are left out of what was known before: for who passes each scan on once.
    pub news_only: bool,
}

impl Filter {
    /// Whether news of this device passes; the gateway's own (empty id) always do.
    pub fn passes_device(&self, device_id: &str) -> bool {
        device_id.is_empty() || self.devices.as_ref().is_none_or(|devices| devices.contains(device_id))
    }

    /// Whether this tag passes.
    pub fn passes_tag(&self, tag_id: &str) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.contains(tag_id))
    }
}

/// Names one subscriber.
pub type SubscriberId = u64;

/// Sends news from now on; the answer is what was known before. Same id: replaces the filter.
#[derive(Debug, Message)]
#[rtype(result = "Vec<News>")]
pub struct Subscribe {
    /// Chosen by the subscriber, unique in the process: see [`super::next_subscriber_id`].
    pub id: SubscriberId,
    /// Where news goes.
    pub to: Recipient<News>,
    /// Which.
    pub filter: Filter,
}

/// No more news.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Unsubscribe(pub SubscriberId);

/// One piece of news, shared by all subscribers.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum News {
    /// One scan of one device.
    Scan(Arc<TagBatch>),
    /// Last known values of one device: what a new subscriber starts from.
    LastKnown(Arc<Vec<LastTag>>),
    /// A device's status.
    Status(Arc<DeviceStatus>),
    /// Something happened.
    Event(Arc<Event>),
    /// An alarm came, went or was acknowledged.
    Alarm(Arc<Alarm>),
    /// This device exists, with these tags.
    Described(Arc<DeviceTags>),
    /// This device exists no more.
    Forgotten(Arc<str>),
    /// So many pieces didn't fit into the subscriber's mailbox; subscribing again brings the last values.
    Missed(u64),
}

/// The last known value of one tag.
#[derive(Debug, Clone)]
pub struct LastTag {
    /// The device, and what the reading's index means.
    pub device: Arc<DeviceTags>,
    /// Value and quality.
    pub reading: Reading,
    /// When it was read, or when the device was registered.
    pub timestamp: Timestamp,
    /// Its scan; `None` before the first.
    pub seq: Option<u64>,
}

impl LastTag {
    /// In the form that peers see.
    pub fn tag(&self) -> Option<Tag<'_>> {
        let info = self.device.get(self.reading.tag)?;
        let quality = (self.reading.quality, self.reading.reason);
        let device_id = self.device.device_id();
        Some(Tag::new(device_id, info, &self.reading.value, quality, self.timestamp, self.seq))
    }
}

/// Asks for last known values, in the order asked for or, for all, in configured order.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<LastTag>, Unknown>")]
pub struct ReadLast {
    /// Of which device.
    pub device_id: Arc<str>,
    /// Of which tags; `None` for all.
    pub tag_ids: Option<Vec<String>>,
}

/// Nothing of that name is registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unknown {
    /// No such device.
    #[error("no device {0:?} is known")]
    Device(String),
    /// No such tag of a device that exists.
    #[error("device {device:?} has no tag {tag:?}")]
    Tag {
        /// The device.
        device: String,
        /// What it doesn't have.
        tag: String,
    },
}

/// Asks for recorded events, newest first.
#[derive(Debug, Clone, Default, Message)]
#[rtype(result = "Vec<Numbered<Event>>")]
pub struct ListEvents {
    /// Only those with a smaller number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Only those of this device.
    pub device_id: Option<String>,
}

/// Something with its place in the order it was recorded in.
#[derive(Debug, Clone)]
pub struct Numbered<T> {
    /// Counts up by one since the gateway started.
    pub number: u64,
    /// What was recorded.
    pub item: Arc<T>,
}

/// Asks for alarms: the active ones and, bounded, cleared ones; newest first.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Arc<Alarm>>")]
pub struct ListAlarms {
    /// Without the cleared ones.
    pub active_only: bool,
}

/// Somebody has taken note; answers whether there was such an alarm.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct AcknowledgeAlarm(pub String);
