//! Gauges that are set when somebody asks for metrics.

use std::collections::BTreeMap;

use super::{Gateway, notices::kind_name};
use crate::supervision::{ChildState, NodeSnapshot};

impl Gateway {
    /// Brings the gauges of actors and mailboxes up to date.
    pub async fn refresh_gauges(&self) {
        let Ok(tree) = self.tree("/", false).await else { return };
        let mut dropped = BTreeMap::new();
        let mut states = BTreeMap::new();
        count(&tree, &mut dropped, &mut states);
        let metrics = self.metrics();
        metrics.actors.reset();
        for ((kind, state), number) in states {
            metrics.actors.with_label_values(&[kind, state]).set(number);
        }
        for (kind, number) in dropped {
            metrics.mailbox_dropped.with_label_values(&[kind]).set(number);
        }
        let waiting = self.router().map_or(0, |router| router.publish.stats().depth());
        metrics.router_depth.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

fn count(
    node: &NodeSnapshot,
    dropped: &mut BTreeMap<&'static str, i64>,
    states: &mut BTreeMap<(&'static str, &'static str), i64>,
) {
    let kind = kind_name(node.kind);
    *states.entry((kind, state_name(node.state))).or_default() += 1;
    if let Some(mailbox) = node.mailbox {
        *dropped.entry(kind).or_default() += i64::try_from(mailbox.dropped).unwrap_or(i64::MAX);
    }
    for child in &node.children {
        count(child, dropped, states);
    }
}

fn state_name(state: ChildState) -> &'static str {
    match state {
        ChildState::Running => "running",
        ChildState::Backoff => "backoff",
        ChildState::Stopped => "stopped",
        ChildState::Failed => "failed",
    }
}
