//! The root: what there is, in which order it starts and stops, and how devices come and go.

mod apply;
mod brokers;
mod certificates;
mod changes;
mod devices;
mod gauges;
mod handle;
mod notices;
mod settings;
mod spools;
mod stored;

pub use brokers::{BrokerKind, BrokerSettings};
pub use changes::{Change, Changes};
pub use devices::DeviceEntry;
pub use handle::{ApplyError, Gateway, StartError};
pub use settings::{GatewaySettings, LimitSettings};
pub use stored::StoredSettings;
