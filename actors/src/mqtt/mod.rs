//! A session with an MQTT broker.

mod settings;

pub use settings::{MqttSettings, MqttTopics, QosByClass, Version};
