//! Simulated PLCs in one process: `bifrost simulate`.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use bifrost_model::DataType;
use bifrost_simulator::{DeviceSpec, Fault, Scenario, ScriptedFault, Signal, Table, Wave};
use tempfile::TempDir;

use super::{
    ports::free_in_a_row,
    process::{Process, pinned},
    usage::Usage,
};
use crate::{bench::Bench, error::LoadError};

/// How long the simulator may take to listen everywhere.
const PATIENCE: Duration = Duration::from_secs(20);

/// PLCs that run, on ports one after the other.
#[derive(Debug)]
pub(crate) struct Plant {
    process: Process,
    /// The first PLC's port.
    pub(crate) port: u16,
    _directory: TempDir,
}

impl Plant {
    /// Starts them, on one core if asked to, and waits until all listen. Behind their ports are `spare` more
    /// on which nobody listens.
    pub(crate) fn start(
        bench: &Bench,
        devices: Vec<DeviceSpec>,
        spare: u16,
        core: Option<usize>,
    ) -> Result<Self, LoadError> {
        let directory = tempfile::tempdir().map_err(LoadError::at("a temporary directory"))?;
        let count: u16 = devices.iter().map(|device| device.count.unwrap_or(1)).sum();
        let port = free_in_a_row(count + spare)?;
        let file = directory.path().join("plant.json");
        let scenario = serde_json::to_string(&Scenario { tls: None, devices });
        let scenario = scenario.map_err(|error| LoadError::Unreadable(format!("the plant: {error}")))?;
        fs::write(&file, scenario).map_err(LoadError::at(file.display().to_string()))?;
        let mut command = pinned(&bench.bifrost()?, core);
        command.args(["simulate", "--port", &port.to_string(), "--scenario"]).arg(&file);
        let process = Process::start("bifrost simulate", &mut command, directory.path().join("log"))?;
        let mut plant = Self { process, port, _directory: directory };
        plant.listens()?;
        Ok(plant)
    }

    fn listens(&mut self) -> Result<(), LoadError> {
        let begin = Instant::now();
        while !self.process.has_said("stop with Ctrl-C") {
            self.process.check()?;
            if begin.elapsed() > PATIENCE {
                return Err(self.process.failed("doesn't listen"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What it has taken.
    pub(crate) fn usage(&self) -> Result<Usage, LoadError> {
        Usage::of(self.process.pid())
    }
}

/// So many PLCs with so many holding registers, of which all but the last move; the last is for writes.
pub(crate) fn plc(name: &str, count: u16, registers: u16, fault: Option<Fault>) -> DeviceSpec {
    let wave = Wave::Ramp { min: 0.0, max: 10_000.0, period: Duration::from_secs(100) };
    let signal = Signal {
        repeat: registers.saturating_sub(1),
        ..Signal::new(Table::Holding, 0, DataType::Uint16, wave)
    };
    DeviceSpec {
        name: name.to_owned(),
        count: Some(count),
        registers: Some(registers),
        signals: vec![signal],
        faults: fault.map(ScriptedFault::always).into_iter().collect(),
        ..DeviceSpec::default()
    }
}
