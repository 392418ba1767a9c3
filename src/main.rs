//! The `bifrost` binary.
//!
//! The life of the process: parse the command line, hand over to the command, answer its exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    bifrost::cli::Cli::parse().run()
}
