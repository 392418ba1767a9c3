//! PLCs that move, and fail by script: real Modbus servers with a memory, for demonstrations, tests and load.
//!
//! Speaks Modbus/TCP, Modbus/TCP Security (TLS, roles), RTU over TCP and RTU on serial ports, at the level of frames, so that every frame can be
//! made wrong, late or lost on purpose. Knows nothing of gateways: no drivers, no actors, no configuration but
//! its own scenarios.
//!
//! - [`SimulatedPlc`] is one PLC with its listener, [`Simulator`] many of them.
//! - [`PlcSettings`] says what a PLC has, [`Signal`] and [`Wave`] how its values move, [`Fault`] and
//!   [`ScriptedFault`] how and when it fails.
//! - [`Memory`] looks into a running PLC.
//! - [`scenario`] reads a plant from a file, [`presets`] has machines that are ready made.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use bifrost_simulator::{Fault, PlcSettings, SimulatedPlc};
//!
//! let plc = SimulatedPlc::bind(([127, 0, 0, 1], 0).into(), PlcSettings::default())?;
//! println!("modbus/tcp at {}", plc.local_addr()?);
//! plc.memory().set_holding(0, 1234);
//! plc.set_fault(Some(Fault::Silence));
//! plc.stop().await;
//! # Ok(())
//! # }
//! ```

mod byte_order;
mod device;
mod endpoint;
mod error;
mod fault;
mod framing;
mod late;
mod mbap;
mod memory;
mod pdu;
mod plan;
mod plc;
pub mod presets;
mod respond;
mod rights;
mod role;
mod rtu;
pub mod scenario;
mod serial;
mod session;
mod settings;
mod signal;
mod simulator;
mod stats;
mod tcp;
mod tls;
mod wave;

pub use byte_order::ByteOrder;
pub use endpoint::Endpoint;
pub use error::SimulatorError;
pub use fault::{Fault, ScriptedFault};
pub use framing::Framing;
pub use memory::Memory;
pub use plc::SimulatedPlc;
pub use presets::{Point, Preset, PresetKind};
pub use rights::{Access, Reachable, Right, load_rights};
pub use scenario::{DeviceSpec, Scenario};
pub use serial::SerialSettings;
pub use settings::{AddressRange, Hole, PlcSettings, Table};
pub use signal::Signal;
pub use simulator::{Listener, Simulator};
pub use stats::PlcStats;
pub use tls::TlsSettings;
pub use wave::Wave;
