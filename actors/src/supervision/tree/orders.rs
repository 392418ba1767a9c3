//! Orders: restart, stop, start, remove.

use std::time::Duration;

use actix::{AsyncContext, Context};
use tokio::sync::oneshot;

use super::{Body, Node, Notice, Order, OrderKind, Phase, ROOT, Tree, TreeError, node::Then};
use crate::supervision::messages::Stop;

/// How long a dropped incarnation's thread may take to confirm before it is taken for stuck.
const DROP_LIMIT: Duration = Duration::from_secs(1);

impl Tree {
    pub(super) fn carry_out(
        &mut self,
        order: &Order,
        ctx: &mut Context<Self>,
    ) -> Result<Vec<oneshot::Receiver<()>>, TreeError> {
        self.check_order(order)?;
        self.hold(&order.path, order.kind == OrderKind::Stop);
        if order.kind != OrderKind::Stop {
            self.start_branches(&order.path, ctx);
        } else if let Some(node) = self.nodes.get_mut(&order.path)
            && matches!(node.body, Body::Branch(_))
        {
            node.enter(Phase::Stopped);
        }
        let mut leaves = self.leaves(&order.path);
        if order.kind != OrderKind::Stop {
            leaves.reverse();
        }
        Ok(leaves.into_iter().filter_map(|leaf| self.order_leaf(&leaf, order.kind, ctx)).collect())
    }

    fn check_order(&self, order: &Order) -> Result<(), TreeError> {
        let node = self.nodes.get(&order.path).ok_or_else(|| TreeError::UnknownPath(order.path.clone()))?;
        match (&node.body, order.kind) {
            (Body::Guest(_), OrderKind::Restart) => Err(TreeError::Guest(order.path.clone(), "restarted")),
            (Body::Guest(_), OrderKind::Start) => Err(TreeError::Guest(order.path.clone(), "started")),
            _ => Ok(()),
        }
    }

    fn order_leaf(
        &mut self,
        path: &str,
        kind: OrderKind,
        ctx: &mut Context<Self>,
    ) -> Option<oneshot::Receiver<()>> {
        let node = self.nodes.get_mut(path)?;
        let guest = matches!(node.body, Body::Guest(_));
        let rests = match (kind, node.phase) {
            (OrderKind::Stop, Phase::Stopped) | (OrderKind::Start, Phase::Running | Phase::Starting) => true,
            (OrderKind::Restart | OrderKind::Start, _) => guest,
            (OrderKind::Stop, _) => false,
        };
        if rests {
            return None;
        }
        let wait = self.wait_for(path);
        match kind {
            OrderKind::Stop => self.stop_leaf(path, Then::Stay, ctx),
            OrderKind::Start | OrderKind::Restart => {
                self.forgive(path);
                self.stop_leaf(path, Then::Start, ctx);
            }
        }
        Some(wait)
    }

    /// What is started by hand begins with a clean slate.
    fn forgive(&mut self, path: &str) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.failures.clear();
        }
    }

    /// Notes of a node and all below it whether they are to rest until told otherwise.
    fn hold(&mut self, path: &str, held: bool) {
        for path in self.below(path).into_iter().chain([path.to_owned()]) {
            if let Some(node) = self.nodes.get_mut(&path) {
                node.held = held;
            }
        }
    }

    /// Marks a branch and every branch below it as running, but for those that were stopped by hand.
    fn start_branches(&mut self, path: &str, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        let Body::Branch(children) = &node.body else { return };
        if node.held {
            return;
        }
        let (children, alarmed) = (children.clone(), node.alarmed);
        node.enter(Phase::Running);
        if alarmed {
            self.settle_later(path, ctx);
        }
        for child in children {
            self.start_branches(&child, ctx);
        }
    }

    pub(super) fn start_branch(&mut self, path: &str, ctx: &mut Context<Self>) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.restarts += 1;
        }
        self.start_branches(path, ctx);
        for leaf in self.leaves(path).into_iter().rev() {
            if self.nodes.get(&leaf).is_some_and(|node| node.held) {
                continue;
            }
            self.stop_leaf(&leaf, Then::Start, ctx);
        }
    }

    /// Ends a leaf's incarnation, if there is one, and then does as told.
    pub(super) fn stop_leaf(&mut self, path: &str, then: Then, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        match node.phase {
            Phase::Backoff | Phase::Parked | Phase::Stopped => return self.stopped_leaf(path, then, ctx),
            // It has been said that it is gone for good.
            Phase::Stopping(Then::Remove) => return,
            Phase::Stopping(_) => {
                node.phase = Phase::Stopping(then);
                return;
            }
            Phase::Starting | Phase::Running => node.enter(Phase::Stopping(then)),
        }
        match &node.ports {
            Some(ports) => ports.stop.do_send(Stop),
            None => node.abort.iter().for_each(futures_util::future::AbortHandle::abort),
        }
        let limit = self.settings.policy(node.kind).map_or(DROP_LIMIT, |policy| policy.stop_timeout);
        let (path, incarnation) = (path.to_owned(), node.incarnation);
        ctx.run_later(limit, move |tree, ctx| tree.drop_leaf(&path, incarnation, ctx));
    }

    /// It was asked to stop and didn't: drops it; should even that not happen, goes on without it.
    fn drop_leaf(&mut self, path: &str, incarnation: u64, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        if node.incarnation != incarnation || !matches!(node.phase, Phase::Stopping(_)) {
            return;
        }
        node.last_error = Some("didn't stop in time and was dropped".to_owned());
        if let Some(abort) = &node.abort {
            abort.abort();
        }
        let path = path.to_owned();
        ctx.run_later(DROP_LIMIT, move |tree, ctx| {
            let Some(node) = tree.nodes.get(&path) else { return };
            if let (true, Phase::Stopping(then)) = (node.incarnation == incarnation, node.phase) {
                tree.stopped_leaf(&path, then, ctx);
            }
        });
    }

    pub(super) fn stopped_leaf(&mut self, path: &str, then: Then, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        node.ports = None;
        node.enter(Phase::Stopped);
        if matches!(node.body, Body::Guest(_)) || then == Then::Remove {
            self.forget(path);
        } else if then == Then::Start {
            self.start_leaf(path, ctx);
        } else {
            let kind = node.kind;
            node.wake_waiters();
            (self.notify)(Notice::Stopped { path: path.to_owned(), kind });
        }
    }

    /// Every leaf at or below a path, last started first: what is stopped goes in reverse order.
    pub(super) fn leaves(&self, path: &str) -> Vec<String> {
        match self.nodes.get(path) {
            Some(Node { body: Body::Branch(children), .. }) => {
                children.iter().rev().flat_map(|child| self.leaves(child)).collect()
            }
            Some(_) => vec![path.to_owned()],
            None => Vec::new(),
        }
    }

    /// Every node below a path.
    pub(super) fn below(&self, path: &str) -> Vec<String> {
        let Some(Node { body: Body::Branch(children), .. }) = self.nodes.get(path) else { return Vec::new() };
        children.iter().flat_map(|child| [vec![child.clone()], self.below(child)].concat()).collect()
    }

    /// Forgets a branch and those below it, unless something has come into them again; the root stays.
    pub(super) fn forget_branches(&mut self, path: &str) {
        let Some(Node { body: Body::Branch(children), .. }) = self.nodes.get(path) else { return };
        for child in children.clone() {
            self.forget_branches(&child);
        }
        let empty = matches!(self.nodes.get(path), Some(Node { body: Body::Branch(children), .. }) if children.is_empty());
        if empty && path != ROOT {
            self.forget(path);
        }
    }

    pub(super) fn remove(
        &mut self,
        path: &str,
        ctx: &mut Context<Self>,
    ) -> Result<Vec<oneshot::Receiver<()>>, TreeError> {
        if !self.nodes.contains_key(path) {
            return Err(TreeError::UnknownPath(path.to_owned()));
        }
        let mut waits = Vec::new();
        for leaf in self.leaves(path) {
            waits.push(self.wait_for(&leaf));
            self.stop_leaf(&leaf, Then::Remove, ctx);
        }
        Ok(waits)
    }

    /// Whether a node or one above it was stopped.
    pub(super) fn is_stopped(&self, path: &str) -> bool {
        let Some(node) = self.nodes.get(path) else { return false };
        node.phase == Phase::Stopped || node.parent.as_deref().is_some_and(|parent| self.is_stopped(parent))
    }
}
