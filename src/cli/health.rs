//! `bifrost health`: whether a gateway is ready, for scripts and containers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bifrost_security::tls::read_certificates;
use clap::Args;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::config::{Config, LoadOptions};

/// What `health` is told.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Where the gateway listens
    #[arg(long, default_value = "https://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// Ask the gateway that runs on this machine from this configuration
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "ca"])]
    pub config: Option<PathBuf>,
    /// Certificates of the authorities that the gateway's must come from; the system's unless given
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print the gateway's answer
    #[arg(long)]
    pub json: bool,
}

/// Whom to ask, and whom to believe.
struct Question {
    url: String,
    tls: TlsConfig,
}

/// Asks once: exit 0 when ready.
pub fn run(args: &HealthArgs) -> ExitCode {
    let question = match &args.config {
        Some(file) => of_configuration(file),
        None => of_url(&args.url, args.ca.as_deref()),
    };
    let Question { url, tls } = match question {
        Ok(question) => question,
        Err(error) => return super::fail(error),
    };
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

fn of_url(url: &str, authorities: Option<&Path>) -> Result<Question, String> {
    let roots = match authorities {
        None => RootCerts::PlatformVerifier,
        Some(file) => {
            let certificates = read_certificates(file).map_err(|error| error.to_string())?;
            let certificates = certificates.iter().filter_map(|certificate| certificate.to_der().ok());
            let certificates: Vec<_> =
                certificates.map(|der| Certificate::from_der(&der).to_owned()).collect();
            RootCerts::new_with_certs(&certificates)
        }
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    Ok(Question { url: format!("{}/readiness", url.trim_end_matches('/')), tls })
}

/// This machine asks itself, under an address that its certificate needn't have: it learns nothing but whether
/// it is ready, and says nothing, so the certificate isn't checked.
fn of_configuration(file: &Path) -> Result<Question, String> {
    let options = LoadOptions::file(file).syntax_only();
    let config = Config::load(&options).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("{first}; bifrost check tells every problem")
    })?;
    let gateway = &config.gateway;
    let scheme = if gateway.insecure_http { "http" } else { "https" };
    let address = match gateway.bind {
        IpAddr::V4(bind) if bind.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(bind) if bind.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        bind => bind,
    };
    let url = format!("{scheme}://{}/readiness", SocketAddr::from((address, gateway.port)));
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).disable_verification(true).build();
    Ok(Question { url, tls })
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
