//! Streams of which the link keeps an end to look at: one half goes to the driver's client, which reads and
//! writes; the other tells whether the peer has closed it, or said something that nobody asked for.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bifrost_security::tls::ClientStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The link's end of a connection over the network.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(Arc<TcpStream>),
    Tls(Arc<Mutex<ClientStream<TcpStream>>>),
}

/// What can be seen of a connection on which nothing is awaited.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Glance {
    Quiet,
    /// Bytes that nobody asked for.
    Unasked,
    /// The peer has closed it, or it is broken.
    Ended,
}

impl Socket {
    /// Looks without waiting. On an encrypted connection this takes in what TLS says for itself, such as
    /// tickets and the peer's farewell; what it takes besides is lost, so that an unasked byte has to be the
    /// connection's end.
    pub(super) fn glance(&self) -> Glance {
        let mut byte = [0];
        let mut unasked = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        let seen = match self {
            Self::Plain(socket) => socket.poll_peek(&mut context, &mut unasked).map_ok(drop),
            Self::Tls(socket) => Pin::new(&mut *lock(socket)).poll_read(&mut context, &mut unasked),
        };
        match seen {
            Poll::Pending => Glance::Quiet,
            Poll::Ready(Ok(())) if !unasked.filled().is_empty() => Glance::Unasked,
            Poll::Ready(_) => Glance::Ended,
        }
    }

    /// Has the system throw away what it hasn't sent yet, once the connection closes.
    pub(super) fn forget_unsent(&self) {
        // Fails only on a socket that is gone already.
        let _ = match self {
            Self::Plain(socket) => socket.set_zero_linger(),
            Self::Tls(socket) => lock(socket).get_ref().set_zero_linger(),
        };
    }
}

/// Never contended: the client waits in `poll_read` and `poll_write` without it.
fn lock(socket: &Mutex<ClientStream<TcpStream>>) -> MutexGuard<'_, ClientStream<TcpStream>> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client's end of a plain connection.
#[derive(Debug)]
pub(super) struct PlainEnd(pub(super) Arc<TcpStream>);

impl AsyncRead for PlainEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for PlainEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection closes when its last end is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The client's end of an encrypted connection.
#[derive(Debug)]
pub(super) struct TlsEnd(pub(super) Arc<Mutex<ClientStream<TcpStream>>>);

impl AsyncRead for TlsEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.0)).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_shutdown(cx)
    }
}
