//! The wire between Paho and the broker.
//!
//! Paho 1.3.16 frees a message twice when writing it fails, which ends the process: a broker that dies under
//! load is enough. So Paho isn't given the broker's socket but one end of a relay on loopback, which takes
//! everything it writes for as long as it likes, also when the broker is gone. TLS with the broker is the relay's:
//! Paho speaks in plain to loopback, the relay in cipher to the broker. What it gains besides: names are looked
//! up and handshakes made without Paho's lock, and why there is no connection is known exactly.
//!
//! A thread of its own for each connection: whoever let go of Paho's client, the relay outlives it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::{Notify, oneshot},
};

use bifrost_security::tls::{ClientStream, Connector};

use super::inbox::Inbox;

/// Bytes that are passed on at a time.
const CHUNK: usize = 64 * 1024;
/// The broker's last words may still be on their way through Paho when its connection is closed.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How Paho is told that its proxy has the connection; said at once, since Paho waits for it in steps of a
/// quarter of a second.
const TUNNEL: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// One relayed connection.
pub(super) struct Relay {
    address: SocketAddr,
    stage: Arc<Mutex<Stage>>,
    fault: Arc<Mutex<Option<String>>>,
    ready: oneshot::Receiver<Result<(), String>>,
}

/// How the broker's end is encrypted.
pub(super) struct Secured {
    pub(super) connector: Connector,
    /// As it is written in the URL.
    pub(super) host: String,
}

/// How far the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing has been published: when the broker closes, Paho may see it.
    Connecting,
    /// Paho mustn't see it any more.
    Up,
    /// The broker closed before.
    Closed,
}

impl Relay {
    /// Begins to relay a connection: the handshake may take this time, and Paho has to come within it then.
    /// `tunnel`: Paho comes as to a proxy.
    pub(super) fn start(
        broker: TcpStream,
        secured: Option<Secured>,
        tunnel: bool,
        limit: Duration,
        inbox: Arc<Inbox>,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (address, broker) = (listener.local_addr()?, broker.into_std()?);
        let stage = Arc::new(Mutex::new(Stage::Connecting));
        let fault = Arc::default();
        let pipe = Pipe { stage: Arc::clone(&stage), fault: Arc::clone(&fault), inbox, tunnel, limit };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (told, ready) = oneshot::channel();
        let work = move || run(&runtime, listener, broker, secured, told, pipe);
        std::thread::Builder::new().name("mqtt-relay".to_owned()).spawn(work)?;
        Ok(Self { address, stage, fault, ready })
    }

    /// Waits until the broker's end can be used; an error is why TLS failed.
    pub(super) async fn ready(&mut self) -> Result<(), String> {
        (&mut self.ready).await.unwrap_or_else(|_| Err("its thread ended".to_owned()))
    }

    /// What broke the broker's end before it was held, if anything did.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where Paho has to come to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on Paho doesn't see what happens to the broker's end; answers whether it is still there.
    pub(super) fn hold(&self) -> bool {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage == Stage::Connecting {
            *stage = Stage::Up;
        }
        *stage == Stage::Up
    }
}

struct Pipe {
    stage: Arc<Mutex<Stage>>,
    fault: Arc<Mutex<Option<String>>>,
    inbox: Arc<Inbox>,
    tunnel: bool,
    limit: Duration,
}

fn run(
    runtime: &Runtime,
    listener: std::net::TcpListener,
    broker: std::net::TcpStream,
    secured: Option<Secured>,
    told: oneshot::Sender<Result<(), String>>,
    pipe: Pipe,
) {
    let relaying = async {
        let (listener, broker) = (TcpListener::from_std(listener)?, TcpStream::from_std(broker)?);
        broker.set_nodelay(true)?;
        match secured {
            None => {
                // Nobody waits for it: the attempt was given up.
                let _ = told.send(Ok(()));
                let (from, to) = broker.into_split();
                pipe.take_up(listener, from, to).await
            }
            Some(secured) => match handshake(secured, broker, pipe.limit).await {
                Ok(stream) => {
                    let _ = told.send(Ok(()));
                    let (from, to) = tokio::io::split(stream);
                    pipe.take_up(listener, from, to).await
                }
                Err(problem) => {
                    let _ = told.send(Err(problem));
                    Ok(())
                }
            },
        }
    };
    if let Err(error) = runtime.block_on(relaying) {
        tracing::debug!("an MQTT connection wasn't taken up: {error}");
    }
}

async fn handshake(
    secured: Secured,
    broker: TcpStream,
    limit: Duration,
) -> Result<ClientStream<TcpStream>, String> {
    let connecting = secured.connector.connect(&secured.host, broker);
    let connected = tokio::time::timeout(limit, connecting).await;
    connected
        .map_err(|_| format!("it accepts the connection and doesn't finish the handshake within {limit:?}"))?
        .map_err(|error| error.to_string())
}

/// Takes what Paho says to a proxy, which is over at the first empty line.
async fn read_request(paho: &mut TcpStream) -> io::Result<()> {
    let (mut last, end) = ([0; 4], *b"\r\n\r\n");
    while last != end {
        last.rotate_left(1);
        last[3] = paho.read_u8().await?;
    }
    Ok(())
}

impl Pipe {
    /// Waits for Paho, and relays what it says.
    async fn take_up<R, W>(self, listener: TcpListener, from_broker: R, to_broker: W) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let accepted = tokio::time::timeout(self.limit, listener.accept()).await;
        let (mut paho, _) = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        drop(listener);
        paho.set_nodelay(true)?;
        if self.tunnel {
            paho.write_all(TUNNEL).await?;
            read_request(&mut paho).await?;
        }
        self.relay(paho, from_broker, to_broker).await;
        Ok(())
    }

    /// Passes bytes on both ways until Paho closes its end.
    async fn relay<R, W>(self, paho: TcpStream, from_broker: R, to_broker: W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (from_paho, to_paho) = paho.into_split();
        let gone = Notify::new();
        tokio::select! {
            () = self.pass_out(from_paho, to_broker, &gone) => {}
            () = self.pass_back(from_broker, to_paho, &gone) => {}
        }
    }

    /// Takes what Paho writes, to the end; passes it on while there is a broker.
    async fn pass_out<W: AsyncWrite + Unpin>(&self, mut paho: OwnedReadHalf, mut broker: W, gone: &Notify) {
        let mut buffer = vec![0; CHUNK];
        let mut is_gone = false;
        while let Ok(count @ 1..) = paho.read(&mut buffer).await {
            if is_gone {
                continue;
            }
            let written = tokio::select! {
                written = broker.write_all(&buffer[..count]) => written,
                () = gone.notified() => Err(io::ErrorKind::BrokenPipe.into()),
            };
            // Why is said by the other direction, which sees it too.
            is_gone = written.is_err();
            if is_gone {
                self.inbox.closes();
            }
        }
        if !is_gone {
            // With TLS a farewell of its own; a broker that doesn't take it is left.
            let _ = tokio::time::timeout(LAST_WORDS, broker.shutdown()).await;
        }
    }

    /// Hands Paho what the broker writes; ends when Paho has to see that the broker is gone.
    async fn pass_back<R: AsyncRead + Unpin>(&self, mut broker: R, mut paho: OwnedWriteHalf, gone: &Notify) {
        let mut buffer = vec![0; CHUNK];
        let ended = loop {
            match broker.read(&mut buffer).await {
                Ok(0) => break None,
                Ok(count) if paho.write_all(&buffer[..count]).await.is_err() => return,
                Ok(_) => {}
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = &ended {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
        self.inbox.closes();
        gone.notify_one();
        if self.closes() {
            return;
        }
        if ended.is_none() {
            tokio::time::sleep(LAST_WORDS).await;
        }
        self.inbox.lost(ended.map_or_else(|| "the broker closed it".to_owned(), |error| error.to_string()));
        std::future::pending::<()>().await;
    }

    /// Whether the broker's end may be seen; from then on nobody can ask for the opposite.
    fn closes(&self) -> bool {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage == Stage::Connecting {
            *stage = Stage::Closed;
        }
        *stage == Stage::Closed
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    struct Ends {
        relay: Relay,
        paho: TcpStream,
        broker: TcpStream,
        inbox: Arc<Inbox>,
    }

    async fn relayed(tunnel: bool) -> Ends {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        let (broker, _) = listener.accept().await.expect("accepted");
        let inbox = Arc::new(Inbox::new());
        let limit = Duration::from_secs(10);
        let relay = Relay::start(near, None, tunnel, limit, Arc::clone(&inbox)).expect("a relay");
        let paho = TcpStream::connect(relay.address()).await.expect("connected");
        Ends { relay, paho, broker, inbox }
    }

    async fn lost(inbox: &Inbox) -> String {
        loop {
            if let Some(reason) = inbox.poll(&Context::from_waker(Waker::noop())).lost {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn bytes_pass_both_ways() {
        let Ends { mut paho, mut broker, .. } = relayed(false).await;
        let mut buffer = [0; 4];
        paho.write_all(b"ping").await.expect("written");
        broker.read_exact(&mut buffer).await.expect("read");
        broker.write_all(b"pong").await.expect("written");
        paho.read_exact(&mut buffer).await.expect("read");
        assert_eq!(&buffer, b"pong");
        drop(paho);
        assert_eq!(broker.read(&mut buffer).await.expect("read"), 0, "the end passes too");
    }

    #[tokio::test]
    async fn a_tunnel_is_granted_at_once_and_its_request_kept() {
        let Ends { mut paho, mut broker, .. } = relayed(true).await;
        let mut said = vec![0; TUNNEL.len()];
        paho.read_exact(&mut said).await.expect("read");
        assert_eq!(said, TUNNEL);
        paho.write_all(b"CONNECT b:1 HTTP/1.1\r\nHost: b\r\n\r\nhello").await.expect("written");
        let mut buffer = [0; 5];
        broker.read_exact(&mut buffer).await.expect("read");
        assert_eq!(&buffer, b"hello");
    }

    #[tokio::test]
    async fn what_is_written_after_the_broker_has_gone_is_taken() {
        let Ends { relay, mut paho, broker, inbox } = relayed(false).await;
        assert!(relay.hold());
        drop(broker);
        assert_eq!(lost(&inbox).await, "the broker closed it");
        assert!(inbox.is_closing());
        for _ in 0..1000 {
            paho.write_all(&[0; 8192]).await.expect("written");
        }
    }

    #[tokio::test]
    async fn that_the_broker_hears_nothing_any_more_is_known_before_why() {
        let Ends { relay, paho: _paho, broker, inbox } = relayed(false).await;
        assert!(relay.hold() && !inbox.is_closing());
        drop(broker);
        while !inbox.is_closing() {
            tokio::task::yield_now().await;
        }
        assert_eq!(inbox.poll(&Context::from_waker(Waker::noop())).lost, None);
        assert_eq!(lost(&inbox).await, "the broker closed it");
    }

    #[tokio::test]
    async fn a_connection_that_is_not_held_closes_with_the_broker() {
        let Ends { relay, mut paho, broker, .. } = relayed(false).await;
        drop(broker);
        assert_eq!(paho.read(&mut [0; 4]).await.expect("read"), 0);
        assert!(!relay.hold(), "and can't be held any more");
    }
}
