//! What waits for brokers.

use std::sync::Arc;

use super::{Gateway, brokers::Spools};
use crate::{
    dead_letters::FindSpool,
    spool::{ReportSpool, SpoolReport},
};

impl Gateway {
    /// What each session's spool tells of itself, by name; those that are being rebuilt are left out.
    pub async fn spools(&self) -> Vec<SpoolReport> {
        let desks = self.0.spools.values().filter_map(crate::supervision::Slot::get);
        let asked = desks.map(|desk| async move { desk.report.send(ReportSpool).await.ok() });
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

/// Finds the spool of a session, for letters that are replayed.
pub(super) fn finder(spools: Spools) -> FindSpool {
    Arc::new(move |session| Some(spools.get(session)?.get()?.requeue))
}
