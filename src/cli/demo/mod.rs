//! `bifrost demo`: simulated PLCs on real sockets, a gateway that reads them, and a table of what it reads.
//!
//! The gateway is configured by a text that goes the same way as an operator's file.

mod commands;
mod plant;
mod table;
mod token;

use std::{io::IsTerminal as _, path::Path, process::ExitCode, time::Duration};

use bifrost_security::tls::ServerIdentity;
use bifrost_simulator::Simulator;
use clap::Args;
use tokio::sync::mpsc;

use self::{commands::Command, plant::Plant, table::Table};
use crate::{
    app::{self, App, AppError, development, logging},
    config::{Config, LoadOptions, LoggingSettings},
};

/// What `demo` is told.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where to listen, on loopback
    #[arg(long, default_value_t = 8443, value_name = "P")]
    pub port: u16,
    /// How many PLCs
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub devices: u16,
    /// Print plain lines, also in a terminal
    #[arg(long)]
    pub plain: bool,
    /// End by itself after so long, such as 10s
    #[arg(long, value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
    pub duration: Option<Duration>,
}

/// Runs until told to stop.
pub fn run(args: &DemoArgs) -> ExitCode {
    app::open_files();
    let live = !args.plain && std::io::stdout().is_terminal();
    // Log records between the lines of a table help nobody; events are at /api/events too.
    let level = if live { "off" } else { "warn" };
    logging::start(&LoggingSettings { level: level.to_owned(), ..LoggingSettings::default() });
    let folder = match tempfile::Builder::new().prefix("bifrost-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return super::fail(format!("no temporary directory can be made: {error}; set TMPDIR")),
    };
    actix::System::new().block_on(async {
        let plant = match Plant::start(args.devices) {
            Ok(plant) => plant,
            Err(error) => return super::fail(error),
        };
        let mut options = LoadOptions::text("demo.yaml", plant.configuration(args.port, folder.path()));
        let mut config = match Config::load(&options) {
            Ok(config) => config,
            Err(problems) => {
                super::tell_problems(&problems);
                return super::fail("the demo's own configuration was refused");
            }
        };
        if let Err(error) = development::install(&mut config, &mut options) {
            return super::fail(format!("no certificate can be made: {error}"));
        }
        let authority = development::authority_file(folder.path());
        match App::build(config, options).await {
            Ok(app) => match token::issue(folder.path()) {
                Ok(token) => show(app, plant, live, args.duration, (&authority, &token)).await,
                Err(error) => super::fail(format!("no token can be issued: {error}")),
            },
            Err(AppError::Listen { address, source }) => {
                super::fail(format!("can't listen on {address}: {source}; choose another port with --port"))
            }
            Err(error) => super::fail(error),
        }
    })
}

async fn show(
    mut app: App,
    plant: Plant,
    live: bool,
    duration: Option<Duration>,
    (authority, token): (&Path, &str),
) -> ExitCode {
    let mut table = Table::new(app.gateway().clone(), app.url().to_owned(), live);
    let fingerprint = app.identity().map(ServerIdentity::fingerprint).unwrap_or_default();
    let password = app.take_first_password();
    let password = password.as_ref().map(|password| password.as_str());
    table.introduce(&plant, authority, &fingerprint, (password, token));
    let looking = async {
        let mut ticks =
            tokio::time::interval(if live { Duration::from_millis(500) } else { Duration::from_secs(2) });
        let mut typed = typed_lines();
        let mut listening = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => table.draw(&plant).await,
                order = typed.recv(), if listening => match order {
                    Some(order) => table.say(carry_out(&order, &plant.simulator).await),
                    None => listening = false,
                },
            }
        }
    };
    let timed = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let code = app.run_beside(looking, timed).await;
    table.end();
    code
}

/// Lines from stdin, read on a thread that nobody waits for: a read that never returns must not keep the
/// process from ending.
fn typed_lines() -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if tx.blocking_send(line).is_err() {
                return;
            }
        }
    });
    rx
}

async fn carry_out(line: &str, simulator: &Simulator) -> String {
    match commands::parse(line, simulator) {
        Ok(Command::Nothing) => String::new(),
        Ok(Command::Stop(plc)) if !plc.is_running() => format!("{} is off already", plc.name()),
        Ok(Command::Stop(plc)) => {
            plc.stop().await;
            format!("{name} is off; back on with: start {name}", name = plc.name())
        }
        Ok(Command::Start(plc)) if plc.is_running() => format!("{} is on already", plc.name()),
        Ok(Command::Start(plc)) => match plc.start() {
            Ok(()) => format!("{} is on; the gateway tries again within 10 s", plc.name()),
            Err(error) => format!("{} can't be switched on: {error}", plc.name()),
        },
        Err(help) => help,
    }
}
