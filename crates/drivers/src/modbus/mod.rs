//! Modbus: TCP, RTU, and RTU over TCP.
//!
//! From the wire up: [`Client`] speaks over one connection; [`Exchange`] is how the protocol reaches a device
//! whoever owns that connection; [`ModbusDriver`] reads and writes [`Point`]s, planning few requests for many
//! points and learning what the device refuses. Nothing here opens a socket or knows an actor.

mod address;
mod byte_order;
mod client;
mod codec;
mod driver;
mod exchange;
#[cfg(test)]
mod fake;
mod learn;
mod limits;
mod linear;
mod mbap;
mod plan;
mod point;
mod probe;
mod reply;
mod scan;
mod shared_stream;
mod write;

pub use address::{Address, AddressError, Table};
pub use byte_order::{ByteOrder, UnknownByteOrder};
pub use client::{CallError, Client, Debts, Framing};
pub use codec::{EncodeError, decode, encode};
pub use driver::{DriverSettings, ModbusDriver};
pub use exchange::{Exchange, ExchangeError, Priority, Request, Response};
pub use limits::{
    LimitError, MAX_READ_BITS, MAX_READ_REGISTERS, MAX_READ_WRITE_READ, MAX_READ_WRITE_WRITE,
    MAX_WRITE_COILS, MAX_WRITE_REGISTERS,
};
pub use plan::{InvalidSetting, PlanSettings};
pub use point::{Point, PointError};
pub use probe::{Found, Identity, probe};
