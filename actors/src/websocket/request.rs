//! What a client may say.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde::Deserialize;

use crate::router::{Filter, Topics};

/// A message from a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// Send these news from now on, instead of what was asked for before.
    Subscribe {
        topics: Vec<Topic>,
        #[serde(default)]
        devices: Option<Vec<Arc<str>>>,
        #[serde(default)]
        tags: Option<Vec<Arc<str>>>,
        #[serde(default)]
        max_rate_hz: Option<f64>,
        #[serde(default)]
        batch: bool,
    },
    /// Send nothing more.
    Unsubscribe,
    /// Answer, so that I know that you live.
    Ping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Topic {
    DeviceData,
    DeviceStatus,
    Events,
    Alarms,
}

/// A subscription, understood.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscription {
    pub(super) filter: Filter,
    /// Shortest time between two updates of one tag.
    pub(super) interval: Option<Duration>,
    /// Whether the tags of a device come together.
    pub(super) batch: bool,
}

/// What a client said, or a sentence on why it isn't understood.
pub(super) fn parse(text: &str) -> Result<Request, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("{error}; an example: {{\"type\":\"subscribe\",\"topics\":[\"device_data\"]}}")
    })
}

/// Makes a subscription of what was asked for.
pub(super) fn subscription(
    topics: &[Topic],
    devices: Option<Vec<Arc<str>>>,
    tags: Option<Vec<Arc<str>>>,
    max_rate_hz: Option<f64>,
    batch: bool,
) -> Result<Subscription, String> {
    if topics.is_empty() {
        return Err(
            "topics is empty; name at least one of device_data, device_status, events, alarms".to_owned()
        );
    }
    let interval = match max_rate_hz {
        None => None,
        Some(rate) if rate.is_finite() && (0.001..=1000.0).contains(&rate) => {
            Some(Duration::from_secs_f64(1.0 / rate))
        }
        Some(rate) => return Err(format!("max_rate_hz is {rate}; use 0.001 to 1000, or leave it out")),
    };
    let has = |topic| topics.contains(&topic);
    let topics = Topics {
        descriptions: false,
        device_data: has(Topic::DeviceData),
        device_status: has(Topic::DeviceStatus),
        events: has(Topic::Events),
        alarms: has(Topic::Alarms),
    };
    let set = |list: Option<Vec<Arc<str>>>| list.map(HashSet::from_iter);
    let filter = Filter { topics, devices: set(devices), tags: set(tags), news_only: false };
    Ok(Subscription { filter, interval, batch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_subscription_is_understood() {
        let text = r#"{"type":"subscribe","topics":["device_data","device_status","events","alarms"],
            "devices":["press-1"],"tags":["temperature"],"max_rate_hz":10,"batch":true}"#;
        let Ok(Request::Subscribe { topics, devices, tags, max_rate_hz, batch }) = parse(text) else {
            panic!("not understood");
        };
        let subscription = subscription(&topics, devices, tags, max_rate_hz, batch).unwrap();
        assert_eq!(subscription.interval, Some(Duration::from_millis(100)));
        assert!(subscription.batch && subscription.filter.topics.alarms);
        assert!(
            subscription.filter.passes_device("press-1") && !subscription.filter.passes_device("press-2")
        );
    }

    #[test]
    fn what_is_not_understood_is_answered_with_the_reason_and_an_example() {
        for text in ["", "{", "[]", r#"{"type":"dance"}"#, r#"{"type":"subscribe","topics":["x"]}"#] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("an example"), "{text}: {error}");
        }
    }

    #[test]
    fn a_rate_that_makes_no_sense_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(subscription(&[Topic::DeviceData], None, None, Some(rate), false).is_err(), "{rate}");
        }
        assert!(subscription(&[], None, None, None, false).is_err());
    }
}
