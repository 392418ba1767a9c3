//! Processes, ports and what can be read off them. Decides nothing about what is measured.

mod alone;
mod alone_mqtt;
mod audience;
mod brokers;
mod gate;
mod gateway;
mod http;
mod message;
mod metrics;
mod modbus;
mod mqtt;
mod nats;
mod plant;
mod ports;
mod process;
mod statistics;
mod tally;
mod usage;

pub(crate) use alone_mqtt::Paho;
pub(crate) use audience::Audience;
pub(crate) use brokers::Broker;
pub(crate) use gate::Gate;
pub(crate) use gateway::{Device, Gateway};
pub(crate) use http::{Connection, Door};
pub(crate) use message::number;
pub(crate) use metrics::Metrics;
pub(crate) use modbus::BareClient;
pub(crate) use mqtt::Subscriber;
pub(crate) use nats::{ALONE, Streams};
pub(crate) use plant::{Plant, plc};
pub(crate) use process::{finish, pinned};
pub(crate) use statistics::{median, quantile};
pub(crate) use tally::Count;
pub(crate) use usage::Usage;
