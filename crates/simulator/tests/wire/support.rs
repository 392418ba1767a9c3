//! A client that sees frames as they are, and ways to wait without guessing.

use std::{future::Future, net::SocketAddr, time::Duration};

use bifrost_simulator::{PlcSettings, SimulatedPlc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// Whatever must happen happens within this time, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What must not happen is waited for so long.
pub(crate) const SILENCE: Duration = Duration::from_millis(150);

/// One holding register at address 0.
pub(crate) const READ: &[u8] = &[3, 0, 0, 0, 1];
/// The answer to it, while the register is 0.
pub(crate) const ZERO: &[u8] = &[3, 2, 0, 0];

/// A PLC on a free port.
pub(crate) fn plc(settings: PlcSettings) -> SimulatedPlc {
    SimulatedPlc::bind(([127, 0, 0, 1], 0).into(), settings).unwrap()
}

/// The address of a PLC.
pub(crate) fn address(plc: &SimulatedPlc) -> SocketAddr {
    plc.local_addr().unwrap()
}

/// Waits until this is true.
pub(crate) async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "it never became true");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A Modbus/TCP client that sends and receives bytes.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    /// Connects.
    pub(crate) async fn new(plc: &SimulatedPlc) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address(plc))).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, transaction: u16, unit: u8, pdu: &[u8]) {
        self.0.write_all(&frame(transaction, unit, pdu)).await.unwrap();
    }

    /// The next frame: transaction, unit, PDU.
    pub(crate) async fn receive(&mut self) -> (u16, u8, Vec<u8>) {
        let mut head = [0; 7];
        timeout(PATIENCE, self.0.read_exact(&mut head)).await.expect("an answer").unwrap();
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let mut pdu = vec![0; length - 1];
        timeout(PATIENCE, self.0.read_exact(&mut pdu)).await.expect("a whole answer").unwrap();
        (u16::from_be_bytes([head[0], head[1]]), head[6], pdu)
    }

    /// Sends a request and expects its answer, with the right transaction and unit.
    pub(crate) async fn ask(&mut self, transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
        self.send(transaction, unit, pdu).await;
        let (answered, by, pdu) = self.receive().await;
        assert_eq!((answered, by), (transaction, unit));
        pdu
    }

    /// Some bytes, as they are there; none at the end of the connection.
    pub(crate) async fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let count = timeout(PATIENCE, self.0.read(&mut bytes)).await.expect("bytes or the end");
        bytes.truncate(count.unwrap_or(0));
        bytes
    }

    /// Nothing comes for a while, and the connection stays open.
    pub(crate) async fn hears_nothing(&mut self) -> bool {
        timeout(SILENCE, self.0.read_u8()).await.is_err()
    }
}

/// A Modbus/TCP frame.
pub(crate) fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap();
    [&transaction.to_be_bytes()[..], &[0, 0], &length.to_be_bytes(), &[unit], pdu].concat()
}
