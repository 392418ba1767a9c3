//! A session with an MQTT broker, of version 5 or 3.1.1.
//!
//! The session owns the connection and nothing else: what is sent when is its [spool](crate::spool)'s affair,
//! and a message is the spool's until the broker has acknowledged it. When the connection breaks the session
//! ends with the reason, and the tree builds another. Nothing is kept by the client library: it starts clean
//! each time.

mod actor;
mod address;
mod aliases;
mod client;
mod counters;
mod error;
mod inbox;
mod incoming;
mod life;
mod limits;
mod options;
mod outbound;
mod publisher;
mod reason;
mod relay;
mod session;
mod settings;
mod suspicion;
mod window;

pub(crate) use actor::{Parts, spec};
pub(crate) use counters::MqttCounters;
pub use settings::{MqttSettings, MqttTopics, QosByClass, Version};
