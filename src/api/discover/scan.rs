//! Looks for Modbus/TCP servers: many addresses at a time, within a deadline.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bifrost_drivers::modbus::{Client, Found as Answer, Framing, probe};
use futures_util::{StreamExt as _, stream};
use tokio::{net::TcpStream, time::timeout};

use super::dto::FoundDevice;

/// Exceptions by which a gateway says that there is nobody behind a unit id (V1.1b3, section 7).
const NOBODY: [Option<u8>; 2] = [Some(0x0A), Some(0x0B)];

/// What to look for.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    /// Where.
    pub(super) endpoints: Vec<SocketAddr>,
    /// Which units, at each of them.
    pub(super) units: Vec<u8>,
    /// How long a connection, and each answer, is waited for.
    pub(super) timeout: Duration,
    /// How many endpoints are tried at a time.
    pub(super) concurrency: usize,
    /// How long it may take in all.
    pub(super) deadline: Duration,
}

/// What was found, and how far the scan came.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) devices: Vec<FoundDevice>,
    /// Endpoints that were looked at to the end.
    pub(super) scanned: usize,
    /// Whether all of them were.
    pub(super) complete: bool,
}

impl Scan {
    /// Looks, until done or the deadline. Dropping it closes all connections.
    pub(super) async fn run(self) -> Found {
        let deadline = tokio::time::Instant::now() + self.deadline;
        let mut found = Found::default();
        let total = self.endpoints.len();
        let looks = self.endpoints.iter().map(|endpoint| look(*endpoint, &self.units, self.timeout));
        let mut looks = stream::iter(looks).buffer_unordered(self.concurrency);
        while let Ok(Some(devices)) = tokio::time::timeout_at(deadline, looks.next()).await {
            found.scanned += 1;
            found.devices.extend(devices);
        }
        found.complete = found.scanned == total;
        let place = |device: &FoundDevice| (device.address.parse::<SocketAddr>().ok(), device.unit_id);
        found.devices.sort_by_key(place);
        found
    }
}

/// All units of one endpoint; a unit that is silent costs a connection, as a late answer would be another's.
async fn look(endpoint: SocketAddr, units: &[u8], limit: Duration) -> Vec<FoundDevice> {
    let mut found = Vec::new();
    let mut client = None;
    for unit in units {
        if !client.as_ref().is_some_and(Client::is_usable) {
            let Ok(Ok(stream)) = timeout(limit, TcpStream::connect(endpoint)).await else { break };
            client = Some(Client::attach(stream, Framing::Tcp));
        }
        let Some(client) = client.as_mut() else { break };
        let asked = Instant::now();
        match probe(client, *unit, limit).await {
            Ok(answer) if !NOBODY.contains(&answer.exception) => {
                found.push(describe(endpoint, *unit, answer, asked.elapsed()));
            }
            _ => {}
        }
    }
    found
}

fn describe(endpoint: SocketAddr, unit_id: u8, answer: Answer, took: Duration) -> FoundDevice {
    let identity = answer.identity.unwrap_or_default();
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    FoundDevice {
        address: endpoint.to_string(),
        unit_id,
        vendor: said(identity.vendor),
        product: said(identity.product),
        revision: said(identity.revision),
        response_time_ms: took.as_secs_f64() * 1000.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(endpoints: Vec<SocketAddr>, deadline: Duration) -> Scan {
        Scan { endpoints, units: vec![1], timeout: Duration::from_secs(30), concurrency: 2, deadline }
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_no_device() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap();
        drop(listener);
        let found = scan(vec![endpoint], Duration::from_secs(30)).run().await;
        assert_eq!((found.devices.len(), found.scanned, found.complete), (0, 1, true));
    }

    #[tokio::test]
    async fn the_deadline_ends_a_scan_of_servers_that_keep_silent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoints = vec![listener.local_addr().unwrap(); 3];
        let found = scan(endpoints, Duration::from_millis(200)).run().await;
        assert_eq!((found.devices.len(), found.complete), (0, false));
        assert!(found.scanned < 3);
    }
}
