//! One connection to a PLC, or to a line of them: every unit behind an address shares it.
//!
//! The actor opens the transport, carries one request at a time, writes first, and ends when the transport
//! breaks; the tree then builds it anew with backoff. What a unit refuses or leaves unanswered is no failure
//! of the link. Devices reach whichever incarnation lives through a client of it.

mod actor;
mod client;
mod messages;
mod queue;
mod settings;
mod socket;
mod state;
mod transport;

pub(crate) use actor::spec;
pub(crate) use client::{LinkClient, Traffic};
pub use settings::{AddressProblem, LinkSettings, LinkTarget, SerialSettings};
pub(crate) use state::LinkLine;
