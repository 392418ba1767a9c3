//! The one path of commands, whoever gives them: REST, MQTT or NATS.
//!
//! [`Commands`] finds the device and hands over to its actor, which decides and keeps the order; `ledger`
//! remembers ids over restarts; `answering` reads what arrives through a broker. Knows neither HTTP nor a
//! broker's protocol.

mod answering;
mod handle;
mod ledger;
mod order;
mod result;
mod taken;

pub(crate) use answering::FindSelection;
pub use handle::{Commands, Handed, ReadError};
pub(crate) use handle::{Parts, Target};
pub(crate) use ledger::{Conclude, LedgerPorts, Note, Parts as LedgerParts, spec as ledger_spec};
pub use order::{Order, Origin, Protocol, Requester};
pub(crate) use result::event;
pub(crate) use taken::{Fate, Taken, status_name};
