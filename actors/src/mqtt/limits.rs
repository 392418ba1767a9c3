//! What a broker allows, as it says so when it accepts a connection (MQTT 5.0, 3.2.2.3).

use bifrost_model::TagClass;
use mqtt::{Properties, PropertyCode};
use paho_mqtt as mqtt;

use super::MqttSettings;

/// Most messages that Paho numbers at a time, with room for the session's own.
const MOST_IN_FLIGHT: usize = 65_000;
/// A message without topic and properties: fixed header, length of the topic, identifier, no properties.
const SMALLEST_HEADER: usize = 2 + 2 + 1;

/// What a broker allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Messages that wait for an acknowledgement at a time.
    pub(super) window: usize,
    /// Highest quality of service.
    pub(super) max_qos: u8,
    /// Whether messages may be retained.
    pub(super) retain: bool,
    /// Largest packet, and whether the broker has said so itself.
    pub(super) max_packet: Option<(usize, bool)>,
    /// How many topics may have a number.
    pub(super) aliases: u16,
}

impl Limits {
    /// Reads what the broker said; one of 3.1.1 says nothing.
    pub(super) fn new(settings: &MqttSettings, said: &Properties) -> Self {
        let number = |code| said.get_int(code).and_then(|number| usize::try_from(number).ok());
        let window = settings.window.min(number(PropertyCode::ReceiveMaximum).unwrap_or(usize::MAX));
        let aliases = number(PropertyCode::TopicAliasMaximum).filter(|_| settings.topic_aliases);
        Self {
            window: window.clamp(1, MOST_IN_FLIGHT),
            max_qos: number(PropertyCode::MaximumQos)
                .and_then(|qos| u8::try_from(qos).ok())
                .unwrap_or(2)
                .min(2),
            retain: number(PropertyCode::RetainAvailable) != Some(0),
            max_packet: max_packet(settings, number(PropertyCode::MaximumPacketSize)),
            aliases: aliases.and_then(|count| u16::try_from(count).ok()).unwrap_or(0),
        }
    }

    /// Payloads that are larger can't be sent, whatever their topic.
    pub(super) fn max_payload(&self) -> Option<usize> {
        self.max_packet.map(|(bytes, _)| bytes.saturating_sub(SMALLEST_HEADER))
    }

    /// Quality of service of a class.
    pub(super) fn qos_of(&self, settings: &MqttSettings, class: TagClass) -> u8 {
        settings.qos_of(class).min(self.max_qos)
    }

    /// The classes that get less than the settings ask for.
    pub(super) fn clamped(&self, settings: &MqttSettings) -> Vec<TagClass> {
        let classes = [TagClass::Telemetry, TagClass::Status, TagClass::Critical];
        classes.into_iter().filter(|class| settings.qos_of(*class) > self.max_qos).collect()
    }
}

fn max_packet(settings: &MqttSettings, said: Option<usize>) -> Option<(usize, bool)> {
    let own = settings.max_packet_size.and_then(|size| usize::try_from(size.0).ok());
    match (own, said) {
        (Some(own), Some(said)) if own < said => Some((own, false)),
        (_, Some(said)) => Some((said, true)),
        (own, None) => own.map(|own| (own, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &serde_json::Value) -> MqttSettings {
        let mut all = serde_json::json!({ "broker": "mqtt://broker" });
        all.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        serde_json::from_value(all).expect("settings")
    }

    fn said(numbers: &[(PropertyCode, i32)]) -> Properties {
        let mut properties = Properties::new();
        for (code, number) in numbers {
            properties.push_int(*code, *number).expect("a property");
        }
        properties
    }

    #[test]
    fn a_broker_of_3_1_1_limits_nothing() {
        let limits = Limits::new(&settings(&serde_json::json!({})), &Properties::new());
        let expected = Limits { window: 500, max_qos: 2, retain: true, max_packet: None, aliases: 0 };
        assert_eq!((limits, limits.max_payload()), (expected, None));
    }

    #[test]
    fn the_smaller_of_both_limits_holds() {
        let said = said(&[
            (PropertyCode::ReceiveMaximum, 20),
            (PropertyCode::MaximumQos, 1),
            (PropertyCode::RetainAvailable, 0),
            (PropertyCode::MaximumPacketSize, 1000),
            (PropertyCode::TopicAliasMaximum, 10),
        ]);
        let own = settings(&serde_json::json!({ "max_packet_size": "2KiB", "qos": 1 }));
        let limits = Limits::new(&own, &said);
        let expected =
            Limits { window: 20, max_qos: 1, retain: false, max_packet: Some((1000, true)), aliases: 10 };
        assert_eq!(limits, expected);
        assert_eq!(limits.clamped(&own), [TagClass::Critical]);

        let own =
            settings(&serde_json::json!({ "max_packet_size": "512B", "window": 5, "topic_aliases": false }));
        let limits = Limits::new(&own, &said);
        assert_eq!((limits.max_packet, limits.window, limits.aliases), (Some((512, false)), 5, 0));
        assert_eq!(limits.max_payload(), Some(507));
    }
}
