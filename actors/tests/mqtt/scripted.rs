//! Servers that do what a broker shouldn't.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::JoinHandle,
};

/// What a scripted server does with a CONNECT.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Greeting {
    /// Lets everybody in.
    Accept,
    /// Answers MQTT 5 with these bytes and closes; lets 3.1.1 in.
    Only311(&'static [u8]),
    /// Lets everybody in, and hands nothing out.
    NoSubscriptions,
    /// Says nothing.
    Nothing,
}

/// A server that speaks just enough MQTT.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    versions: Arc<Mutex<Vec<u8>>>,
    silent: Arc<AtomicBool>,
    dismissal: Arc<Notify>,
    hanging_up: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Scripted {
    pub(crate) async fn start(greeting: Greeting) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (versions, silent) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let (seen, quiet) = (Arc::clone(&versions), Arc::clone(&silent));
        let dismissal = Arc::<Notify>::default();
        let hanging_up = Arc::<Notify>::default();
        let (dismissed, hung_up) = (Arc::clone(&dismissal), Arc::clone(&hanging_up));
        let task = actix::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, quiet) = (Arc::clone(&seen), Arc::clone(&quiet));
                let (dismissed, hung_up) = (Arc::clone(&dismissed), Arc::clone(&hung_up));
                actix::spawn(async move {
                    let (mut reads, mut writes) = stream.into_split();
                    tokio::select! {
                        _ = serve(&mut reads, &mut writes, greeting, &seen, &quiet) => {}
                        () = dismissed.notified() => {
                            writes.write_all(&[0xE0, 2, 0x8B, 0]).await.unwrap();
                        }
                        () = hung_up.notified() => {}
                    }
                });
            }
        });
        Self { port, versions, silent, dismissal, hanging_up, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// The protocol levels that clients came with.
    pub(crate) fn versions(&self) -> Vec<u8> {
        self.versions.lock().unwrap().clone()
    }

    /// Answers nothing but CONNECT from now on, as behind a cable that was pulled.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

impl Scripted {
    /// Ends a connection of MQTT 5 as a server does that shuts down.
    pub(crate) fn dismiss(&self) {
        self.dismissal.notify_waiters();
    }

    /// Ends a connection without a word, and takes none any more.
    pub(crate) fn hang_up(&self) {
        self.task.abort();
        self.hanging_up.notify_waiters();
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    reads: &mut OwnedReadHalf,
    writes: &mut OwnedWriteHalf,
    greeting: Greeting,
    versions: &Mutex<Vec<u8>>,
    silent: &AtomicBool,
) -> Option<()> {
    let mut v5 = false;
    loop {
        let (header, body) = packet(reads).await?;
        if header >> 4 == 1 {
            let version = body[6];
            versions.lock().unwrap().push(version);
            v5 = version == 5;
            match greeting {
                Greeting::Nothing => continue,
                Greeting::Only311(answer) if v5 => {
                    writes.write_all(answer).await.ok()?;
                    return writes.shutdown().await.ok();
                }
                Greeting::Only311(_) | Greeting::Accept | Greeting::NoSubscriptions => {}
            }
        }
        if silent.load(Ordering::SeqCst) && header >> 4 != 1 {
            continue;
        }
        let mut answer = answer(header, &body, v5);
        if header >> 4 == 8 && matches!(greeting, Greeting::NoSubscriptions) {
            *answer.last_mut()? = 0x80;
        }
        writes.write_all(&answer).await.ok()?;
    }
}

/// What a friendly broker answers.
fn answer(header: u8, body: &[u8], v5: bool) -> Vec<u8> {
    match (header >> 4, v5) {
        (1, true) => vec![0x20, 3, 0, 0, 0],
        (1, false) => vec![0x20, 2, 0, 0],
        (3, _) if header & 0b110 == 0b010 => {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            vec![0x40, 2, body[2 + topic], body[3 + topic]]
        }
        (8, true) => vec![0x90, 4, body[0], body[1], 0, 1],
        (8, false) => vec![0x90, 3, body[0], body[1], 1],
        (12, _) => vec![0xD0, 0],
        _ => vec![],
    }
}

async fn packet(stream: &mut OwnedReadHalf) -> Option<(u8, Vec<u8>)> {
    let header = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((header, body))
}

/// A wire between a session and its broker that can be cut.
pub(crate) struct Wire {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let there = SocketAddr::from(([127, 0, 0, 1], port));
        let task = actix::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let Ok(mut far) = TcpStream::connect(there).await else { continue };
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
        Self { port: here, task }
    }

    /// Closes both ends at once, as when a process is killed.
    pub(crate) fn cut(self) {
        self.task.abort();
    }
}
