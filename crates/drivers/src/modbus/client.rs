//! One connection to one device, or to a line of them: a request out, its answer in.
//!
//! Built on tokio-modbus, which knows neither timeouts nor late replies; reads over Modbus/TCP alone go without
//! it, see [`super::mbap`]. The rule here: **no reply is ever
//! taken for the answer of another request.**
//! - Modbus/TCP: after a timeout, a cancelled call or any transport error the client refuses every further
//!   call; its owner reconnects, and a late reply dies with the connection.
//! - RTU, where replies carry no number and the line can't be replaced: a unit that owes an answer is left
//!   alone for a while ([`Client::set_late_reply_wait`]), other units go on at once. Before each request all
//!   that waits in the input is thrown away, and frames of another unit or function are passed over until
//!   the deadline. Nothing is sent twice.
//!
//! Opens nothing, retries nothing, and knows no schedule.

use std::{fmt, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};
use tokio_modbus::{
    Error as ModbusError, Request, Response, Slave,
    client::{Client as _, Context, rtu, tcp},
    prelude::SlaveContext as _,
};

use super::{
    limits::{self, LimitError},
    mbap,
    shared_stream::{SharedStream, Transport},
};

/// How many frames that are somebody else's are passed over for one answer.
const MAX_FOREIGN_FRAMES: usize = 64;

/// How a request is packed for its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// MBAP header with a transaction number: Modbus/TCP, also inside TLS.
    Tcp,
    /// Unit, PDU, CRC: a serial line, also carried over TCP.
    Rtu,
}

/// Why a call brought no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The device refused with this code: an answer, the link is well.
    #[error("the device refused with exception {0:02X}")]
    Exception(u8),
    /// No answer within this time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// RTU only: something came, and no valid answer among it; the line stays of use.
    #[error("{bytes} bytes and no valid frame within {waited:?}")]
    Garbled {
        /// How many bytes came that belong to no valid frame.
        bytes: usize,
        /// The timeout.
        waited: Duration,
    },
    /// RTU only: the unit still owes an answer, which must not be taken for this one's. Nothing was sent.
    #[error("the unit has left a request unanswered for {waited:?} and is not asked again yet")]
    Quarantined {
        /// When it may be asked again.
        until: Instant,
        /// The timeout that went by before.
        waited: Duration,
    },
    /// The protocol has no such request. Nothing was sent.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The connection is of no more use.
    #[error("{0}")]
    Transport(String),
}

/// A unit that owes an answer, and until when it may come.
#[derive(Debug, Clone, Copy)]
struct Debt {
    unit: u8,
    until: Instant,
    waited: Duration,
}

/// The answers that the units of an RTU line still owe; outlives the connection they were asked over.
///
/// Behind a serial server a late reply comes to whoever is connected then, so the next connection to the
/// same line has to know of it.
#[derive(Debug, Clone, Default)]
pub struct Debts(Vec<Debt>);

/// One connection; calls go one after the other.
pub struct Client {
    stream: SharedStream,
    /// Made when it is needed; holds two buffers of 8 KiB.
    context: Option<Context>,
    framing: Framing,
    late_reply_wait: Option<Duration>,
    broken: Option<String>,
    debts: Vec<Debt>,
    /// The call that is under way, or was dropped before its answer.
    pending: Option<Debt>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("framing", &self.framing)
            .field("broken", &self.broken)
            .field("debts", &self.debts)
            .finish_non_exhaustive()
    }
}

/// What one attempt to get a frame came to.
enum Received {
    Answer(Result<Response, CallError>),
    /// A frame of another unit or function: the answer may still come.
    Foreign,
    /// Bytes that make no frame: the answer may still come.
    Damage,
}

impl Client {
    /// Takes over a connected stream: a TCP or TLS stream, a serial port.
    pub fn attach<T>(stream: T, framing: Framing) -> Self
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + fmt::Debug + 'static,
    {
        let stream = SharedStream::new(stream, framing == Framing::Rtu);
        Self {
            context: None,
            stream,
            framing,
            late_reply_wait: None,
            broken: None,
            debts: Vec::new(),
            pending: None,
        }
    }

    /// RTU: how long after a timeout a unit's answer may still come; by default three times the timeout.
    pub fn set_late_reply_wait(&mut self, wait: Option<Duration>) {
        self.late_reply_wait = wait;
    }

    /// What the units still owe, for [`owe`](Self::owe) of the next connection to the same line. A call that
    /// was dropped before its answer counts. Modbus/TCP: nothing, as late replies die with the connection.
    pub fn take_debts(&mut self) -> Debts {
        self.settle_cancelled();
        Debts(std::mem::take(&mut self.debts))
    }

    /// Takes over what the units owe since an earlier connection to the same line. Where a unit owes to both,
    /// the later time counts. No effect with Modbus/TCP.
    pub fn owe(&mut self, debts: Debts) {
        if self.framing == Framing::Tcp {
            return;
        }
        for debt in debts.0 {
            match self.debts.iter_mut().find(|known| known.unit == debt.unit) {
                Some(known) if known.until < debt.until => *known = debt,
                Some(_) => {}
                None => self.debts.push(debt),
            }
        }
    }

    /// Whether calls can still succeed; when not, drop it and connect anew.
    pub fn is_usable(&self) -> bool {
        self.broken.is_none() && (self.framing == Framing::Rtu || self.pending.is_none())
    }

    /// Asks `unit` and waits for its answer, `timeout` at most.
    ///
    /// A call that is dropped before its end counts as one that timed out.
    pub async fn call(
        &mut self,
        unit: u8,
        request: &Request<'static>,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        limits::check(request)?;
        self.settle_cancelled();
        if let Some(reason) = &self.broken {
            return Err(CallError::Transport(reason.clone()));
        }
        self.check_debts(unit)?;
        if self.framing == Framing::Rtu {
            self.discard_pending().await?;
        }
        let deadline = Instant::now() + timeout;
        let wait = self.late_reply_wait.unwrap_or(timeout * 3);
        self.pending = Some(Debt { unit, until: deadline + wait, waited: timeout });
        let result = self.exchange(unit, request, deadline).await;
        self.settle(&result);
        result
    }

    /// Whether there are buffers to let go of.
    pub fn holds_buffers(&self) -> bool {
        self.context.is_some()
    }

    /// Lets go of buffers until the next call: a thousand connections that wait for their next scan hold
    /// none.
    pub fn rest(&mut self) {
        self.context = None;
    }

    fn context(&mut self) -> &mut Context {
        self.context.get_or_insert_with(|| context(&self.stream, self.framing))
    }

    /// Throws away what waits in the input: late replies and noise.
    ///
    /// Fails when the stream has ended, and the client is of no more use then.
    pub async fn discard_pending(&mut self) -> Result<usize, CallError> {
        // The runtime notices what has arrived when a task gives way.
        tokio::task::yield_now().await;
        let discarded = self.stream.discard().map_err(|error| self.fail(error.to_string()))?;
        if self.stream.has_ended() {
            return Err(self.fail(CLOSED.to_owned()));
        }
        Ok(discarded)
    }

    async fn exchange(
        &mut self,
        unit: u8,
        request: &Request<'static>,
        deadline: Instant,
    ) -> Result<Response, CallError> {
        if self.framing == Framing::Tcp
            && let Some(frame) = mbap::read_frame(self.stream.next_number(), unit, request)
        {
            return match timeout_at(deadline, read(&mut self.stream, &frame)).await {
                Err(_) => Err(CallError::Timeout(self.waited())),
                Ok(Ok(Ok(response))) => Ok(response),
                Ok(Ok(Err(code))) => Err(CallError::Exception(code)),
                Ok(Err(evidence)) => Err(CallError::Transport(evidence)),
            };
        }
        self.context().set_slave(Slave(unit));
        self.stream.expect_frame(false);
        let mut damaged = 0;
        for _ in 0..MAX_FOREIGN_FRAMES {
            match self.receive(unit, request, deadline).await {
                Received::Answer(Err(CallError::Timeout(_))) => {
                    damaged += self.stream.bytes_of_frame();
                    break;
                }
                Received::Answer(answer) => return answer,
                Received::Foreign => {}
                Received::Damage => damaged += self.stream.bytes_of_frame(),
            }
            // Listen on, without sending again: an answer to a second copy could pass for the next one's.
            self.stream.expect_frame(true);
        }
        Err(match damaged {
            0 => CallError::Timeout(self.waited()),
            bytes => CallError::Garbled { bytes, waited: self.waited() },
        })
    }

    async fn receive(&mut self, unit: u8, request: &Request<'static>, deadline: Instant) -> Received {
        let error = match timeout_at(deadline, self.context().call(request.clone())).await {
            Err(_) => return Received::Answer(Err(CallError::Timeout(self.waited()))),
            Ok(Ok(Ok(response))) => return Received::Answer(Ok(response)),
            Ok(Ok(Err(code))) => return Received::Answer(Err(CallError::Exception(code.into()))),
            Ok(Err(error)) => error,
        };
        match (self.framing, error) {
            (Framing::Rtu, ModbusError::Protocol(_)) => Received::Foreign,
            (Framing::Rtu, ModbusError::Transport(error)) if is_damage(&error) => {
                self.replace_context(unit);
                Received::Damage
            }
            (_, ModbusError::Transport(_)) if self.stream.has_ended() => {
                Received::Answer(Err(CallError::Transport(CLOSED.to_owned())))
            }
            (_, error) => Received::Answer(Err(CallError::Transport(error.to_string()))),
        }
    }

    fn waited(&self) -> Duration {
        self.pending.map_or(Duration::ZERO, |pending| pending.waited)
    }

    /// A tokio-modbus context is of no use after a decoding error or a call that was given up.
    fn replace_context(&mut self, unit: u8) {
        self.rest();
        self.context().set_slave(Slave(unit));
    }

    /// Draws the consequences of a call that came to its end.
    fn settle(&mut self, result: &Result<Response, CallError>) {
        match result {
            Ok(_) | Err(CallError::Exception(_)) => self.pending = None,
            Err(CallError::Transport(reason)) => {
                self.pending = None;
                self.broken = Some(reason.clone());
            }
            Err(_) => self.settle_cancelled(),
        }
    }

    /// What is pending now won't be waited for any longer.
    fn settle_cancelled(&mut self) {
        let Some(debt) = self.pending.take() else { return };
        if self.framing == Framing::Tcp {
            self.broken = Some(format!("a request to unit {} was left without an answer", debt.unit));
            return;
        }
        self.replace_context(debt.unit);
        self.debts.retain(|other| other.unit != debt.unit);
        self.debts.push(debt);
    }

    fn check_debts(&mut self, unit: u8) -> Result<(), CallError> {
        if self.debts.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        self.debts.retain(|debt| debt.until > now);
        match self.debts.iter().find(|debt| debt.unit == unit) {
            Some(debt) => Err(CallError::Quarantined { until: debt.until, waited: debt.waited }),
            None => Ok(()),
        }
    }

    fn fail(&mut self, reason: String) -> CallError {
        self.broken = Some(reason.clone());
        CallError::Transport(reason)
    }
}

/// Asks and takes the answer in. What follows it in the same packet, nobody asked for.
async fn read(stream: &mut SharedStream, asked: &[u8; mbap::READ_FRAME]) -> Result<mbap::Answer, String> {
    stream.write_all(asked).await.map_err(|error| error.to_string())?;
    let mut frame = [0; mbap::MAX_FRAME];
    let mut filled = 0;
    loop {
        if let Some(length) = mbap::length(&frame[..filled])?
            && length <= filled
        {
            return mbap::answer(asked, &frame[..length]);
        }
        match stream.read(&mut frame[filled..]).await {
            Ok(0) => return Err(CLOSED.to_owned()),
            Ok(count) => filled += count,
            Err(error) => return Err(error.to_string()),
        }
    }
}

const CLOSED: &str = "the other side closed the connection";

fn context<T: Transport + Clone + 'static>(stream: &T, framing: Framing) -> Context {
    match framing {
        Framing::Tcp => tcp::attach(stream.clone()),
        Framing::Rtu => rtu::attach(stream.clone()),
    }
}

/// Bytes came and made no frame, as opposed to a line that is gone.
fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

#[cfg(test)]
mod tests;
