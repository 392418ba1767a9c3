//! Finds children that hang.

use std::time::Duration;

use actix::{AsyncContext, Context};

use super::{Body, Notice, Phase, Tree, beside};
use crate::supervision::{child::answers, messages::Ping};

/// The interval is cut into so many ticks, each for a part of the children: a thousand pings at once would
/// be a burst of work for everybody.
const BUCKETS: u64 = 8;

/// How long a thread may take to pick up an empty task before it is taken for stuck.
const THREAD_LIMIT: Duration = Duration::from_secs(1);

impl Tree {
    pub(super) fn start_watchdog(&self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.settings.watchdog_interval / 8, |tree, ctx| {
            tree.watchdog_bucket = (tree.watchdog_bucket + 1) % BUCKETS;
            let bucket = tree.watchdog_bucket;
            for (path, node) in &tree.nodes {
                if node.phase == Phase::Running && node.incarnation % BUCKETS == bucket {
                    tree.ping(path, ctx);
                }
            }
        });
    }

    fn ping(&self, path: &str, ctx: &mut Context<Self>) {
        let Some(node) = self.nodes.get(path) else { return };
        let Some(ping) = node.ports.as_ref().map(|ports| ports.ping.clone()) else { return };
        let (path, incarnation) = (path.to_owned(), node.incarnation);
        let answer = tokio::time::timeout(self.settings.watchdog_limit, ping.send(Ping));
        let address = ctx.address();
        actix_rt::spawn(async move {
            // A closed mailbox is no hang: the end of that incarnation is reported by its guard.
            if answer.await.is_err() {
                address.do_send(Hangs { path, incarnation });
            }
        });
    }

    fn on_hang(&mut self, path: &str, incarnation: u64, ctx: &mut Context<Self>) {
        let reason = format!("didn't answer for {:?}", self.settings.watchdog_limit);
        self.give_up(path, incarnation, Phase::Running, reason, ctx);
    }

    /// A child limits its own start; one that says nothing even then was launched on a thread that is stuck.
    pub(super) fn watch_start(
        path: String,
        incarnation: u64,
        start_timeout: Duration,
        ctx: &mut Context<Self>,
    ) {
        ctx.run_later(start_timeout + THREAD_LIMIT, move |tree, ctx| {
            let reason = format!("starting took longer than {start_timeout:?}");
            tree.give_up(&path, incarnation, Phase::Starting, reason, ctx);
        });
    }

    /// Drops a child that doesn't come out of a phase, and has it rebuilt; on a new thread, if need be.
    fn give_up(
        &mut self,
        path: &str,
        incarnation: u64,
        phase: Phase,
        reason: String,
        ctx: &mut Context<Self>,
    ) {
        let Some(node) = self.nodes.get(path) else { return };
        if node.incarnation != incarnation || node.phase != phase {
            return;
        }
        if let Some(abort) = &node.abort {
            abort.abort();
        }
        let Body::Leaf(spec) = &node.body else {
            self.forget(path);
            return;
        };
        let placement = spec.placement;
        let generation = self.arbiters.generation(placement);
        let probe = answers(&self.arbiters.handle(placement), THREAD_LIMIT);
        let path = path.to_owned();
        // From here on the incarnation is written off, whatever it still reports.
        let written_off = self.write_off(&path);
        beside(ctx, probe, move |alive, tree, ctx| {
            if !alive && tree.arbiters.replace(placement, generation) {
                (tree.notify)(Notice::ThreadReplaced { path: path.clone() });
            }
            // Somebody may have given it an order meanwhile.
            if tree
                .nodes
                .get(&path)
                .is_some_and(|node| node.incarnation == written_off && node.phase == Phase::Backoff)
            {
                tree.failed(&path, reason, true, ctx);
            }
        });
    }

    fn write_off(&mut self, path: &str) -> u64 {
        let incarnation = self.new_incarnation();
        if let Some(node) = self.nodes.get_mut(path) {
            node.incarnation = incarnation;
            node.ports = None;
            node.enter(Phase::Backoff);
        }
        incarnation
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Hangs {
    path: String,
    incarnation: u64,
}

impl actix::Handler<Hangs> for Tree {
    type Result = ();

    fn handle(&mut self, message: Hangs, ctx: &mut Self::Context) {
        self.on_hang(&message.path, message.incarnation, ctx);
    }
}
