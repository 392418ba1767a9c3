//! What devices ask of a link.

use std::time::Duration;

use actix::Message;
use bifrost_drivers::modbus::{ExchangeError, Priority, Request, Response};
use tokio::sync::oneshot;

/// Carries one request to a unit and its answer back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Carry {
    pub(crate) unit: u8,
    pub(crate) request: Request<'static>,
    pub(crate) priority: Priority,
    pub(crate) timeout: Duration,
    pub(crate) late_reply_wait: Option<Duration>,
    /// Dropped by who no longer waits; the request then isn't sent.
    pub(crate) reply: oneshot::Sender<Result<Response, ExchangeError>>,
}
