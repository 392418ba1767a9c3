//! The end in order: all that isn't acknowledged goes to disk.

use std::sync::Arc;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::time::Instant;

use super::{
    actor::Spool,
    store::{Dropped, Store, StoreError},
    writer::{CHUNK, CHUNK_MESSAGES},
};
use crate::broker::Outgoing;

impl Spool {
    /// All that is in memory alone, in the order in which it came.
    pub(super) fn take_left(&mut self) -> Vec<Arc<Outgoing>> {
        let mut left = self.disk.take_waiting();
        left.extend(self.outbox.take_everything());
        left.sort_by_key(|waiting| waiting.came);
        left.into_iter().map(|waiting| waiting.message).collect()
    }

    /// At the end: all that is left goes to disk.
    pub(super) fn put_away(&mut self, ctx: &mut Context<Self>) {
        if self.disk.parting || self.disk.writing {
            return;
        }
        self.disk.parting = true;
        let left = self.take_left();
        let released = std::mem::take(&mut self.disk.released);
        let chunks: Vec<_> = chunks(left);
        let storing = self.disk.disk.run(move |store| Ok(put_all_away(store, &released, &chunks)));
        ctx.spawn(storing.into_actor(self).map(|outcome, actor, ctx| {
            match outcome {
                Ok((lost, failure)) => {
                    let reason = failure.unwrap_or_else(|| "the spool is full".to_owned());
                    actor.losses.count(lost, &reason, Instant::now());
                    actor.losses.tell_all(Instant::now());
                }
                Err(error) => {
                    tracing::error!(session = &*actor.parts.session, %error, "the spool couldn't be closed");
                }
            }
            ctx.stop();
        }));
    }
}

/// Writes all that can be, and answers what can't and why.
fn put_all_away(
    store: &mut Store,
    released: &[u64],
    chunks: &[Vec<Arc<Outgoing>>],
) -> (Dropped, Option<String>) {
    // Where this fails, something is repeated, but nothing is lost.
    let noted = |outcome: Result<(), StoreError>| {
        if let Err(error) = outcome {
            tracing::warn!(%error, "what was delivered can't be noted, and is sent again");
        }
    };
    noted(store.release(released));
    let (mut lost, mut failure) = (Dropped::default(), None);
    for chunk in chunks {
        match store.append(chunk) {
            Ok(appended) => appended.dropped.into_iter().for_each(|dropped| lost.merge(dropped)),
            Err(error) => {
                lost.merge(Dropped::of(chunk));
                failure = Some(error.to_string());
            }
        }
    }
    noted(store.note());
    (lost, failure)
}

fn chunks(messages: Vec<Arc<Outgoing>>) -> Vec<Vec<Arc<Outgoing>>> {
    let mut chunks: Vec<Vec<_>> = Vec::new();
    let mut bytes = CHUNK;
    for message in messages {
        let full = chunks.last().is_none_or(|chunk| bytes >= CHUNK || chunk.len() >= CHUNK_MESSAGES);
        if full {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += message.payload.len();
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(message);
        }
    }
    chunks
}
