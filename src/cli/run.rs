//! `bifrost run`: the gateway.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    app::{self, App, development, logging},
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
    /// Serve HTTPS with a certificate that is made in the data directory; to try things out
    #[arg(long)]
    pub development_certificate: bool,
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
    let mut options = args.load_options();
    let mut config = match Config::load(&options) {
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
    if args.development_certificate {
        if config.gateway.insecure_http || config.security.certificates.cert_file.is_some() {
            return super::fail(
                "--development-certificate is for a configuration that has neither security.certificates.cert_file \
                 nor gateway.insecure_http; leave it out, or them",
            );
        }
        if let Err(error) = development::install(&mut config, &mut options) {
            return super::fail(format!("no development certificate can be made: {error}"));
        }
        let authority = development::authority_file(&config.gateway.data_dir);
        tracing::warn!(ca_file = %authority.display(), "HTTPS shows a development certificate; clients must be told of its authority");
    }
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
