//! One connection to the gateway's HTTP interface, kept open from request to request.
//!
//! Knows as much of HTTP/1.1 (RFC 9112) as the gateway needs: answers with a length. A client of its own so
//! that one connection is one, and its cost is a few microseconds.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::error::LoadError;

/// What every request shows; each gateway is told of it before it starts.
pub(crate) const TOKEN: &str = "bft_dGhlIGxvYWQgdGVzdCBvZiB0aGlzIGdhdGV3YXk7IGE";
/// How long an answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects to the gateway on this port of the loopback.
    pub(crate) fn open(port: u16) -> Result<Self, LoadError> {
        let host = format!("127.0.0.1:{port}");
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(LoadError::at(&host))?;
        Ok(Self { stream: BufReader::new(stream), host })
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
