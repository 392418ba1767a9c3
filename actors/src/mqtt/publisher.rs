//! From a spool's message to a PUBLISH packet.

use std::sync::Arc;

use mqtt::{AsyncClient, Error, Message, MessageBuilder, Properties, PropertyCode, Token};
use paho_mqtt as mqtt;

use super::{
    MqttSettings,
    aliases::{Aliases, Written},
    limits::Limits,
};
use crate::broker::{Identity, Kind, Outcome, Outgoing};

/// Longest text in MQTT (5.0, 1.5.4).
const MAX_TOPIC: usize = 65_535;

/// What became of a message that was to be sent.
pub(super) enum Sent {
    /// It is out, with this quality of service.
    Out(u8, Token),
    /// It won't be.
    Settled(Outcome),
    /// There is no connection to send it by.
    Broken(Error),
}

/// Makes the packets of one connection.
pub(super) struct Publisher {
    settings: Arc<MqttSettings>,
    identity: Identity,
    limits: Limits,
    v5: bool,
    aliases: Aliases,
}

impl Publisher {
    pub(super) fn new(settings: Arc<MqttSettings>, identity: Identity, limits: Limits, v5: bool) -> Self {
        let aliases = Aliases::new(if v5 { limits.aliases } else { 0 });
        Self { settings, identity, limits, v5, aliases }
    }

    /// How many topics have a number.
    pub(super) fn aliases(&self) -> usize {
        self.aliases.len()
    }

    /// Sends a message, or says why it can't be.
    pub(super) fn send(&mut self, client: &AsyncClient, message: &Outgoing) -> Sent {
        let qos = self.limits.qos_of(&self.settings, message.class);
        let mut properties = self.properties(message);
        if let Err(reason) = self.check(&message.topic, message.payload.len(), qos, &properties) {
            return Sent::Settled(Outcome::Refused(reason));
        }
        let written = self.write_topic(message);
        if let Written::Named(number) | Written::Number(number) = written {
            // Can't fail: the property is a number of two bytes.
            let _ = properties.push_u16(PropertyCode::TopicAlias, number);
        }
        let topic = if let Written::Number(_) = written { "" } else { &*message.topic };
        let sent = client.try_publish(self.packet(topic, message, qos, properties));
        if let (Ok(_), Written::Named(number)) = (&sent, written) {
            self.aliases.named(&message.topic, number);
        }
        sent.map_or_else(not_sent, |token| Sent::Out(qos, token.into()))
    }

    fn packet(&self, topic: &str, message: &Outgoing, qos: u8, properties: Properties) -> Message {
        let packet = MessageBuilder::new().topic(topic).payload(&*message.payload);
        let packet = packet.qos(i32::from(qos)).retained(message.retain && self.limits.retain);
        packet.properties(properties).finalize()
    }

    fn write_topic(&mut self, message: &Outgoing) -> Written {
        match message.kind {
            Kind::Telemetry => self.aliases.write(&message.topic),
            _ => Written::Full,
        }
    }

    /// What a message of MQTT 5 says beside its payload.
    fn properties(&self, message: &Outgoing) -> Properties {
        let mut properties = Properties::new();
        if !self.v5 {
            return properties;
        }
        if let (Some(expiry), Kind::Telemetry) = (self.settings.message_expiry, message.kind) {
            let seconds = u32::try_from(expiry.as_secs().max(1)).unwrap_or(u32::MAX);
            let _ = properties.push_u32(PropertyCode::MessageExpiryInterval, seconds);
        }
        if self.settings.user_properties {
            let about = [
                ("gateway_id", &self.identity.gateway_id),
                ("site_id", &self.identity.site_id),
                ("device_id", &message.device),
            ];
            for (key, value) in about.into_iter().filter(|(_, value)| !value.is_empty()) {
                let _ = properties.push_string_pair(PropertyCode::UserProperty, key, value);
            }
        }
        properties
    }

    /// Why a packet would make the broker end the connection, and all that is in it with it.
    pub(super) fn check(
        &self,
        topic: &str,
        payload: usize,
        qos: u8,
        properties: &Properties,
    ) -> Result<(), String> {
        if topic.is_empty() || topic.len() > MAX_TOPIC || topic.contains(['+', '#', '\0']) {
            return Err("144 topic name invalid: empty, too long, or with +, # or the character 0".to_owned());
        }
        let Some((most, said)) = self.limits.max_packet else { return Ok(()) };
        let properties = if self.v5 { properties.byte_len() } else { 0 };
        if packet_size(topic.len(), payload, qos, properties) <= most {
            return Ok(());
        }
        let whose = if said { "the broker's maximum packet size" } else { "max_packet_size" };
        Err(format!("payload of {payload} bytes is larger than {whose} of {most} allows"))
    }
}

/// Why Paho didn't take a message.
fn not_sent(error: Error) -> Sent {
    let Error::Publish(code, _) = error else { return Sent::Broken(error) };
    match Error::from(code) {
        Error::BadUtf8String => {
            Sent::Settled(Outcome::Refused("144 topic name invalid: no UTF-8".to_owned()))
        }
        busy @ (Error::MaxBufferedMessages | Error::NoMoreMsgIds | Error::MaxMessagesInflight) => {
            Sent::Settled(Outcome::Again(busy.to_string()))
        }
        error => Sent::Broken(error),
    }
}

/// Bytes of a PUBLISH packet (MQTT 5.0, 3.3); of 3.1.1 with properties of no length.
fn packet_size(topic: usize, payload: usize, qos: u8, properties: usize) -> usize {
    let identifier = if qos > 0 { 2 } else { 0 };
    let rest = 2 + topic + identifier + properties + payload;
    let length = match rest {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    };
    1 + length + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_large_as_the_specification_says() {
        for (topic, payload, qos, properties, expected) in [
            (1, 0, 0, 0, 5),
            (1, 0, 1, 1, 8),
            (10, 113, 1, 0, 129),
            (10, 114, 1, 0, 131),
            (10, 16_369, 1, 0, 16_386),
        ] {
            assert_eq!(packet_size(topic, payload, qos, properties), expected, "{topic} {payload}");
        }
    }
}
