//! What all scenarios share: where the programs are, and how long to measure.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::error::LoadError;

/// The programs and the times.
#[derive(Debug)]
pub(crate) struct Bench {
    /// `target/release`.
    release: PathBuf,
    /// Shorter runs.
    pub(crate) quick: bool,
    /// Whether programs can be bound to cores, and there are two.
    pub(crate) pins: bool,
}

impl Bench {
    /// Finds everything beside the program that runs.
    pub(crate) fn new(quick: bool) -> Result<Self, LoadError> {
        let own = env::current_exe().map_err(LoadError::at("the path of this program"))?;
        let release = own.parent().map(Path::to_owned).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self { release, quick, pins: cores > 1 && has_taskset() })
    }

    /// The gateway's binary.
    pub(crate) fn bifrost(&self) -> Result<PathBuf, LoadError> {
        existing(self.release.join("bifrost"), "build it: cargo build --release -p bifrost")
    }

    /// The example that reads through one device's actor.
    pub(crate) fn sequential(&self) -> Result<PathBuf, LoadError> {
        let how = "build it: cargo build --release -p bifrost-actors --example sequential";
        existing(self.release.join("examples/sequential"), how)
    }

    /// The bare libmodbus loop.
    pub(crate) fn libmodbus_loop(&self) -> Result<PathBuf, LoadError> {
        let target = self.release.parent().map(Path::to_owned).unwrap_or_default();
        existing(target.join("test-tools/libmodbus_loop"), "build it: make test-tools")
    }

    /// How long things may settle before they are measured.
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 5 })
    }

    /// How long is measured.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(if self.quick { 5 } else { 20 })
    }
}

fn existing(program: PathBuf, how: &'static str) -> Result<PathBuf, LoadError> {
    if program.is_file() { Ok(program) } else { Err(LoadError::Missing { program, how }) }
}

fn has_taskset() -> bool {
    let quiet = Command::new("taskset").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}
