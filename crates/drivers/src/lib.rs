//! What PLCs understand: one folder per protocol behind the trait [`Driver`].
//!
//! A driver knows the protocol; it opens no socket, sleeps for no schedule and knows no actor. Transports
//! come ready made, and when to read is somebody else's decision.

mod driver;
pub mod modbus;

pub use driver::{DeviceError, Disposition, Driver, WriteError};
