//! The commands of the binary, one file each.
//!
//! Exit codes: 0 done, 1 the thing asked for failed, 2 wrong use. Errors are one line on stderr that says what
//! to do.

pub mod audit;
pub mod check;
pub mod demo;
pub mod health;
pub mod identity;
pub mod pki;
pub mod run;
pub mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reads a plant's PLCs and carries what it reads to those who need it.
#[derive(Debug, Parser)]
#[command(name = "bifrost", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::RunArgs),
    /// Run a gateway against simulated PLCs, everything in one process, and show what it reads
    Demo(demo::DemoArgs),
    /// Say everything that is wrong with a configuration
    Check(check::CheckArgs),
    /// Run simulated PLCs alone
    Simulate(simulate::SimulateArgs),
    /// Keep certificate authorities, and the certificates they issue
    Pki(pki::PkiArgs),
    /// Ask a running gateway whether it is ready
    Health(health::HealthArgs),
    /// The audit trail: check it, print it, prove records
    Audit(audit::AuditArgs),
    /// Accounts
    User(identity::UserArgs),
    /// Tokens for programs
    Token(identity::TokenArgs),
}

impl Cli {
    /// Carries the command out.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Demo(args) => demo::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Simulate(args) => simulate::run(&args),
            Command::Pki(args) => pki::run(&args),
            Command::Health(args) => health::run(&args),
            Command::Audit(args) => audit::run(&args),
            Command::User(args) => identity::user(&args),
            Command::Token(args) => identity::token(&args),
        }
    }
}

/// Says in one line why a command failed.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("bifrost: {error}");
    ExitCode::FAILURE
}

/// Says in one line each what is wrong with a configuration.
fn tell_problems(problems: &[crate::config::Problem]) {
    for problem in problems {
        eprintln!("{problem}");
    }
}
