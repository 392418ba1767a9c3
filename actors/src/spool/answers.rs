//! What a spool answers and hears beside news: what became of messages, dead letters that come again, reports.

use std::{sync::Arc, time::Duration};

use actix::{ActorFutureExt, Context, Handler, ResponseActFuture, ResponseFuture, WrapFuture};
use tokio::{sync::oneshot, time::Instant};

use super::{
    actor::Spool,
    messages::{ReportSpool, SpoolReport},
    outbox::{Waiting, is_kept},
    reader::late,
};
use crate::broker::{Outcome, Outgoing, Requeue, Settled, Ticket};

/// Pause after a message that is to be sent again.
const AGAIN: Duration = Duration::from_millis(500);

impl Handler<Settled> for Spool {
    type Result = ();

    fn handle(&mut self, settled: Settled, ctx: &mut Self::Context) {
        if self.carrier.as_ref().is_none_or(|carrier| carrier.incarnation != settled.incarnation) {
            return;
        }
        // A broker that is only busy takes nothing.
        if settled.outcomes.iter().any(|(_, outcome)| !matches!(outcome, Outcome::Again(_))) {
            self.flow.progress();
        }
        for (ticket, outcome) in settled.outcomes {
            self.settle(ticket, outcome);
        }
        self.pump(ctx);
        if self.leaving.is_some() {
            self.finish(Instant::now(), ctx);
        }
    }
}

impl Spool {
    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        if let Outcome::Duplicate = outcome {
            self.metrics.duplicates.inc();
        }
        if self.descriptions.settle(ticket, &outcome) {
            self.outbox.withdraw(ticket);
            return;
        }
        let settling = self.outbox.settle(ticket, outcome);
        if let Some(message) = settling.delivered {
            self.metrics.messages.inc();
            self.metrics.values.inc_by(u64::from(message.values));
        }
        if let Some((message, reason)) = settling.dead {
            self.metrics.refused.inc();
            (self.parts.bury)(message, reason);
        }
        if settling.again {
            self.hold_until = Some(Instant::now() + AGAIN);
        }
        self.disk.released.extend(settling.released);
    }

    /// Takes a dead letter in: it is on disk before this is answered, or the broker takes it without.
    fn requeue(&mut self, message: Outgoing, now: Instant) -> oneshot::Receiver<Result<(), String>> {
        let (asked_by, answer) = oneshot::channel();
        let first = is_kept(&message);
        let waiting = Waiting::first(self.outbox.number(), Arc::new(late(message)));
        let waiting = Waiting { asked_by: Some(asked_by), ..waiting };
        if !first || self.passes_disk(now) {
            self.outbox.queue(waiting.came, waiting.answer(Ok(())), None);
        } else if self.disk.refuses(now) {
            let error = self.disk.error.as_deref().unwrap_or("it failed a moment ago");
            waiting.answer(Err(format!("the disk doesn't take it: {error}")));
        } else {
            self.disk.waits(waiting);
        }
        answer
    }
}

impl Handler<Requeue> for Spool {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, Requeue(message): Requeue, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.requeue(message, Instant::now());
        self.pump(ctx);
        Box::pin(async {
            answer.await.unwrap_or_else(|_| Err("the spool ended meanwhile; try again".to_owned()))
        })
    }
}

impl Handler<ReportSpool> for Spool {
    type Result = ResponseActFuture<Self, SpoolReport>;

    fn handle(&mut self, _: ReportSpool, _: &mut Context<Self>) -> Self::Result {
        let pending = self.disk.pending();
        Box::pin(pending.into_actor(self).map(|pending, actor, _| actor.report(pending)))
    }
}
