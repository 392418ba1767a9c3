//! From the spool to its session: what may go, goes.

use std::{sync::Arc, time::Duration};

use actix::{AsyncContext, Context};
use tokio::time::Instant;

use super::{actor::Spool, outbox::Window};
use crate::broker::{Deliver, Outgoing, Ticket};

impl Spool {
    /// Hands on what may go, and sets to work what can be done beside. What the broker has room for needs no
    /// disk, even after an outage: so that comes first.
    pub(super) fn pump(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.passes_disk(now);
        self.hand_on(now);
        self.write(ctx);
        self.read(ctx);
        self.pump_again(ctx);
    }

    fn holds(&self, now: Instant) -> bool {
        self.disk.parting || self.hold_until.is_some_and(|until| now < until)
    }

    fn hand_on(&mut self, now: Instant) {
        if self.holds(now) {
            return;
        }
        let Some(carrier) = &self.carrier else { return };
        let (window, to) = (carrier.window, carrier.to.clone());
        let due = if self.descriptions.is_due(now) { self.describe(window, now) } else { None };
        let mut batch = self.outbox.next(window, self.budget.fill(now));
        let idle = batch.is_empty() && due.is_none() && self.outbox.live_len() == 0;
        batch.extend(if idle { self.describe(window, now) } else { due });
        if !batch.is_empty() && to.try_send(Deliver(batch)).is_err() {
            self.lose_carrier();
        }
    }

    /// One description is out at a time.
    fn describe(&mut self, window: Window, now: Instant) -> Option<(Ticket, Arc<Outgoing>)> {
        if !self.descriptions.waits(now) || !self.outbox.has_room(window) {
            return None;
        }
        self.descriptions.tell(&mut self.encoder, now, |message| self.outbox.send_now(message))
    }

    /// What waits for its rate is looked at again soon.
    fn pump_again(&mut self, ctx: &mut Context<Self>) {
        let may = self.carrier.is_some() && !self.holds(Instant::now());
        if self.outbox.replay_len() > 0 && may && !self.pumping {
            self.pumping = true;
            ctx.run_later(Duration::from_millis(5), |actor, ctx| {
                actor.pumping = false;
                actor.pump(ctx);
            });
        }
    }
}
