//! From disk to memory: the backlog, a block at a time.

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::time::Instant;

use super::{actor::Spool, store::ReadBlock};
use crate::broker::{Outgoing, as_historical};

impl Spool {
    /// Reads the next block, when there is somebody to carry it and little left of the last.
    pub(super) fn read(&mut self, ctx: &mut Context<Self>) {
        let enough = (self.parts.settings.replay_rate / 5) as u64;
        let little = self.outbox.replay_values() < enough && self.outbox.replay_len() < 2048;
        let refuses = self.disk.refuses(Instant::now());
        if self.disk.reading || !self.disk.behind || self.carrier.is_none() || !little || refuses {
            return;
        }
        self.disk.reading = true;
        let (cursor, epoch) = (self.disk.cursor, self.disk.epoch);
        let reading = self.disk.disk.run(move |store| store.read_after(cursor));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            actor.disk.reading = false;
            match read {
                Ok(read) => actor.on_read(read, cursor, epoch),
                Err(error) => {
                    actor.disk_fails(&error.to_string());
                    return;
                }
            }
            actor.pump(ctx);
        }));
    }

    fn on_read(&mut self, read: ReadBlock, cursor: u64, epoch: u64) {
        self.tell_set_aside(&read.set_aside);
        let unchanged = self.disk.epoch == epoch;
        // Let go meanwhile: what was read may be out of date.
        if self.disk.cursor != cursor || self.carrier.is_none() {
            return;
        }
        let Some(block) = read.block else {
            // Nothing was stored since this was asked.
            self.disk.behind = !unchanged;
            return;
        };
        self.disk.cursor = block.id;
        if self.outbox.has_in_hand(block.id) || self.disk.is_released(block.id) {
            return;
        }
        let messages = block.messages.into_iter().map(late).collect();
        if self.outbox.take_block(block.id, messages) {
            self.disk.released.push(block.id);
        }
    }
}

/// What is sent after newer ones says that it is late, and takes no newer one's place at the broker.
pub(super) fn late(message: Outgoing) -> Outgoing {
    let payload = if message.historical { message.payload } else { as_historical(&message.payload) };
    Outgoing { payload, historical: true, retain: false, ..message }
}
