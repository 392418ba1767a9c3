//! `bifrost health`: whether a gateway is ready, for scripts and containers.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bifrost_security::tls::{FileError, read_certificates};
use clap::Args;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// What `health` is told.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Where the gateway listens
    #[arg(long, default_value = "https://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// Certificates of the authorities that the gateway's must come from; the system's unless given
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print the gateway's answer
    #[arg(long)]
    pub json: bool,
}

/// Asks once: exit 0 when ready.
pub fn run(args: &HealthArgs) -> ExitCode {
    let url = format!("{}/readiness", args.url.trim_end_matches('/'));
    let roots = match trusted(args.ca.as_deref()) {
        Ok(roots) => roots,
        Err(error) => return super::fail(error),
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .tls_config(tls)
        .build()
        .into();
    let answer = agent.get(&url).call().and_then(|mut answer| {
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), text))
    });
    match answer {
        Ok((status, text)) => tell(args, status, text.trim()),
        Err(error) => {
            super::fail(format!("{url}: {error}; is the gateway running, and is this its address?"))
        }
    }
}

/// Whom to believe when the gateway shows its certificate.
fn trusted(file: Option<&Path>) -> Result<RootCerts, FileError> {
    let Some(file) = file else { return Ok(RootCerts::PlatformVerifier) };
    let certificates = read_certificates(file)?;
    let certificates = certificates.iter().filter_map(|certificate| certificate.to_der().ok());
    Ok(RootCerts::new_with_certs(
        &certificates.map(|der| Certificate::from_der(&der).to_owned()).collect::<Vec<_>>(),
    ))
}

fn tell(args: &HealthArgs, status: u16, answer: &str) -> ExitCode {
    let ready = status == 200;
    match (ready, args.json) {
        (_, true) => println!("{answer}"),
        (true, false) => println!("ready"),
        (false, false) => return super::fail(format!("not ready (HTTP {status}): {answer}")),
    }
    if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
