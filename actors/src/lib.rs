//! The running gateway: every PLC connection, broker session, router and client is an actor under one
//! supervisor tree.
//!
//! Depends on the libraries below it, never on HTTP or configuration files. An actor has a folder of its
//! own with the same file names in each: `actor` (lifecycle and handlers), `messages`, `settings`.

pub mod audit;
pub mod broker;
pub mod certificate_rotator;
pub mod commands;
mod database;
pub mod dead_letters;
pub mod gateway;
pub mod link;
pub mod metrics;
pub mod mqtt;
pub mod nats;
pub mod plc;
pub mod router;
pub mod sequence;
pub mod size;
pub mod spool;
pub mod supervision;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod websocket;
