//! A session with a NATS cluster, with or without JetStream.

mod settings;

pub use settings::{JetStreamSettings, NatsSettings, NatsSubjects, Storage};
