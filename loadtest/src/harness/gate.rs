//! A port that leads to a broker, or to nobody: an outage that ends without the audience noticing.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, sleep},
    time::Duration,
};

use super::ports;
use crate::error::LoadError;

/// How soon a change holds.
const TICK: Duration = Duration::from_millis(5);

/// A gate, open at first.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Its port on the loopback.
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    open: AtomicBool,
    ends: Mutex<Vec<TcpStream>>,
}

impl Gate {
    /// Leads to this port of the loopback.
    pub(crate) fn to(target: u16) -> Result<Self, LoadError> {
        let port = ports::free_in_a_row(1)?;
        let listener = listen(port).map_err(LoadError::at(format!("port {port}")))?;
        let shared = Arc::new(Shared { target, open: AtomicBool::new(true), ends: Mutex::default() });
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || serve(port, listener, &weak));
        Ok(Self { port, shared })
    }

    /// Ends all connections and refuses new ones.
    pub(crate) fn close(&self) {
        self.shared.open.store(false, Ordering::SeqCst);
        sleep(2 * TICK);
        self.shared.cut();
    }

    /// Lets them through again.
    pub(crate) fn open(&self) {
        self.shared.open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.cut();
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts while it is open, until the gate is dropped.
fn serve(port: u16, listener: TcpListener, gate: &Weak<Shared>) {
    let mut listener = Some(listener);
    while let Some(shared) = gate.upgrade() {
        match (shared.open.load(Ordering::SeqCst), &listener) {
            (false, _) => listener = None,
            (true, None) => listener = listen(port).ok(),
            (true, Some(listening)) => {
                // A target that refuses ends the connection.
                if let Ok((client, _)) = listening.accept() {
                    let _ = shared.join(client);
                }
            }
        }
        drop(shared);
        sleep(TICK);
    }
}

impl Shared {
    fn join(&self, client: TcpStream) -> io::Result<()> {
        let target = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target))?;
        for (from, to) in [(&client, &target), (&target, &client)] {
            from.set_nodelay(true)?;
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            thread::spawn(move || carry(from, to));
        }
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).extend([client, target]);
        Ok(())
    }

    fn cut(&self) {
        for end in self.ends.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may have ended by itself.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// Carries one way until either end is over.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    while let Err(error) = io::copy(&mut from, &mut to) {
        if error.kind() != ErrorKind::Interrupted {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_gate_leads_to_its_target_while_it_is_open() {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gate = Gate::to(target.local_addr().unwrap().port()).unwrap();
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, gate.port));
        let mut client = connect().unwrap();
        let (mut server, _) = target.accept().unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        gate.close();
        assert!(!matches!(client.read(&mut [0]), Ok(1..)) && connect().is_err());
        gate.open();
        while connect().is_err() {
            sleep(TICK);
        }
        target.accept().unwrap();
    }
}
