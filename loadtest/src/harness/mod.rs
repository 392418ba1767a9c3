//! Processes, ports and what can be read off them. Decides nothing about what is measured.

mod gateway;
mod http;
mod metrics;
mod modbus;
mod plant;
mod ports;
mod process;
mod statistics;
mod usage;

pub(crate) use gateway::{Device, Gateway};
pub(crate) use http::Connection;
pub(crate) use metrics::Metrics;
pub(crate) use modbus::BareClient;
pub(crate) use plant::{Plant, plc};
pub(crate) use process::{finish, pinned};
pub(crate) use statistics::{median, quantile};
pub(crate) use usage::Usage;
