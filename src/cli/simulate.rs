//! `bifrost simulate`: PLCs alone, for trying a gateway against.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use bifrost_simulator::{Scenario, Simulator, SimulatorError, TlsSettings, load_rights};
use clap::Args;

use crate::app::{open_files, signals::Signals};

/// What `simulate` is told.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// First port; further devices take the ports behind it
    #[arg(long, default_value_t = 5020, value_name = "P")]
    pub port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: IpAddr,
    /// How many PLCs
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "scenario",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub devices: u16,
    /// How many holding and input registers each has, all of them moving
    #[arg(long, default_value_t = 100, value_name = "M", conflicts_with = "scenario")]
    pub registers: u16,
    /// Devices, signals and scripted faults from a file (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Modbus/TCP Security: the PLCs' certificate; devices of a scenario that have no `listen` follow it too
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose clients are let in
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
    /// What which role may do (YAML or JSON); without it every client may do everything
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_rights: Option<PathBuf>,
}

impl SimulateArgs {
    /// How the PLCs are encrypted, if they are to be.
    fn tls(&self) -> Result<Option<TlsSettings>, SimulatorError> {
        let (Some(cert), Some(key), Some(ca)) = (&self.tls_cert, &self.tls_key, &self.tls_ca) else {
            return Ok(None);
        };
        let rights = self.tls_rights.as_deref().map(load_rights).transpose()?;
        Ok(Some(TlsSettings { rights, ..TlsSettings::new(cert, key, ca) }))
    }
}

/// Simulates until told to stop.
pub fn run(args: &SimulateArgs) -> ExitCode {
    open_files();
    match actix::System::new().block_on(simulate(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(error),
    }
}

async fn simulate(args: &SimulateArgs) -> Result<(), SimulatorError> {
    let mut signals =
        Signals::listen().map_err(|source| SimulatorError::Read { path: "signals".into(), source })?;
    let mut scenario = match &args.scenario {
        Some(file) => Scenario::load(file)?,
        None => Scenario::uniform(args.devices, args.registers),
    };
    if let Some(tls) = args.tls()? {
        scenario.tls = Some(tls);
    }
    let simulator = Simulator::start(scenario.listeners(args.bind, Some(args.port))?)?;
    for plc in simulator.plcs() {
        println!("{} listens on {}", plc.name(), plc.endpoint());
    }
    println!("stop with Ctrl-C");
    signals.stop().await;
    simulator.stop().await;
    Ok(())
}
