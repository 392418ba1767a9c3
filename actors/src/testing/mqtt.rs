//! A session with an MQTT broker, without the gateway around it.

use std::sync::Arc;

use bifrost_model::{TagClass, Timestamp};
use bytes::Bytes;

use crate::{
    broker::{Answering, CommandRoutes, Identity, Kind, Outgoing, SpoolPorts},
    mqtt::{self, MqttCounters, MqttSettings},
    router::EventSink,
    supervision::{ChildSpec, Placement, Slot},
};

/// What a session under test is made of.
pub struct MqttParts {
    /// What the configuration says.
    pub settings: MqttSettings,
    /// Where its spool is.
    pub spool: Slot<SpoolPorts>,
    /// Who answers requests.
    pub answering: Answering,
    /// Where events go.
    pub events: EventSink,
}

/// The topic of the gateway's status.
pub const STATUS_TOPIC: &str = "bifrost/events/site/gateway/status";

/// How to build a session named `mqtt` of the gateway `gw` on the site `site`. It subscribes to
/// `bifrost/commands/site/+/+`.
pub fn mqtt_session(parts: MqttParts, placement: Placement) -> ChildSpec {
    let parts = mqtt::Parts {
        name: "mqtt".into(),
        settings: Arc::new(parts.settings),
        identity: Identity { gateway_id: "gw".into(), site_id: "site".into(), hostname: "host".into() },
        spool: parts.spool,
        answering: parts.answering,
        routes: Arc::new(Routes),
        birth: Arc::new(status),
        events: parts.events,
        counters: Arc::new(MqttCounters::default()),
    };
    mqtt::spec(parts, placement)
}

/// A message of a class for a topic.
pub fn outgoing(topic: &str, class: TagClass, payload: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        payload: payload.into(),
        kind: Kind::Telemetry,
        class,
        retain: false,
        device: "press".into(),
        seq: 1,
        values: 1,
        part: "".into(),
        made: Timestamp::now(),
        historical: false,
    }
}

fn status(online: bool) -> Outgoing {
    let text = if online { r#"{"status":"online"}"# } else { r#"{"status":"offline"}"# };
    Outgoing { kind: Kind::Description, retain: true, ..outgoing(STATUS_TOPIC, TagClass::Status, text) }
}

struct Routes;

impl CommandRoutes for Routes {
    fn subscriptions(&self) -> Vec<String> {
        vec!["bifrost/commands/site/+/+".to_owned()]
    }

    fn command(&self, topic: &str) -> Option<(Option<String>, String)> {
        let (device, verb) = topic.strip_prefix("bifrost/commands/site/")?.split_once('/')?;
        Some((Some(device.to_owned()), verb.to_owned()))
    }
}
