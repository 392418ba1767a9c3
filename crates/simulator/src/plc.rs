//! A PLC that runs: the handle by which tests and demonstrations switch it, look into it and make it fail.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
    sync::watch,
    task::JoinHandle,
};
use tokio_serial::SerialStream;

use crate::{
    SimulatorError,
    device::Device,
    endpoint::Endpoint,
    fault::Fault,
    framing::Framing,
    memory::Memory,
    plan::Reach,
    rights::Grants,
    serial::{self, SerialSettings},
    session::serve,
    settings::PlcSettings,
    stats::PlcStats,
    tcp::{self, TcpServer},
    tls::Lock,
};

/// One simulated PLC with its listener. Dropping it closes the listener and every connection.
///
/// Everything runs on the tokio runtime (with I/O and time) that it was started in; a runtime of the current
/// thread is as good as any.
#[derive(Debug)]
pub struct SimulatedPlc {
    device: Arc<Device>,
    endpoint: Endpoint,
    state: Mutex<State>,
}

/// What an endpoint `tls://` needs beside it.
const MISSING_TLS: &str = "is missing; tls:// needs a certificate, its key and the clients' authority";

#[derive(Debug)]
enum State {
    /// With the port, if it could be kept.
    Stopped(Option<TcpSocket>),
    Running {
        stop: watch::Sender<bool>,
        task: JoinHandle<Option<TcpSocket>>,
    },
}

/// What is bound or opened already when a PLC starts, so that a failure is seen at once.
enum Prepared {
    Tcp(TcpServer),
    Serial(SerialSettings, Option<SerialStream>),
}

impl SimulatedPlc {
    /// Starts a PLC that speaks Modbus/TCP at this address; with port 0 the system chooses one.
    ///
    /// # Errors
    /// What the operating system says, or `InvalidInput` for settings that make no sense.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(address: SocketAddr, settings: PlcSettings) -> io::Result<Self> {
        Self::listen(&Endpoint::Tcp(address), settings)
    }

    /// Starts a PLC at any endpoint; as [`Self::bind`].
    pub fn listen(endpoint: &Endpoint, settings: PlcSettings) -> io::Result<Self> {
        settings.validate()?;
        let socket = endpoint.address().map(tcp::bind).transpose()?;
        let address = socket.as_ref().map(TcpSocket::local_addr).transpose()?;
        let plc = Self {
            device: Arc::new(Device::new(settings)),
            endpoint: address.map_or_else(|| endpoint.clone(), |address| endpoint.with_address(address)),
            state: Mutex::new(State::Stopped(socket)),
        };
        plc.start()?;
        Ok(plc)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.device.settings.name
    }

    /// What it was made from.
    pub fn settings(&self) -> &PlcSettings {
        &self.device.settings
    }

    /// Where it can be reached, the port as it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its network address; `Unsupported` for a serial line.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.address().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// The memory of its first unit.
    pub fn memory(&self) -> Memory {
        self.device.first.1.clone()
    }

    /// The memory of one of its units.
    pub fn memory_of(&self, unit: u8) -> Option<Memory> {
        self.device.memory(unit).cloned()
    }

    /// What it has seen so far.
    pub fn stats(&self) -> PlcStats {
        self.device.counters.snapshot()
    }

    /// Switches a fault on, in the place of one that was switched on before, or off. It goes before the
    /// script, and says nothing against what the script does to other requests.
    ///
    /// It takes effect with the next request; listener and connections follow as soon as the runtime gets to
    /// it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.device.faults.switch(None, fault);
    }

    /// The same for one unit; faults of connections have no effect there.
    pub fn set_unit_fault(&self, unit: u8, fault: Option<Fault>) {
        let fault = fault.filter(|fault| !fault.is_of_connections());
        self.device.faults.switch(Some(unit), fault);
    }

    /// Whether it was started and not stopped; one that is gone by a fault is running.
    pub fn is_running(&self) -> bool {
        matches!(*self.state(), State::Running { .. })
    }

    /// Switches the PLC on again, on the same port; its memory and its clock went on. Does nothing if it is
    /// running.
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(&self) -> io::Result<()> {
        let mut state = self.state();
        let State::Stopped(socket) = &mut *state else { return Ok(()) };
        let prepared = self.prepare(socket.take())?;
        let (stop, stopped) = watch::channel(false);
        let device = Arc::clone(&self.device);
        let task = tokio::spawn(async move {
            match prepared {
                Prepared::Tcp(server) => server.run(stopped).await,
                Prepared::Serial(settings, port) => {
                    serial::run(device, settings, port, stopped).await;
                    None
                }
            }
        });
        *state = State::Running { stop, task };
        Ok(())
    }

    /// Switches the PLC off: when this returns, connections are closed and new ones are refused. Its port
    /// stays its own.
    pub async fn stop(&self) {
        let state = std::mem::replace(&mut *self.state(), State::Stopped(None));
        let socket = match state {
            State::Stopped(socket) => socket,
            State::Running { stop, task } => {
                stop.send_replace(true);
                task.await.ok().flatten()
            }
        };
        if let State::Stopped(kept) = &mut *self.state() {
            *kept = socket;
        }
    }

    /// Serves a connection that somebody else accepted, such as a TLS server, until it ends or the PLC is
    /// stopped or dropped. A stopped PLC closes it at once. Faults of listeners don't reach it.
    pub async fn serve<S>(&self, stream: S, framing: Framing)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stopped = match &*self.state() {
            State::Stopped(_) => return,
            State::Running { stop, .. } => stop.subscribe(),
        };
        serve(stream, framing, Arc::clone(&self.device), Grants::All, stopped).await;
    }

    fn prepare(&self, socket: Option<TcpSocket>) -> io::Result<Prepared> {
        let device = Arc::clone(&self.device);
        Ok(match &self.endpoint {
            Endpoint::Serial(settings) if device.reach().0 == Reach::Gone => {
                Prepared::Serial(settings.clone(), None)
            }
            Endpoint::Serial(settings) => Prepared::Serial(settings.clone(), Some(settings.open()?)),
            Endpoint::Tcp(address) | Endpoint::RtuOverTcp(address) | Endpoint::Tls(address) => {
                let lock = self.lock()?;
                let socket = socket.map_or_else(|| tcp::bind(*address), Ok)?;
                Prepared::Tcp(TcpServer::new(device, self.endpoint.framing(), lock, socket)?)
            }
        })
    }

    /// What its door is locked with, read from the files as they are now.
    fn lock(&self) -> io::Result<Option<Lock>> {
        match (&self.endpoint, &self.device.settings.tls) {
            (Endpoint::Tls(_), Some(tls)) => Ok(Some(tls.lock()?)),
            (Endpoint::Tls(_), None) => Err(SimulatorError::setting("tls", MISSING_TLS).into()),
            _ => Ok(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SimulatedPlc {
    fn drop(&mut self) {
        if let State::Running { task, .. } = &*self.state() {
            task.abort();
        }
    }
}
