//! One connection, whatever carries it: reads, answers all that has arrived in one write, sends late answers.
//!
//! An idle connection has no read buffer: what arrives goes through one buffer per thread.

use std::{cell::RefCell, future::poll_fn, io, pin::Pin, sync::Arc, task::ready, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::debug;

use crate::{
    device::{Device, Incoming, Outcome},
    framing::{Decoded, Framing},
    late::LateAnswers,
    plan::Reach,
    rights::Grants,
};

/// How much is read at once.
const READ_SIZE: usize = 16 * 1024;
/// Answers of this size are sent before more requests are looked at.
const BATCH: usize = 64 * 1024;
/// What a connection's buffers may keep between two batches.
const KEEP: usize = 4 * 1024;
/// The beginning of an RTU frame that stays alone for so long is given up, as after a silence on a line.
const RTU_GAP: Duration = Duration::from_millis(500);

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

/// Serves a connection, to a client that may do what is granted, until the client closes it, it breaks, or `closing` becomes true or is dropped.
pub(crate) async fn serve<S>(
    stream: S,
    framing: Framing,
    device: Arc<Device>,
    grants: Grants,
    mut closing: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _open = device.counters.connection();
    let mut session = Session {
        stream,
        framing,
        device: Arc::clone(&device),
        grants,
        input: Vec::new(),
        output: Vec::new(),
        late: LateAnswers::default(),
        heard: Instant::now(),
    };
    let ended = tokio::select! {
        biased;
        ended = session.run() => ended,
        () = until_true(&mut closing) => Ok(()),
    };
    if let Err(error) = ended {
        debug!(plc = device.settings.name, %error, "connection broke");
    }
}

struct Session<S> {
    stream: S,
    framing: Framing,
    device: Arc<Device>,
    grants: Grants,
    /// What is no whole request yet.
    input: Vec<u8>,
    /// What is to be sent now.
    output: Vec<u8>,
    late: LateAnswers,
    /// When something last arrived.
    heard: Instant,
}

/// Why looking for requests ended.
enum Pause {
    /// More bytes are needed.
    Hungry,
    /// There is enough to send first.
    Full,
    /// The connection is to be closed.
    Close,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(&mut self) -> io::Result<()> {
        let mut switched = self.device.faults.subscribe();
        loop {
            if let (Reach::HalfOpen, change) = self.device.reach() {
                tokio::select! {
                    () = sleep_until_some(change) => {}
                    _ = switched.changed() => {}
                }
                continue;
            }
            if !self.listen().await? || !self.answer_all().await? {
                return Ok(());
            }
        }
    }

    /// Waits for bytes, or for something to be due; false at the end of the connection.
    async fn listen(&mut self) -> io::Result<bool> {
        if self.late.is_full() {
            sleep_until_some(self.late.due()).await;
            return Ok(true);
        }
        let deadline = earliest([self.late.due(), self.gap_end(), self.idle_end()]);
        let read = read_some(&mut self.stream, &mut self.input);
        let count = match deadline {
            None => read.await?,
            Some(deadline) => match timeout_at(deadline, read).await {
                Ok(read) => read?,
                Err(_) => return Ok(self.pass_time()),
            },
        };
        self.heard = Instant::now();
        Ok(count > 0)
    }

    /// Nothing arrived before the deadline; false if that ends the connection.
    fn pass_time(&mut self) -> bool {
        let now = Instant::now();
        if self.gap_end().is_some_and(|end| end <= now) {
            self.input.clear();
        }
        self.idle_end().is_none_or(|end| end > now)
    }

    fn idle_end(&self) -> Option<Instant> {
        self.heard.checked_add(self.device.settings.idle_timeout?)
    }

    fn gap_end(&self) -> Option<Instant> {
        (self.framing == Framing::Rtu && !self.input.is_empty()).then(|| self.heard + RTU_GAP)
    }

    /// Answers every request that is there, and sends what is due; false if the connection is to be closed.
    async fn answer_all(&mut self) -> io::Result<bool> {
        loop {
            let now = Instant::now();
            self.late.take_due(now, &mut self.output);
            let pause = self.answer_some(now);
            self.send().await?;
            match pause {
                Pause::Hungry => return Ok(true),
                Pause::Full => {}
                Pause::Close => return Ok(false),
            }
        }
    }

    fn answer_some(&mut self, now: Instant) -> Pause {
        let mut used = 0;
        let pause = loop {
            if self.output.len() >= BATCH || self.late.is_full() {
                break if self.late.is_full() { Pause::Hungry } else { Pause::Full };
            }
            match self.framing.decode(&self.input[used..]) {
                Decoded::Incomplete => break Pause::Hungry,
                Decoded::Broken => break Pause::Close,
                Decoded::Skip(length) => used += length,
                Decoded::Frame { head, pdu, length } => {
                    used += length;
                    let start = self.output.len();
                    let incoming =
                        Incoming { framing: self.framing, head, pdu, now, allowed: self.grants.allow(pdu) };
                    match self.device.answer(incoming, &mut self.output) {
                        Outcome::Answered | Outcome::Unanswered => {}
                        Outcome::Delayed(by) => self.late.delayed(self.output.split_off(start), by, now),
                        Outcome::Late(by) => self.late.late(self.output.split_off(start), by, now),
                        Outcome::Close => break Pause::Close,
                    }
                }
            }
        };
        self.input.drain(..used);
        pause
    }

    async fn send(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await?;
            self.output.clear();
        }
        self.output.shrink_to(KEEP);
        self.input.shrink_to(KEEP);
        Ok(())
    }
}

/// Appends what has arrived; 0 at the end of the stream. Nothing is lost when it is cancelled.
async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            input.extend_from_slice(buffer.filled());
            std::task::Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}

fn earliest(times: [Option<Instant>; 3]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

/// Until it becomes true, or nobody is there any more to make it so.
pub(crate) async fn until_true(switch: &mut watch::Receiver<bool>) {
    // A sender that is gone says the same.
    drop(switch.wait_for(|on| *on).await);
}

/// Never, without a time.
pub(crate) async fn sleep_until_some(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
