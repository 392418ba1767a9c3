//! `bifrost check`: every problem of a configuration.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::config::{Config, LoadOptions, Problem};

/// What `check` is told.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The configuration, YAML or TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Open no file that the configuration names, and don't ask what this version can do
    #[arg(long)]
    pub syntax_only: bool,
    /// Print the problems as a JSON list on stdout
    #[arg(long)]
    pub json: bool,
}

/// Checks, and tells: exit 0 when the configuration can be run, 1 when it can't.
pub fn run(args: &CheckArgs) -> ExitCode {
    let options = LoadOptions { syntax_only: args.syntax_only, ..LoadOptions::file(&args.config) };
    let checked = Config::load(&options).and_then(|config| {
        let missing = if args.syntax_only { Vec::new() } else { config.unreadable_files() };
        if missing.is_empty() { Ok(config) } else { Err(missing) }
    });
    // Whoever reads may have closed its end; the exit code still tells.
    let _ = tell(args, &checked);
    if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(args: &CheckArgs, checked: &Result<Config, Vec<Problem>>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match checked {
        _ if args.json => {
            let problems = checked.as_ref().err().map(Vec::as_slice).unwrap_or_default();
            serde_json::to_writer_pretty(&mut out, problems)?;
            writeln!(out)
        }
        Ok(config) => writeln!(out, "{}", summary(&args.config, config)),
        Err(problems) => {
            let mut err = io::stderr().lock();
            problems.iter().try_for_each(|problem| writeln!(err, "{problem}"))
        }
    }
}

/// `gateway.yaml: ok, 3 devices, 120 tags`
fn summary(file: &Path, config: &Config) -> String {
    let count = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    let devices = count(config.devices.len(), "device");
    format!("{}: ok, {devices}, {}", file.display(), count(config.tag_count(), "tag"))
}
