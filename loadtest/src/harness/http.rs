//! One connection to the gateway's HTTP interface, encrypted or not, kept open from request to request.
//!
//! Knows as much of HTTP/1.1 (RFC 9112) as the gateway needs: answers with a length. A client of its own so
//! that one connection is one, and its cost is a few microseconds.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use nats::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS13,
};

use serde_json::Value;

use crate::error::LoadError;

/// What every request shows; each gateway is told of it before it starts.
pub(crate) const TOKEN: &str = "bft_dGhlIGxvYWQgdGVzdCBvZiB0aGlzIGdhdGV3YXk7IGE";
/// How long an answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How to get in: where, and whom to trust if it is encrypted.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("port", &self.port).field("tls", &self.tls.is_some()).finish()
    }
}

impl Door {
    /// Unencrypted.
    pub(crate) fn plain(port: u16) -> Self {
        Self { port, tls: None }
    }

    /// By TLS 1.3, to whom this authority vouches for; with abbreviated handshakes after the first or without.
    pub(crate) fn trusting(port: u16, authority: &Path, resumes: bool) -> Result<Self, LoadError> {
        let unreadable = |error: String| LoadError::Unreadable(format!("{}: {error}", authority.display()));
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(authority).map_err(|error| unreadable(error.to_string()))?
        {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unreadable(error.to_string()))?;
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        if !resumes {
            tls.resumption = Resumption::disabled();
        }
        Ok(Self { port, tls: Some(Arc::new(tls)) })
    }

    /// Connects.
    pub(crate) fn open(&self) -> Result<Connection, LoadError> {
        Connection::open(self)
    }
}

/// What the bytes go through.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// An open connection.
pub(crate) struct Connection {
    stream: BufReader<Stream>,
    host: String,
}

impl Connection {
    fn open(door: &Door) -> Result<Self, LoadError> {
        let host = format!("127.0.0.1:{}", door.port);
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, door.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            match &door.tls {
                Some(tls) => encrypted(tls, stream).map(|stream| Stream::Tls(Box::new(stream))),
                None => Ok(Stream::Plain(stream)),
            }
        };
        let stream = connect().map_err(LoadError::at(&host))?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    /// Whether the handshake was an abbreviated one.
    pub(crate) fn was_resumed(&self) -> bool {
        let Stream::Tls(stream) = self.stream.get_ref() else { return false };
        stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Gets a text.
    pub(crate) fn get(&mut self, path: &str) -> Result<String, LoadError> {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\n\r\n", self.host);
        self.exchange(&format!("GET {path}"), &request)
    }

    /// Posts JSON.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Value, LoadError> {
        let (body, host) = (body.to_string(), &self.host);
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        let answer = self.exchange(&format!("POST {path}"), &request)?;
        serde_json::from_str(&answer).map_err(|_| LoadError::Unreadable(answer))
    }

    fn exchange(&mut self, asked: &str, request: &str) -> Result<String, LoadError> {
        let io = |place: &str| LoadError::at(place.to_owned());
        self.stream.get_mut().write_all(request.as_bytes()).map_err(io(asked))?;
        let (status, body) = read_answer(&mut self.stream).map_err(io(asked))?;
        if status == 200 {
            return Ok(body);
        }
        let body = body.chars().take(300).collect();
        Err(LoadError::Answer { asked: asked.to_owned(), status, body })
    }
}

fn encrypted(
    tls: &Arc<ClientConfig>,
    mut stream: TcpStream,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// Status and body of one answer.
fn read_answer(stream: &mut impl BufRead) -> std::io::Result<(u16, String)> {
    let unreadable = |what| std::io::Error::other(format!("the answer has no {what}"));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| unreadable("status"))?;
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length.ok_or_else(|| unreadable("length"))?];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_one_after_the_other_off_one_connection() {
        let mut wire: &[u8] =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read_answer(&mut wire).unwrap(), (200, "ok".to_owned()));
        assert_eq!(read_answer(&mut wire).unwrap(), (404, String::new()));
        assert!(read_answer(&mut wire).is_err(), "the connection has ended");
    }

    #[test]
    fn an_answer_without_a_length_or_cut_off_is_an_error() {
        for mut wire in [&b"HTTP/1.1 200 OK\r\n\r\nok"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok"]
        {
            assert!(read_answer(&mut wire).is_err());
        }
    }
}
