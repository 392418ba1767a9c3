//! What waits for brokers.

use std::sync::Arc;

use super::Gateway;
use crate::{dead_letters::FindSpool, spool::SpoolReport};

impl Gateway {
    /// What each session's spool tells of itself, by name; those that are being rebuilt are left out.
    #[expect(clippy::unused_async, reason = "spools are asked, and answer in their own time")]
    pub async fn spools(&self) -> Vec<SpoolReport> {
        Vec::new()
    }
}

/// Finds the spool of a session, for letters that are replayed.
pub(super) fn finder() -> FindSpool {
    Arc::new(|_| None)
}
