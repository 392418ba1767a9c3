//! The supervisor tree: what becomes of children that fail, and of their neighbours.
//!
//! Virtual time, except where a thread is really blocked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod budget;
mod drain;
mod ends;
mod guests;
mod orders;
mod starts;
mod threads;
mod whole_life;

use std::time::Duration;

use bifrost_actors::supervision::SupervisionSettings;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The default table with a watchdog that looks every second and waits for two.
fn watchful() -> SupervisionSettings {
    SupervisionSettings {
        watchdog_interval: Duration::from_secs(1),
        watchdog_limit: Duration::from_secs(2),
        ..SupervisionSettings::default()
    }
}
