//! Opens what a link leads over, and sees whether the peer has closed it.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bifrost_drivers::modbus::{Client, Framing};
use bifrost_security::tls::ClientTls;
use tokio::net::TcpStream;
use tokio_serial::SerialPortBuilderExt;

use super::{
    settings::{LinkSettings, LinkTarget, Parity, SerialSettings},
    socket::{Glance, PlainEnd, Socket, TlsEnd},
};

/// An open connection.
pub(super) struct Connection {
    pub(super) client: Client,
    socket: Option<Socket>,
    framing: Framing,
}

impl Connection {
    /// Opens the target, an encrypted one with all its handshake within `connect_timeout`. Errors are sentences
    /// without the address, which their reader knows.
    pub(super) async fn open(settings: &LinkSettings) -> Result<Self, String> {
        let limit = settings.connect_timeout;
        let mut open = false;
        let connection = tokio::time::timeout(limit, connect(settings, &mut open)).await.map_err(|_| {
            if open {
                format!("the server accepts the connection and doesn't finish the TLS handshake within {limit:?}")
            } else {
                format!("no connection within {limit:?}")
            }
        })??;
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
            socket.forget_unsent();
        }
    }

    /// Whether the peer has closed the connection or, where replies carry numbers, has sent something that
    /// nobody asked for. On RTU lines the client throws such bytes away itself.
    pub(super) fn is_spoilt(&self) -> bool {
        let spoilt = self.socket.as_ref().is_some_and(|socket| match socket.glance() {
            Glance::Quiet => false,
            Glance::Unasked => self.framing == Framing::Tcp,
            Glance::Ended => true,
        });
        spoilt || !self.client.is_usable()
    }
}

/// `open`: told once the network's part is done.
async fn connect(settings: &LinkSettings, open: &mut bool) -> Result<Connection, String> {
    let told = |error: io::Error| explain(&error, &settings.target);
    let framing = settings.target.framing();
    let (client, socket) = match &settings.target {
        LinkTarget::Tcp { host, port, .. } => {
            let socket = Arc::new(tcp(host, *port).await.map_err(told)?);
            let client = Client::attach(PlainEnd(Arc::clone(&socket)), framing);
            (client, Some(Socket::Plain(socket)))
        }
        LinkTarget::Tls { host, port } => {
            let tls = settings.tls.clone().ok_or("has no settings of TLS; give the device a section tls")?;
            let connector = read_files(tls).await?;
            let stream = tcp(host, *port).await.map_err(told)?;
            *open = true;
            let stream = connector.connect(host, stream).await.map_err(|error| error.to_string())?;
            let socket = Arc::new(Mutex::new(stream));
            let client = Client::attach(TlsEnd(Arc::clone(&socket)), framing);
            (client, Some(Socket::Tls(socket)))
        }
        LinkTarget::Serial(serial) => (Client::attach(open_serial(serial).map_err(told)?, framing), None),
    };
    Ok(Connection { client, socket, framing })
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Away from the thread that carries other links too. Anew each time: a renewed certificate is used at once.
async fn read_files(tls: Arc<ClientTls>) -> Result<bifrost_security::tls::Connector, String> {
    let reading = tokio::task::spawn_blocking(move || tls.connector()).await;
    reading.map_err(|error| format!("reading the files of TLS failed: {error}"))?.map_err(|error| match error
    {
        bifrost_security::tls::ClientError::File(file) => format!("tls.{file}"),
        other => other.to_string(),
    })
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
