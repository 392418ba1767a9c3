//! Devices from their schedule to the router, with scripted drivers under virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod commands;
mod neighbours;
mod numbers;
mod quality;
mod routing;
mod schedule;

use std::{path::Path, time::Duration};

use bifrost_actors::{
    gateway::LimitSettings,
    supervision::SupervisionSettings,
    testing::{Plant, Universe},
};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs a test with a plant of its own, and stops it in order at the end.
fn with_plant<F: Future<Output = ()>>(test: impl FnOnce(Plant) -> F) {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), LimitSettings::default(), test);
}

fn run_in<F: Future<Output = ()>>(folder: &Path, limits: LimitSettings, test: impl FnOnce(Plant) -> F) {
    Universe::run(SupervisionSettings::default(), async |universe| {
        let plant = Plant::start(&universe, folder, limits).await;
        test(plant.clone()).await;
        plant.stop().await;
    });
}

/// The same, and everything is let go of at the end, as when the process is killed.
fn crash_in<F: Future<Output = ()>>(folder: &Path, limits: LimitSettings, test: impl FnOnce(Plant) -> F) {
    Universe::crash(SupervisionSettings::default(), async |universe| {
        test(Plant::start(&universe, folder, limits).await).await;
    });
}
