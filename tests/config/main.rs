//! The configuration as users meet it: files, tag files, the environment, and `bifrost check`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test's helpers need and don't get ends the test"
)]

mod check_command;
mod environment;
mod examples;
mod fuzz;
mod problems;
mod reload;
mod seed;
mod tag_files;

use bifrost::config::{Config, LoadOptions};

/// A YAML text, run for real: with everything that `bifrost run` asks.
fn load(text: &str) -> Result<Config, Vec<String>> {
    load_with(&LoadOptions::text("gateway.yaml", text))
}

fn load_with(options: &LoadOptions) -> Result<Config, Vec<String>> {
    Config::load(options).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// The problems of a text that has some.
fn problems(text: &str) -> Vec<String> {
    load(text).err().unwrap_or_default()
}

/// That exactly these problems are told, each by a part of its line.
#[track_caller]
fn assert_problems(found: &[String], expected: &[&str]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
}
