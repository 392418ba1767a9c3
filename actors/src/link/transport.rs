//! Opens what a link leads over, and sees whether the peer has closed it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bifrost_drivers::modbus::{Client, Framing};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_serial::SerialPortBuilderExt;

use super::settings::{LinkSettings, LinkTarget, Parity, SerialSettings};

/// An open connection.
pub(super) struct Connection {
    pub(super) client: Client,
    socket: Option<Arc<TcpStream>>,
    framing: Framing,
}

impl Connection {
    /// Opens the target. Errors are sentences without the address, which their reader knows.
    pub(super) async fn open(settings: &LinkSettings) -> Result<Self, String> {
        let limit = settings.connect_timeout;
        let connection = tokio::time::timeout(limit, connect(&settings.target))
            .await
            .map_err(|_| format!("no connection within {limit:?}"))?
            .map_err(|error| explain(&error, &settings.target))?;
        tokio::time::sleep(settings.pause_after_connect).await;
        Ok(connection)
    }

    /// Whether it can be replaced by another without harm: a serial port can't.
    pub(super) fn is_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// Gives up a connection that owes an answer. What the system hasn't sent yet is thrown away: a write that
    /// was told to have failed must not reach the device when the network comes back.
    pub(super) fn abandon(&mut self) {
        if let Some(socket) = &self.socket {
            // Fails only on a socket that is gone already.
            let _ = socket.set_zero_linger();
        }
    }

    /// Whether the peer has closed the connection or, where replies carry numbers, has sent something that
    /// nobody asked for. On RTU lines the client throws such bytes away itself.
    pub(super) fn is_spoilt(&self) -> bool {
        let Some(socket) = &self.socket else { return !self.client.is_usable() };
        let mut byte = [0];
        let mut unasked = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let spoilt = match socket.poll_peek(&mut context, &mut unasked) {
            Poll::Ready(Ok(count)) => count == 0 || self.framing == Framing::Tcp,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        spoilt || !self.client.is_usable()
    }
}

async fn connect(target: &LinkTarget) -> io::Result<Connection> {
    match target {
        LinkTarget::Tcp { host, port, framing } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            let socket = Arc::new(stream);
            let client = Client::attach(SharedSocket(Arc::clone(&socket)), *framing);
            Ok(Connection { client, socket: Some(socket), framing: *framing })
        }
        LinkTarget::Serial(serial) => {
            let port = open_serial(serial)?;
            let framing = Framing::Rtu;
            Ok(Connection { client: Client::attach(port, framing), socket: None, framing })
        }
    }
}

fn open_serial(serial: &SerialSettings) -> io::Result<tokio_serial::SerialStream> {
    let data_bits =
        if serial.data_bits == 7 { tokio_serial::DataBits::Seven } else { tokio_serial::DataBits::Eight };
    let stop_bits =
        if serial.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One };
    let parity = match serial.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let builder = tokio_serial::new(&serial.path, serial.baud);
    Ok(builder.data_bits(data_bits).stop_bits(stop_bits).parity(parity).open_native_async()?)
}

fn explain(error: &io::Error, target: &LinkTarget) -> String {
    match (error.kind(), target) {
        (io::ErrorKind::ConnectionRefused, _) => "connection refused: nothing listens there".to_owned(),
        (io::ErrorKind::NotFound, LinkTarget::Serial(_)) => "there is no such serial port".to_owned(),
        (io::ErrorKind::PermissionDenied, LinkTarget::Serial(_)) => {
            "no permission for the serial port; add the user to the group dialout".to_owned()
        }
        _ => error.to_string(),
    }
}

/// A socket of which the link keeps an end to look at.
#[derive(Debug)]
struct SharedSocket(Arc<TcpStream>);

impl AsyncRead for SharedSocket {
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

impl AsyncWrite for SharedSocket {
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
