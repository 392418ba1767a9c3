//! Real brokers for tests, what watches them, and a network between that can fail.
//!
//! Everything listens on loopback and ends with the value that stands for it. A broker keeps its port over
//! restarts. Watchers live in this process, reconnect by themselves, and note all that they hear; what
//! that should have been is the tests' affair.

mod cluster;
mod mosquitto;
mod mqtt;
mod nats;
mod ports;
mod proxy;
mod stream;
mod watcher;

pub(crate) use cluster::NatsCluster;
pub(crate) use mosquitto::Mosquitto;
pub(crate) use mqtt::{Heard, MqttWatcher, Publication, mqtt_publish};
pub(crate) use nats::{NatsServer, Version, block_on};
pub(crate) use proxy::{Network, TcpProxy};
pub(crate) use stream::{Stored, read_stream};
pub(crate) use watcher::{NatsWatcher, Noted};
