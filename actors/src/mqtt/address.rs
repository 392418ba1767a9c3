//! Where a broker is: its URL taken apart, and its host's address looked up.
//!
//! Paho looks names up itself, but with every other session waiting. So names are looked up here first. A
//! plain connection then goes to the address; TLS and WebSocket need the name, which Paho looks up once more:
//! they are only tried while the resolver answers quickly.

use std::{net::IpAddr, time::Duration};

use tokio::time::{Instant, timeout};

use super::error::ConnectError;

/// A resolver that takes longer must not be asked by Paho.
const QUICK: Duration = Duration::from_millis(500);

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

    /// Whether the broker has to see the name.
    fn needs_name(&self) -> bool {
        (self.tls || self.websocket) && self.host.parse::<IpAddr>().is_err()
    }

    /// As Paho wants it.
    fn uri(&self, address: Option<IpAddr>) -> String {
        let scheme = match (self.tls, self.websocket) {
            (false, false) => "tcp",
            (true, false) => "ssl",
            (false, true) => "ws",
            (true, true) => "wss",
        };
        let mut host = self.host.clone();
        if let Some(address) = address.filter(|_| !self.needs_name()) {
            host = address.to_string();
        }
        let at = Self { host, ..self.clone() };
        format!("{scheme}://{at}{}", self.path)
    }

    /// Looks the host up; answers the address as Paho wants it.
    pub(super) async fn locate(&self, limit: Duration) -> Result<String, ConnectError> {
        let begin = Instant::now();
        let mut address = self.look_up(limit).await?;
        if self.needs_name() && begin.elapsed() > QUICK {
            address = self.look_up(QUICK).await?;
        }
        Ok(self.uri(Some(address)))
    }

    async fn look_up(&self, limit: Duration) -> Result<IpAddr, ConnectError> {
        if let Ok(address) = self.host.parse() {
            return Ok(address);
        }
        let server = self.to_string();
        let found = timeout(limit, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let found = found.map_err(|_| ConnectError::SlowName { server: server.clone(), limit })?;
        let addresses: Vec<_> = match found {
            Ok(addresses) => addresses.map(|address| address.ip()).collect(),
            Err(evidence) => return Err(ConnectError::Name { server, evidence }),
        };
        // As Paho does: IPv4 where there is a choice.
        let choice = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        choice.copied().ok_or_else(|| ConnectError::Name {
            server,
            evidence: std::io::Error::other("the name has no address"),
        })
    }

    /// Why no connection came about: what the system says when it is tried plainly. `None`: it works now.
    pub(super) async fn probe(&self, limit: Duration) -> Option<ConnectError> {
        let connecting = tokio::net::TcpStream::connect((self.host.as_str(), self.port));
        let server = self.to_string();
        match timeout(limit, connecting).await {
            Ok(Ok(_)) => None,
            Ok(Err(evidence)) => Some(ConnectError::Unreachable { server, evidence }),
            Err(_) => Some(ConnectError::Timeout { server, limit }),
        }
    }
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
        for (url, encrypted, uri, shown) in [
            ("mqtt://10.0.0.1", false, "tcp://10.0.0.1:1883", "10.0.0.1:1883"),
            ("tcp://broker:1884", false, "tcp://192.0.2.7:1884", "broker:1884"),
            ("tcp://broker:1884", true, "ssl://broker:1884", "broker:1884"),
            ("tls://broker", false, "ssl://broker:8883", "broker:8883"),
            ("mqtts://broker:1", false, "ssl://broker:1", "broker:1"),
            ("ssl://[2001:db8::1]:8884", false, "ssl://[2001:db8::1]:8884", "[2001:db8::1]:8884"),
            ("ws://broker/mqtt", false, "ws://broker:80/mqtt", "broker:80"),
            ("wss://broker/mqtt", false, "wss://broker:443/mqtt", "broker:443"),
            ("ws://broker/mqtt", true, "wss://broker:443/mqtt", "broker:443"),
        ] {
            let server = Server::parse(url, encrypted).expect(url);
            let found = server.host.parse().ok().or_else(|| "192.0.2.7".parse().ok());
            assert_eq!((server.uri(found).as_str(), server.to_string().as_str()), (uri, shown), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_named() {
        let server = Server::parse("mqtt://no.such.host.invalid:1883", false).expect("a URL");
        let error = server.locate(Duration::from_secs(10)).await.expect_err("no address").to_string();
        assert!(error.contains("no.such.host.invalid:1883"), "{error}");
    }
}
