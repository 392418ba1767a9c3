//! How the protocol reaches a device: one request, one answer, over a connection that others may share.
//!
//! Whoever owns connections implements [`Exchange`]; tests implement it with a device made up in memory.

use std::{rc::Rc, time::Duration};

use futures_util::future::LocalBoxFuture;
use thiserror::Error;
pub use tokio_modbus::{Request, Response};

use super::CallError;
use crate::DeviceError;

/// Who goes first when several requests wait for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Ahead of all reads.
    Write,
    /// In its turn.
    Read,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// The device refused with this code: an answer, the link is well.
    #[error("the device refused with exception {0:02X}")]
    Exception(u8),
    /// What came back was damaged; the connection stays of use.
    #[error("the answer was damaged: {evidence}")]
    Garbled {
        /// What came.
        evidence: String,
        /// How long a valid answer was waited for.
        waited: Duration,
    },
    /// The device couldn't be asked, or didn't answer.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl From<CallError> for ExchangeError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Exception(code) => Self::Exception(code),
            CallError::Garbled { waited, .. } => Self::Garbled { evidence: error.to_string(), waited },
            CallError::Timeout(waited) => Self::Device(DeviceError::Timeout(waited)),
            CallError::Quarantined { waited, .. } => Self::Device(DeviceError::NotAsked(waited)),
            CallError::Limit(error) => Self::Device(DeviceError::Transport(error.to_string())),
            CallError::Transport(evidence) => Self::Device(DeviceError::Transport(evidence)),
        }
    }
}

/// Carries one request to a unit and brings its answer back.
///
/// An implementation sends at most one request at a time per connection, never answers with another
/// request's reply, and resolves within its own timeout. Dropping the future gives the answer up.
pub trait Exchange {
    /// Asks `unit`. A refusal by the device is [`ExchangeError::Exception`].
    fn exchange(
        &self,
        unit: u8,
        request: Request<'static>,
        priority: Priority,
    ) -> LocalBoxFuture<'_, Result<Response, ExchangeError>>;
}

impl<E: Exchange + ?Sized> Exchange for Rc<E> {
    fn exchange(
        &self,
        unit: u8,
        request: Request<'static>,
        priority: Priority,
    ) -> LocalBoxFuture<'_, Result<Response, ExchangeError>> {
        (**self).exchange(unit, request, priority)
    }
}
