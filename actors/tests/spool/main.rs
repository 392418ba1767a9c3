//! The spool between a router and a session that does as it is told, under virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod bench;
mod bounds;
mod ends;
mod handing;
mod outage;
mod session;
mod telling;

use std::time::Duration;

pub(crate) use bench::{Bench, with_bench};
pub(crate) use session::Session;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// All is idle: whatever could be said has been heard, and whatever could be written has been.
async fn settle() {
    tokio::time::sleep(ms(1)).await;
}
