//! Many PLCs in one process.
//!
//! Each takes one file descriptor for its listener and one for every connection: beyond about a thousand of
//! both, raise the limit (`ulimit -n`) first. A PLC that nobody talks to costs its memory and nothing else.

use crate::{SimulatorError, endpoint::Endpoint, plc::SimulatedPlc, settings::PlcSettings};

/// One PLC to be started, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where it can be reached.
    pub endpoint: Endpoint,
    /// What it is.
    pub settings: PlcSettings,
}

/// PLCs that run together. Dropping it ends them all.
#[derive(Debug)]
pub struct Simulator {
    plcs: Vec<SimulatedPlc>,
}

impl Simulator {
    /// Starts them all, or none.
    ///
    /// # Errors
    /// The first that couldn't be started, with its name and endpoint.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(listeners: Vec<Listener>) -> Result<Self, SimulatorError> {
        let plcs = listeners.into_iter().map(|Listener { endpoint, settings }| {
            let name = settings.name.clone();
            settings.validate().map_err(|error| error.below(&name))?;
            SimulatedPlc::listen(&endpoint, settings).map_err(|source| SimulatorError::Listen {
                name,
                endpoint: endpoint.to_string(),
                source,
            })
        });
        Ok(Self { plcs: plcs.collect::<Result<_, _>>()? })
    }

    /// All of them, in the order in which they were given.
    pub fn plcs(&self) -> &[SimulatedPlc] {
        &self.plcs
    }

    /// The one of this name.
    pub fn plc(&self, name: &str) -> Option<&SimulatedPlc> {
        self.plcs.iter().find(|plc| plc.name() == name)
    }

    /// Switches all of them off.
    pub async fn stop(&self) {
        for plc in &self.plcs {
            plc.stop().await;
        }
    }
}
