//! Births and ends: starting, failing, waiting, parking, escalating.

use std::{sync::Arc, time::Duration};

use actix::{AsyncContext, Context};
use rand::RngExt;

use super::{Body, News, Node, Notice, Phase, ROOT, Tree, node::Then};
use crate::supervision::{
    backoff::Backoff,
    child::{End, Life, launch},
    messages::{ControlPorts, Stop},
    policy::{Beyond, RestartPolicy},
};

impl Tree {
    /// Builds a new incarnation of a leaf.
    pub(super) fn start_leaf(&mut self, path: &str, ctx: &mut Context<Self>) {
        let incarnation = self.new_incarnation();
        let Some(node) = self.nodes.get_mut(path) else { return };
        let Body::Leaf(spec) = &node.body else { return };
        let Some(policy) = self.settings.policy(spec.kind) else { return };
        if node.incarnation != 0 {
            node.restarts += 1;
            (self.notify)(Notice::Restarted { kind: spec.kind });
        }
        node.incarnation = incarnation;
        let thread = self.arbiters.handle(spec.placement);
        let (news, report_path) = (ctx.address(), path.to_owned());
        let report = Box::new(move |life| {
            // A control message, one per birth and end: it must not get lost.
            news.do_send(News { path: report_path.clone(), incarnation, life });
        });
        node.abort = Some(launch(&thread, Arc::clone(spec), policy.start_timeout, report));
        node.ports = None;
        node.enter(Phase::Starting);
        Self::watch_start(path.to_owned(), incarnation, policy.start_timeout, ctx);
    }

    pub(super) fn on_news(&mut self, news: News, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(&news.path) else { return };
        if node.incarnation != news.incarnation {
            return;
        }
        match news.life {
            Life::Started(ports) => self.on_started(&news.path, ports, ctx),
            Life::Ended(end) => self.on_ended(&news.path, end, ctx),
        }
    }

    fn on_started(&mut self, path: &str, ports: ControlPorts, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        if let Phase::Stopping(_) = node.phase {
            ports.stop.do_send(Stop);
            node.ports = Some(ports);
            return;
        }
        node.ports = Some(ports);
        node.enter(Phase::Running);
        node.wake_waiters();
        if node.alarmed {
            self.settle_later(path, ctx);
        }
    }

    /// A parked child that runs counts as recovered once it has run as long as its longest backoff: one that
    /// breaks again at once must not ring the alarm again and again.
    pub(super) fn settle_later(&self, path: &str, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get(path) else { return };
        let Some(policy) = self.settings.policy(node.kind) else { return };
        let (path, incarnation) = (path.to_owned(), node.incarnation);
        ctx.run_later(policy.max_delay, move |tree, _| {
            let Some(node) = tree.nodes.get_mut(&path) else { return };
            if node.incarnation == incarnation && node.phase == Phase::Running && node.alarmed {
                node.alarmed = false;
                node.failures.clear();
                (tree.notify)(Notice::Recovered { path: path.clone(), kind: node.kind });
            }
        });
    }

    fn on_ended(&mut self, path: &str, end: End, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        node.ports = None;
        node.abort = None;
        if let Phase::Stopping(then) = node.phase {
            self.stopped_leaf(path, then, ctx);
        } else if matches!(node.body, Body::Guest(_)) {
            if let End::Panicked(message) = &end {
                let (path, kind) = (path.to_owned(), node.kind);
                let reason = format!("panicked: {message}");
                (self.notify)(Notice::Failed { path, kind, reason, defect: true, first: true });
            }
            self.forget(path);
        } else {
            self.on_failed(path, end, ctx);
        }
    }

    fn on_failed(&mut self, path: &str, end: End, ctx: &mut Context<Self>) {
        let (reason, defect) = match end {
            End::Panicked(message) => (format!("panicked: {message}"), true),
            End::Failed(reason) => (reason, false),
            End::Quiet => ("ended without being asked to".to_owned(), true),
            End::Dropped => ("was dropped with its thread".to_owned(), true),
        };
        self.failed(path, reason, defect, ctx);
    }

    /// A node failed: what its policy says happens now.
    pub(super) fn failed(&mut self, path: &str, reason: String, defect: bool, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        let Some(&policy) = self.settings.policy(node.kind) else { return };
        // One that ran for a while fails anew: a later outage is told like the first.
        let ran = node.ran_for(policy.max_delay);
        let failures = node.fail(policy.window);
        node.last_error = Some(reason.clone());
        node.wake_waiters();
        let notice = Notice::Failed {
            path: path.to_owned(),
            kind: node.kind,
            reason: reason.clone(),
            defect,
            first: failures == 1 || ran,
        };
        (self.notify)(notice);
        let over = failures > policy.budget as usize || node.alarmed;
        match (over, policy.beyond) {
            (false, _) => {
                let delay = Backoff::new(policy.initial_delay, policy.max_delay).delay(failures);
                self.rebuild_later(path, Phase::Backoff, delay, ctx);
            }
            (true, Beyond::Park) => self.park(path, &policy, reason, ctx),
            (true, Beyond::Escalate) => self.escalate(path, &reason, ctx),
        }
    }

    fn park(&mut self, path: &str, policy: &RestartPolicy, reason: String, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        if !node.alarmed {
            node.alarmed = true;
            (self.notify)(Notice::Parked { path: path.to_owned(), kind: node.kind, reason });
        }
        // Half to whole: children that were parked together don't return together.
        let delay = policy.parked_retry.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.rebuild_later(path, Phase::Parked, delay, ctx);
    }

    fn rebuild_later(&mut self, path: &str, phase: Phase, delay: Duration, ctx: &mut Context<Self>) {
        let incarnation = self.new_incarnation();
        let Some(node) = self.nodes.get_mut(path) else { return };
        // A new number for the wait: late news of what ended, and older waits, are old from here on.
        node.incarnation = incarnation;
        node.enter(phase);
        let path = path.to_owned();
        ctx.run_later(delay, move |tree, ctx| {
            let waits = tree.nodes.get(&path).is_some_and(|node| {
                node.incarnation == incarnation && matches!(node.phase, Phase::Backoff | Phase::Parked)
            });
            if waits {
                tree.rebuild(&path, ctx);
            }
        });
    }

    fn rebuild(&mut self, path: &str, ctx: &mut Context<Self>) {
        if let Some(Node { body: Body::Branch(_), .. }) = self.nodes.get(path) {
            self.start_branch(path, ctx);
        } else {
            self.start_leaf(path, ctx);
        }
    }

    /// A child failed too often: its whole branch is ended and, as the branch's own policy says, started
    /// again.
    fn escalate(&mut self, path: &str, reason: &str, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        node.enter(Phase::Stopped);
        let Some(parent) = node.parent.clone() else {
            (self.notify)(Notice::RootFailed { reason: reason.to_owned() });
            return;
        };
        let reason =
            if path == ROOT { reason.to_owned() } else { format!("{path} failed too often: {reason}") };
        (self.notify)(Notice::Escalated { path: parent.clone(), reason: reason.clone() });
        for leaf in self.leaves(&parent) {
            self.stop_leaf(&leaf, Then::Stay, ctx);
        }
        // What is rebuilt with its branch has a budget of its own again; the branch itself doesn't.
        for below in self.below(&parent) {
            if let Some(node) = self.nodes.get_mut(&below) {
                node.failures.clear();
            }
        }
        self.failed(&parent, reason, false, ctx);
    }
}
