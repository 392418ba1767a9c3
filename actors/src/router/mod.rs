//! Fans scans, statuses, events and alarms out to whoever subscribed, and keeps the last known values.
//!
//! The router alone owns what was last known, so a new subscriber gets a consistent start and then every
//! change after it. It never waits for a subscriber: each has a bounded mailbox of its own, and what doesn't
//! fit is that subscriber's to make up for.

mod actor;
mod alarms;
mod events;
mod last_values;
mod messages;
mod sink;

pub(crate) use actor::{Parts, spec};
pub use messages::{
    AcknowledgeAlarm, Filter, ForgetDevice, LastTag, ListAlarms, ListEvents, LoseDevice, News, Numbered,
    Publish, ReadLast, RecordEvent, RegisterDevice, ReportStatus, SetAlarm, Subscribe, SubscriberId, Topics,
    Unknown, Unsubscribe,
};
pub use sink::{EventSink, RouterPorts, next_subscriber_id};
