//! A session with a NATS cluster, with or without JetStream.
//!
//! One connection is one incarnation: when it is lost the actor ends with the reason, and the tree builds the
//! next. Leaves out what is sent when, which is the [spool](crate::spool)'s, and what requests mean.

mod acknowledgement;
mod actor;
mod connect;
mod counts;
mod denials;
mod error;
mod flight;
mod incoming;
mod opening;
mod sending;
mod session;
mod settings;
mod settling;
mod stream;
mod tls;

pub use actor::{Parts, spec};
pub use error::NatsError;
pub use settings::{JetStreamSettings, NatsSettings, NatsSubjects, Storage};
