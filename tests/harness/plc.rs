//! Simulated PLCs in this process, on a runtime of their own, for tests that know nothing of runtimes.

use std::{net::Ipv4Addr, ops::Deref, sync::LazyLock, thread};

use bifrost_model::DataType;
use bifrost_simulator::{Endpoint, PlcSettings, Signal, SimulatedPlc, Table, Wave};
use tokio::runtime::{Builder, Handle};

static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

/// A simulated PLC at a free port of loopback.
pub(crate) struct Plc(SimulatedPlc);

impl Plc {
    /// Over Modbus/TCP.
    pub(crate) fn tcp(settings: PlcSettings) -> Self {
        Self::listen(&Endpoint::Tcp((Ipv4Addr::LOCALHOST, 0).into()), settings)
    }

    /// Over RTU frames in a TCP connection.
    pub(crate) fn rtu_over_tcp(settings: PlcSettings) -> Self {
        Self::listen(&Endpoint::RtuOverTcp((Ipv4Addr::LOCALHOST, 0).into()), settings)
    }

    /// Modbus/TCP, with holding register N holding 1000 + N for N below 80, and zero above.
    pub(crate) fn counting() -> Self {
        Self::tcp(counting())
    }

    pub(crate) fn listen(endpoint: &Endpoint, settings: PlcSettings) -> Self {
        let _runtime = RUNTIME.enter();
        Self(SimulatedPlc::listen(endpoint, settings).expect("the simulator listens"))
    }

    /// As a configuration names it.
    pub(crate) fn address(&self) -> String {
        self.0.local_addr().expect("it has a network address").to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().expect("it has a network address").port()
    }

    /// Connections are closed and new ones refused when this returns.
    pub(crate) fn switch_off(&self) {
        RUNTIME.block_on(self.0.stop());
    }

    pub(crate) fn switch_on(&self) {
        let _runtime = RUNTIME.enter();
        self.0.start().expect("its port is still its own");
    }
}

impl Deref for Plc {
    type Target = SimulatedPlc;

    fn deref(&self) -> &SimulatedPlc {
        &self.0
    }
}

/// Holding register N holds 1000 + N for N below 80, and zero above.
pub(crate) fn counting() -> PlcSettings {
    let signals = (0..80).map(|address| {
        let wave = Wave::Constant { value: f64::from(1000 + address) };
        Signal::new(Table::Holding, address, DataType::Uint16, wave)
    });
    PlcSettings { signals: signals.collect(), ..PlcSettings::default() }
}
