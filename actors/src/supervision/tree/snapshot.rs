//! The tree as others see it.

use std::{collections::HashMap, time::Duration};

use actix::Recipient;
use futures_util::future::join_all;

use super::{Body, Tree};
use crate::supervision::messages::{NodeSnapshot, Observe};

/// How long an actor may take to say what it sees of itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

impl Tree {
    pub(super) fn snapshot(&self, path: &str) -> Option<NodeSnapshot> {
        let node = self.nodes.get(path)?;
        let children = match &node.body {
            Body::Branch(children) => children.iter().filter_map(|child| self.snapshot(child)).collect(),
            _ => Vec::new(),
        };
        Some(NodeSnapshot {
            path: path.to_owned(),
            kind: node.kind,
            state: node.state(),
            restarts: node.restarts,
            last_error: node.last_error.clone(),
            since: node.since,
            mailbox: node.mailbox().map(crate::supervision::MailboxStats::snapshot),
            detail: None,
            children,
        })
    }

    /// Who can be asked what they see of themselves, at or below a path.
    pub(super) fn observers(&self, path: &str) -> Vec<(String, Recipient<Observe>)> {
        let leaves = self.leaves(path).into_iter();
        leaves
            .filter_map(|leaf| {
                let observe = self.nodes.get(&leaf)?.ports.as_ref()?.observe.clone();
                Some((leaf, observe))
            })
            .collect()
    }
}

pub(super) async fn ask(observers: Vec<(String, Recipient<Observe>)>) -> HashMap<String, serde_json::Value> {
    let answers = observers.into_iter().map(|(path, observe)| async move {
        let answer = tokio::time::timeout(ANSWER_LIMIT, observe.send(Observe)).await;
        answer.ok().and_then(Result::ok).map(|observation| (path, observation.0))
    });
    join_all(answers).await.into_iter().flatten().collect()
}

pub(super) fn fill_in(node: &mut NodeSnapshot, details: &mut HashMap<String, serde_json::Value>) {
    node.detail = details.remove(&node.path);
    for child in &mut node.children {
        fill_in(child, details);
    }
}
