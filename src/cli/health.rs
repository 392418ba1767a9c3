//! `bifrost health`: whether a gateway is ready, for scripts and containers.

use std::{process::ExitCode, time::Duration};

use clap::Args;

/// What `health` is told.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Where the gateway listens
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// Print the gateway's answer
    #[arg(long)]
    pub json: bool,
}

/// Asks once: exit 0 when ready.
pub fn run(args: &HealthArgs) -> ExitCode {
    let url = format!("{}/readiness", args.url.trim_end_matches('/'));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
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

fn tell(args: &HealthArgs, status: u16, answer: &str) -> ExitCode {
    let ready = status == 200;
    match (ready, args.json) {
        (_, true) => println!("{answer}"),
        (true, false) => println!("ready"),
        (false, false) => return super::fail(format!("not ready (HTTP {status}): {answer}")),
    }
    if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
