//! Measures the gateway as its users meet it: the release binary as a process, simulated PLCs on loopback,
//! REST and `/metrics`. Prints one table, and JSON on request; see `docs/performance.md` for the method.
//!
//! Knows public interfaces only. What one figure is worth on a noisy machine: compare within one run.

mod bench;
mod error;
mod harness;
mod report;
mod scenarios;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{bench::Bench, error::LoadError, report::Report, scenarios::Scenario};

/// What to measure.
#[derive(Debug, Parser)]
#[command(name = "bifrost-loadtest", about = "Measures the gateway and prints one table")]
struct Args {
    /// Only these scenarios
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Shorter: to see whether it works, not for figures to quote
    #[arg(long)]
    quick: bool,
    /// Write everything as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    strict: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(report) if args.strict && report.misses() > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bifrost-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<Report, LoadError> {
    let bench = Bench::new(args.quick)?;
    let mut report = Report::new(args.quick);
    scenarios::run(&args.only, &bench, &mut report)?;
    print!("{report}");
    if let Some(file) = &args.json {
        report.write_json(file)?;
    }
    Ok(report)
}
