//! A network between two programs that can fail in the ways of real ones.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::ports;
use crate::harness::until_true;

/// How long anything here goes unnoticed.
const TICK: Duration = Duration::from_millis(5);

/// What the network does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// It carries.
    #[default]
    Passing,
    /// Connections stay and new ones are accepted, but nothing is carried: a half-open network. What was
    /// sent meanwhile arrives late, unless the connection is cut.
    Stalled,
    /// Nobody listens, and no connection stays.
    Refusing,
}

/// A port of loopback that leads to another.
pub(crate) struct TcpProxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    network: Mutex<Network>,
    connections: Mutex<Vec<TcpStream>>,
    listens: AtomicBool,
    /// Bytes to the target, and back.
    carried: [AtomicU64; 2],
}

impl TcpProxy {
    /// Leads to a port of loopback on which nobody needs to listen yet.
    pub(crate) fn to(target: u16) -> Self {
        let port = ports::free();
        let shared = Arc::new(Shared {
            target,
            network: Mutex::default(),
            connections: Mutex::default(),
            listens: AtomicBool::new(true),
            carried: Default::default(),
        });
        let weak = Arc::downgrade(&shared);
        let listener = listen(port);
        thread::spawn(move || serve(port, listener, &weak));
        Self { port, shared }
    }

    /// Changes the network, and returns when that holds.
    pub(crate) fn set(&self, network: Network) {
        *self.shared.network.lock().unwrap() = network;
        let is_so = || self.shared.listens.load(Ordering::SeqCst) == (network != Network::Refusing);
        until_true("the network's change", is_so);
        if network == Network::Refusing {
            self.cut();
        }
    }

    /// Ends all connections; new ones are possible.
    pub(crate) fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Bytes carried so far to the target, and back.
    pub(crate) fn carried(&self) -> (u64, u64) {
        let [there, back] = &self.shared.carried;
        (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed))
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        *self.shared.network.lock().unwrap() = Network::Passing;
        self.cut();
    }
}

fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the proxy's port is its own");
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Accepts until the proxy is dropped.
fn serve(port: u16, listener: TcpListener, proxy: &Weak<Shared>) {
    let mut listener = Some(listener);
    while let Some(shared) = proxy.upgrade() {
        let network = *shared.network.lock().unwrap();
        match (network, &listener) {
            (Network::Refusing, _) => listener = None,
            (_, None) => listener = Some(listen(port)),
            (_, Some(listening)) => {
                if let Ok((stream, _)) = listening.accept() {
                    shared.join(stream, proxy);
                    continue;
                }
            }
        }
        shared.listens.store(listener.is_some(), Ordering::SeqCst);
        drop(shared);
        thread::sleep(TICK);
    }
}

impl Shared {
    /// Connects a client with the target; a target that refuses ends the client's connection.
    fn join(&self, client: TcpStream, proxy: &Weak<Self>) {
        let Ok(target) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) else { return };
        let mut ends = self.connections.lock().unwrap();
        for (way, from, to) in [(0, &client, &target), (1, &target, &client)] {
            from.set_nodelay(true).unwrap();
            from.set_read_timeout(Some(TICK)).unwrap();
            let (from, to, proxy) = (from.try_clone().unwrap(), to.try_clone().unwrap(), proxy.clone());
            thread::spawn(move || carry(from, to, way, &proxy));
        }
        ends.extend([client, target]);
    }
}

/// Carries one way until either end is over or the proxy is dropped.
fn carry(mut from: TcpStream, mut to: TcpStream, way: usize, proxy: &Weak<Shared>) {
    let mut bytes = vec![0; 64 << 10];
    while let Some(shared) = proxy.upgrade() {
        let stalled = || *shared.network.lock().unwrap() == Network::Stalled;
        if stalled() {
            thread::sleep(TICK);
            continue;
        }
        let read = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        // What was read when the network failed is under way until it recovers.
        while stalled() {
            thread::sleep(TICK);
        }
        // Before they arrive, so that who has them finds them counted.
        shared.carried[way].fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(bytes.get(..read).unwrap_or_default()).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
