//! `bifrost run`: the gateway.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    app::{self, App, logging},
    config::{Config, LoadOptions},
};

/// What `run` is told. Flags win over the environment, and that over the file.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The configuration, YAML or TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Instead of `gateway.port`
    #[arg(long, value_name = "P")]
    pub port: Option<u16>,
    /// Instead of `gateway.bind`
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Instead of `gateway.data_dir`
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl RunArgs {
    fn load_options(&self) -> LoadOptions {
        let mut options = LoadOptions::file(&self.config);
        let mut flag = |key: &str, value: Option<String>| {
            options.flags.extend(value.map(|value| (key.to_owned(), value)));
        };
        flag("gateway.port", self.port.map(|port| port.to_string()));
        flag("gateway.bind", self.bind.map(|bind| bind.to_string()));
        flag("gateway.data_dir", self.data_dir.as_ref().map(|dir| dir.display().to_string()));
        options
    }
}

/// Runs until told to stop: exit 0 when everything was drained.
pub fn run(args: &RunArgs) -> ExitCode {
    app::share_one_heap();
    let options = args.load_options();
    let config = match Config::load(&options) {
        Ok(config) => config,
        Err(problems) => {
            super::tell_problems(&problems);
            let file = args.config.display();
            return super::fail(format!(
                "{} in the configuration; mend {file} and start again",
                count(&problems)
            ));
        }
    };
    logging::start(&config.logging);
    app::open_files();
    actix::System::new().block_on(async {
        match App::build(config, options).await {
            Ok(mut app) => {
                if let Some(password) = app.take_first_password() {
                    // Past the log, which may be kept anywhere.
                    eprintln!("bifrost: no account yet: log in as admin with {} and change it", *password);
                }
                app.run_until_told().await
            }
            Err(error) => super::fail(error),
        }
    })
}

fn count<T>(problems: &[T]) -> String {
    if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) }
}
