//! The protocol-neutral face of one device.

use bifrost_model::{Reading, Value};
use futures_util::future::LocalBoxFuture;
use thiserror::Error;

/// One device, whatever it speaks. Tags are indices into the list the driver was built with.
///
/// Methods take `&self`: a write may run while a read waits, and overtakes it between two requests.
/// Dropping a returned future cancels what wasn't sent yet.
pub trait Driver {
    /// Reads these tags, appending one reading for each to `out`, in any order.
    ///
    /// A tag that the device refuses is a reading of quality BAD with the reason, never an error, and
    /// never harms another tag. An error means that the scan was cut off: what is in `out` stays valid, the
    /// remaining tags have no reading.
    fn read<'a>(
        &'a self,
        tags: &'a [u32],
        out: &'a mut Vec<Reading>,
    ) -> LocalBoxFuture<'a, Result<(), DeviceError>>;

    /// Writes one tag, in engineering units, ahead of all waiting reads.
    ///
    /// With `read_back` the value that the device holds afterwards is returned.
    fn write<'a>(
        &'a self,
        tag: u32,
        value: &'a Value,
        read_back: bool,
    ) -> LocalBoxFuture<'a, Result<Option<Value>, WriteError>>;

    /// Whether the device could take this value for this tag: type, range of the type, protocol limits.
    fn check_write(&self, tag: u32, value: &Value) -> Result<(), WriteError>;

    /// What was learned of the device, and how reads are planned now; shown to people.
    fn learned(&self) -> serde_json::Value;

    /// Forgets what was learned.
    fn forget(&self);
}

/// What somebody should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Try the same again.
    Retry,
    /// The transport is of no more use.
    Reconnect,
    /// Don't try the same again.
    Reject,
}

/// Why a device can't be talked to; a refusal of single tags is no such error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// There is no connection now.
    #[error("not connected: {0}")]
    Offline(String),
    /// Connected, and no answer in time.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// Nothing was sent: the unit left an earlier request unanswered for this time, and its late answer could
    /// be taken for this one's.
    #[error(
        "not sent: the unit still owes an answer to an earlier request, which it left unanswered for {0:?}"
    )]
    NotAsked(std::time::Duration),
    /// The connection broke, or what came back was no valid answer.
    #[error("connection broke: {0}")]
    Transport(String),
    /// A gateway in between answered that it can't reach the unit.
    #[error("the gateway in front of unit {unit} answered exception {code:02X}")]
    UnitUnreachable {
        /// The unit asked for.
        unit: u8,
        /// 0x0A or 0x0B.
        code: u8,
    },
    /// Too much is waiting for this connection already.
    #[error("too many requests are waiting for this connection")]
    Busy,
}

impl DeviceError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Offline(_) | Self::Transport(_) => Disposition::Reconnect,
            Self::Timeout(_) | Self::NotAsked(_) | Self::UnitUnreachable { .. } | Self::Busy => {
                Disposition::Retry
            }
        }
    }
}

/// Why a write wasn't carried out, or isn't known to have been.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Nothing was sent: the value can't be stored in this tag.
    #[error("{0}")]
    Unacceptable(String),
    /// The device refused.
    #[error("the device refused with exception {0:02X}")]
    Refused(u8),
    /// The device took the write and works on it still (exception 05); nothing tells when it is done. To
    /// send it again could carry it out twice.
    #[error("the device accepted the write and is still processing it (exception 05)")]
    Unconfirmed,
    /// The device couldn't be asked, or didn't answer: whether it was written isn't known, but for
    /// [`DeviceError::NotAsked`].
    #[error(transparent)]
    Device(#[from] DeviceError),
}
