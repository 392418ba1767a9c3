//! A stream that outlives the tokio-modbus context reading it, and that controls what the context sees.
//!
//! tokio-modbus takes its stream for good and returns on the first frame, whoever sent it. On a serial line
//! a frame that is somebody else's must be passed over, and a context that gave up replaced, with the line
//! kept. So the context gets a handle, and the client keeps another.
//!
//! In RTU mode bytes are handed on singly: a frame is then decoded as soon as its last byte is in, and what
//! follows stays here instead of in the context's buffer, which is cleared before every request. The first
//! three go together, because tokio-modbus takes the function of two bytes for an unknown one (function 43).
//!
//! In TCP mode transaction numbers are given here: a context counts from zero, and contexts come and go, but
//! two requests of one connection must not have the same number soon after each other.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Anything that can carry Modbus: a TCP or TLS stream, a serial port, a pipe in a test.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Transport for T {}

/// Bytes that a context sees together at the beginning of a frame.
const FRAME_HEAD: usize = 3;
/// The longest RTU frame (Modbus over Serial Line V1.02, 2.5.1).
const BUFFER: usize = 256;
/// Bytes after which the reader gives way, to timeouts too: more than any frame has.
const MAX_TURN: usize = 2 * BUFFER;
/// How much noise is thrown away at once; a line that never stops talking must not hold up everything else.
const MAX_DISCARD: usize = 64 * 1024;

/// The longest TCP frame (Modbus Messaging on TCP/IP V1.0b, 4.1).
const MAX_TCP_FRAME: usize = 260;

/// Transaction numbers on the wire, in place of those that a context makes up.
#[derive(Debug, Default)]
struct Numbers {
    wire: u16,
    /// The context's number of this frame, as bytes.
    context: [u8; 2],
    written: usize,
    read: usize,
}

impl Numbers {
    /// The next request begins.
    fn begin(&mut self) {
        *self = Self { wire: self.wire.wrapping_add(1), ..Self::default() };
    }

    /// Puts the wire's number into what is written next of the frame.
    fn put(&mut self, data: &mut [u8]) {
        let number = self.wire.to_be_bytes();
        for (place, byte) in (self.written..2).zip(data) {
            self.context[place] = *byte;
            *byte = number[place];
        }
    }

    /// Puts the context's number into what was read of the frame, if the wire's is right; else a wrong one.
    fn restore(&mut self, data: &mut [u8]) {
        let number = self.wire.to_be_bytes();
        let length = data.len();
        for (place, byte) in (self.read..2).zip(data) {
            *byte = if *byte == number[place] { self.context[place] } else { !self.context[place] };
        }
        self.read += length;
    }
}

/// One of the handles to a stream.
#[derive(Debug, Clone)]
pub(super) struct SharedStream(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    transport: Box<dyn Transport>,
    single_bytes: bool,
    numbers: Numbers,
    muted: bool,
    /// Bytes of a frame's head still to come.
    head: usize,
    /// Bytes handed on since the last frame.
    handed: usize,
    /// Bytes handed on since a pause was made for others.
    turn: usize,
    buffer: [u8; BUFFER],
    filled: std::ops::Range<usize>,
    ended: bool,
}

impl SharedStream {
    pub(super) fn new(transport: impl Transport + 'static, single_bytes: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            transport: Box::new(transport),
            single_bytes,
            numbers: Numbers::default(),
            muted: false,
            head: FRAME_HEAD,
            handed: 0,
            turn: 0,
            buffer: [0; BUFFER],
            filled: 0..0,
            ended: false,
        })))
    }

    /// A panic in a transport must not spread: what it left behind is at worst a broken stream.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the context is asked for a frame; `muted`, what it sends then goes nowhere.
    pub(super) fn expect_frame(&self, muted: bool) {
        let mut inner = self.lock();
        inner.head = FRAME_HEAD;
        inner.handed = 0;
        inner.turn = 0;
        inner.muted = muted;
        inner.numbers.begin();
    }

    /// The number of the next frame, where it is written without a context.
    pub(super) fn next_number(&self) -> u16 {
        let mut inner = self.lock();
        inner.muted = false;
        inner.numbers.begin();
        // Nothing is to be replaced in this frame.
        (inner.numbers.written, inner.numbers.read) = (2, 2);
        inner.numbers.wire
    }

    /// How many bytes came since then; counted in RTU mode only.
    pub(super) fn bytes_of_frame(&self) -> usize {
        self.lock().handed
    }

    /// Whether the other side has closed.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Throws away what waits to be read now, without waiting; says how much it was.
    pub(super) fn discard(&self) -> io::Result<usize> {
        let mut inner = self.lock();
        let mut discarded = inner.filled.len();
        inner.filled = 0..0;
        let mut context = Context::from_waker(Waker::noop());
        while discarded < MAX_DISCARD {
            match inner.poll_fill(&mut context) {
                Poll::Ready(Ok(())) if inner.filled.is_empty() => break,
                Poll::Ready(Ok(())) => discarded += inner.filled.len(),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
            inner.filled = 0..0;
        }
        Ok(discarded)
    }
}

impl Inner {
    /// Reads more behind what is already there; adds nothing at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let mut space = ReadBuf::new(&mut self.buffer[self.filled.end..]);
        ready!(Pin::new(&mut *self.transport).poll_read(cx, &mut space))?;
        let read = space.filled().len();
        self.ended |= read == 0;
        self.filled.end += read;
        Poll::Ready(Ok(()))
    }

    fn poll_single(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.turn >= MAX_TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let wanted = self.head.max(1).min(out.remaining());
        while self.filled.len() < wanted && !self.ended {
            ready!(self.poll_fill(cx))?;
        }
        let take = wanted.min(self.filled.len());
        out.put_slice(&self.buffer[self.filled.start..self.filled.start + take]);
        self.filled.start += take;
        self.head = self.head.saturating_sub(take);
        self.handed += take;
        self.turn += take;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.single_bytes {
            return inner.poll_single(cx, out);
        }
        let before = out.filled().len();
        ready!(Pin::new(&mut *inner.transport).poll_read(cx, out))?;
        inner.ended |= out.filled().len() == before;
        inner.numbers.restore(&mut out.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.muted {
            return Poll::Ready(Ok(data.len()));
        }
        if inner.single_bytes {
            return Pin::new(&mut *inner.transport).poll_write(cx, data);
        }
        let mut frame = [0; MAX_TCP_FRAME];
        let length = data.len().min(frame.len());
        let frame = &mut frame[..length];
        frame.copy_from_slice(&data[..length]);
        inner.numbers.put(frame);
        let written = ready!(Pin::new(&mut *inner.transport).poll_write(cx, frame))?;
        inner.numbers.written += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock().transport).poll_shutdown(cx)
    }
}
