//! What REST needs of the configuration: to read it anew, and to keep what was changed at run time.
//!
//! Implemented by the composition, so that REST knows nothing of files.

use bifrost_actors::{gateway::Changes, plc::DeviceSettings};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::{error::KeyProblem, record::Who};

/// What reading the configuration anew did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReloadReport {
    /// Whether it was done; `false` for a dry run.
    pub applied: bool,
    /// The difference.
    #[schema(value_type = super::schemas::ChangesSchema)]
    pub changes: Changes,
    /// Keys that differ and take effect only when the process starts anew.
    pub restart_needed: Vec<String>,
}

/// Why the configuration stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// Everything that is wrong with it; nothing was changed.
    #[error("the configuration is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<KeyProblem>),
    /// There is no such device.
    #[error("no device has the id {0:?}")]
    UnknownDevice(String),
    /// It can't be done now; the reason says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// It can't be kept, so it wasn't done; the reason says what to do.
    #[error("{0}")]
    NotKept(String),
}

/// The configuration as REST sees it. What a change changed is recorded as done by who asked for it. A change that was begun is carried out even when nobody waits for it.
pub trait ConfigControl: Send + Sync {
    /// Reads the configuration anew and applies it; a dry run only compares.
    fn reload(&self, dry_run: bool, who: Who) -> LocalBoxFuture<'_, Result<ReloadReport, ControlError>>;

    /// Adds or changes one device, and keeps it over a restart.
    fn put_device(
        &self,
        device: DeviceSettings,
        who: Who,
    ) -> LocalBoxFuture<'_, Result<Changes, ControlError>>;

    /// Removes one device, over a restart too.
    fn remove_device(&self, id: String, who: Who) -> LocalBoxFuture<'_, Result<Changes, ControlError>>;
}
