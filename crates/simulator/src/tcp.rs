//! The door of one PLC on the network: listens, goes away and comes back as its faults have it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use crate::{
    device::Device,
    framing::Framing,
    plan::Reach,
    rights::Grants,
    session::{serve, sleep_until_some, until_true},
    tls::Lock,
};

/// How many clients may wait to be accepted.
const BACKLOG: u32 = 1024;
/// After an error of accept, or while the port is somebody else's.
const RETRY: Duration = Duration::from_millis(100);

/// A port, listened at or just kept from others.
#[derive(Debug)]
pub(crate) enum Door {
    Open(TcpListener),
    /// Bound and not listening: a client is refused, and nobody else gets the port. Nothing if it couldn't be
    /// bound.
    Shut(Option<TcpSocket>),
}

/// Takes a port without listening at it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the time before, still waiting for their end, must not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// One PLC's listener and its connections.
pub(crate) struct TcpServer {
    device: Arc<Device>,
    framing: Framing,
    lock: Option<Lock>,
    address: SocketAddr,
    door: Door,
    /// Becomes true to close the connections that watch it; new ones get a new one.
    closing: watch::Sender<bool>,
}

impl TcpServer {
    /// Listens at once, unless the PLC is to be gone now.
    pub(crate) fn new(
        device: Arc<Device>,
        framing: Framing,
        lock: Option<Lock>,
        socket: TcpSocket,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let door = match device.reach().0 {
            Reach::Gone => Door::Shut(Some(socket)),
            _ => Door::Open(socket.listen(BACKLOG)?),
        };
        Ok(Self { device, framing, lock, address, door, closing: watch::Sender::new(false) })
    }

    /// Serves until `stop` becomes true; gives the port back, if it could be kept. When this future is
    /// dropped, listener and connections end too.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Option<TcpSocket> {
        let mut switched = self.device.faults.subscribe();
        loop {
            let (reach, change) = self.device.reach();
            let retry = self.set_door(reach).await;
            tokio::select! {
                accepted = self.door.accept() => self.admit(accepted).await,
                () = sleep_until_some(change) => {}
                () = sleep_until_some(retry) => {}
                _ = switched.changed() => {}
                () = until_true(&mut stop) => break,
            }
        }
        self.shut().await;
        match self.door {
            Door::Shut(socket) => socket,
            Door::Open(_) => None,
        }
    }

    /// Brings the door where it should be; if it can't, says when to try again.
    async fn set_door(&mut self, reach: Reach) -> Option<Instant> {
        match (&mut self.door, reach) {
            (Door::Open(_), Reach::Gone) => self.shut().await,
            (Door::Shut(socket), Reach::Open | Reach::HalfOpen) => {
                let listening = socket.take().map_or_else(|| bind(self.address), Ok);
                match listening.and_then(|socket| socket.listen(BACKLOG)) {
                    Ok(listener) => self.door = Door::Open(listener),
                    Err(error) => {
                        warn!(plc = self.device.settings.name, address = %self.address, %error,
                            "can't listen again; if another program took the port, stop it");
                        return Some(Instant::now() + RETRY);
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// Closes the listener and every connection, and waits until they are closed.
    async fn shut(&mut self) {
        self.door = Door::Shut(None);
        self.door = Door::Shut(bind(self.address).ok());
        self.closing.send_replace(true);
        self.closing.closed().await;
        self.closing = watch::Sender::new(false);
    }

    async fn admit(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that left: neither is a reason to end.
                warn!(plc = self.device.settings.name, %error,
                    "can't accept; if files are the limit, raise it with ulimit -n");
                return sleep(RETRY).await;
            }
        };
        let most = self.device.settings.max_connections.unwrap_or(usize::MAX);
        if self.closing.receiver_count() >= most {
            self.device.counters.connection_refused();
            debug!(plc = self.device.settings.name, %client, most, "one connection too many");
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            debug!(plc = self.device.settings.name, %client, %error, "answers may wait for more");
        }
        let device = Arc::clone(&self.device);
        let (framing, closing) = (self.framing, self.closing.subscribe());
        match self.lock.clone() {
            None => drop(tokio::spawn(serve(stream, framing, device, Grants::All, closing))),
            // A task of its own: a client that says nothing holds up nobody.
            Some(lock) => drop(tokio::spawn(unlock(stream, client, lock, device, closing))),
        }
    }
}

/// Serves a client once it has shown who it is.
async fn unlock(
    stream: TcpStream,
    client: SocketAddr,
    lock: Lock,
    device: Arc<Device>,
    mut closing: watch::Receiver<bool>,
) {
    let opened = tokio::select! {
        opened = lock.open(stream) => opened,
        () = until_true(&mut closing) => return,
    };
    match opened {
        Ok((stream, grants)) => serve(stream, Framing::Mbap, device, grants, closing).await,
        Err(reason) => debug!(plc = device.settings.name, %client, reason, "no TLS with a client"),
    }
}

impl Door {
    /// Never, while it is shut.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Open(listener) => listener.accept().await,
            Self::Shut(_) => std::future::pending().await,
        }
    }
}
