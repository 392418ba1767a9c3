//! The frames that clients get, as JSON.

use bifrost_model::{Alarm, Event, Tag};
use serde::Serialize;

use crate::{plc::DeviceStatus, router::News};

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Frame<'a> {
    TagUpdate {
        device_id: &'a str,
        tag: &'a Tag<'a>,
    },
    TagUpdates {
        device_id: &'a str,
        tags: &'a [Tag<'a>],
    },
    DeviceStatus(&'a DeviceStatus),
    Event(&'a Event),
    Alarm(&'a Alarm),
    /// So many updates were left out, because the client read too slowly.
    Lagged {
        skipped: u64,
    },
    Error {
        message: &'a str,
    },
    Pong,
}

impl Frame<'_> {
    /// As text. A frame that can't be written would be a defect; it is told as one.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|error| format!(r#"{{"type":"error","message":"{error}"}}"#))
    }
}

/// The frame of a piece of news that is no tag update.
pub(super) fn news(news: &News) -> Option<String> {
    match news {
        News::Status(status) => Some(Frame::DeviceStatus(status).text()),
        News::Event(event) => Some(Frame::Event(event).text()),
        News::Alarm(alarm) => Some(Frame::Alarm(alarm).text()),
        News::Scan(_) | News::LastKnown(_) | News::Missed(_) | News::Described(_) | News::Forgotten(_) => {
            None
        }
    }
}
