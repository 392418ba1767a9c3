//! A WebSocket (RFC 6455) before a broker that has none: mosquitto isn't built with it everywhere.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::JoinHandle,
};

/// Takes connections by `WebSocket`, and passes what is in their frames on to a broker.
pub(crate) struct Bridge {
    pub(crate) port: u16,
    request: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Bridge {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let request = Arc::<Mutex<String>>::default();
        let seen = Arc::clone(&request);
        let task = actix::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let broker = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                actix::spawn(bridge(client, broker, Arc::clone(&seen)));
            }
        });
        Self { port: here, request, task }
    }

    /// The first line of the request that was last taken.
    pub(crate) fn request_line(&self) -> String {
        self.request.lock().unwrap().lines().next().unwrap_or_default().to_owned()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn bridge(mut client: TcpStream, broker: TcpStream, seen: Arc<Mutex<String>>) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(client.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).ok()?;
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?.to_owned();
    *seen.lock().unwrap() = request;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        accept(&key)
    );
    client.write_all(answer.as_bytes()).await.ok()?;
    let ((mut client_reads, mut client_writes), (mut broker_reads, mut broker_writes)) =
        (client.into_split(), broker.into_split());
    let out = async {
        while let Some(payload) = frame(&mut client_reads).await {
            broker_writes.write_all(&payload).await.ok()?;
        }
        Some(())
    };
    let back = async {
        while let Some(packet) = packet(&mut broker_reads).await {
            client_writes.write_all(&[0x82, u8::try_from(packet.len()).ok()?]).await.ok()?;
            client_writes.write_all(&packet).await.ok()?;
        }
        Some(())
    };
    tokio::select! { done = out => done, done = back => done }
}

/// The payload of the next frame, which a client always masks.
async fn frame(reads: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let _kind = reads.read_u8().await.ok()?;
    let length = match reads.read_u8().await.ok()? & 0x7F {
        126 => u64::from(reads.read_u16().await.ok()?),
        127 => reads.read_u64().await.ok()?,
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    reads.read_exact(&mut mask).await.ok()?;
    let mut payload = vec![0; usize::try_from(length).ok()?];
    reads.read_exact(&mut payload).await.ok()?;
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    Some(payload)
}

/// The next of the broker's packets, which are short here: one to a frame, as brokers do it.
async fn packet(reads: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut packet = vec![reads.read_u8().await.ok()?, reads.read_u8().await.ok()?];
    let begin = packet.len();
    packet.resize(begin + usize::from(packet[1]), 0);
    reads.read_exact(&mut packet[begin..]).await.ok()?;
    Some(packet)
}

/// What proves that the request was understood.
fn accept(key: &str) -> String {
    let mut digest = Command::new("sh")
        .args(["-c", "openssl dgst -sha1 -binary | openssl base64"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    digest.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(digest.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}
