//! Where a broker is: its URL taken apart, its host's address looked up, and a connection opened to it.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::error::ConnectError;

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    host: String,
    port: u16,
    path: String,
    pub(super) tls: bool,
    websocket: bool,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Server {
    /// Takes a URL apart that the settings' check has let pass. What is to be encrypted is: a URL can say so,
    /// and so can the settings; neither can take it back.
    pub(super) fn parse(url: &str, encrypted: bool) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let websocket = matches!(scheme, "ws" | "wss");
        let tls = encrypted || matches!(scheme, "mqtts" | "ssl" | "tls" | "wss");
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, default_port(tls, websocket)),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port, path: path.to_owned(), tls, websocket })
    }

    /// Whether Paho comes to the relay as to a proxy: it has to know the broker's name, since it shows it to
    /// the broker.
    pub(super) fn needs_name(&self) -> bool {
        self.websocket
    }

    /// As it is written in the URL, without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// As Paho wants it, with the relay in between, which sees to TLS.
    pub(super) fn uri(&self, relay: SocketAddr) -> String {
        if self.websocket { format!("ws://{self}{}", self.path) } else { format!("tcp://{relay}") }
    }

    /// Opens a connection, to the first of the host's addresses that takes it.
    pub(super) async fn connect(&self, limit: Duration) -> Result<TcpStream, ConnectError> {
        let server = || self.to_string();
        let looked_up = timeout(limit, lookup_host((self.host.as_str(), self.port))).await;
        let addresses = looked_up
            .map_err(|_| ConnectError::SlowName { server: server(), limit })?
            .map_err(|evidence| ConnectError::Name { server: server(), evidence })?;
        timeout(limit, connect_any(addresses))
            .await
            .map_err(|_| ConnectError::Timeout { server: server(), limit })?
            .map_err(|evidence| ConnectError::Unreachable { server: server(), evidence })
    }
}

async fn connect_any(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn default_port(tls: bool, websocket: bool) -> u16 {
    match (tls, websocket) {
        (false, false) => 1883,
        (true, false) => 8883,
        (false, true) => 80,
        (true, true) => 443,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_what_paho_wants() {
        let relay = SocketAddr::from(([127, 0, 0, 1], 9));
        for (url, encrypted, uri, shown) in [
            ("mqtt://10.0.0.1", false, "tcp://127.0.0.1:9", "10.0.0.1:1883"),
            ("tcp://broker:1884", false, "tcp://127.0.0.1:9", "broker:1884"),
            ("tcp://broker:1884", true, "tcp://127.0.0.1:9", "broker:1884"),
            ("tls://broker", false, "tcp://127.0.0.1:9", "broker:8883"),
            ("mqtts://broker:1", false, "tcp://127.0.0.1:9", "broker:1"),
            ("ssl://[2001:db8::1]:8884", false, "tcp://127.0.0.1:9", "[2001:db8::1]:8884"),
            ("ws://broker/mqtt", false, "ws://broker:80/mqtt", "broker:80"),
            ("wss://broker/mqtt", false, "ws://broker:443/mqtt", "broker:443"),
            ("ws://broker/mqtt", true, "ws://broker:443/mqtt", "broker:443"),
        ] {
            let server = Server::parse(url, encrypted).expect(url);
            assert_eq!((server.uri(relay).as_str(), server.to_string().as_str()), (uri, shown), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_named() {
        let server = Server::parse("mqtt://no.such.host.invalid:1883", false).expect("a URL");
        let error = server.connect(Duration::from_secs(10)).await.expect_err("no connection").to_string();
        assert!(error.contains("no.such.host.invalid:1883"), "{error}");
    }
}
