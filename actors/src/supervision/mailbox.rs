//! Bounded sending with a count of what didn't fit.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::{Message, Recipient, dev::SendError};

use super::messages::MailboxSnapshot;

/// The bound of an actor's mailbox, and what it didn't take; survives the actor's incarnations.
#[derive(Debug)]
pub struct MailboxStats {
    capacity: usize,
    dropped: AtomicU64,
    sent: AtomicU64,
    taken: AtomicU64,
}

impl MailboxStats {
    /// Statistics of a mailbox of this capacity.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            dropped: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        })
    }

    /// Most messages that wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Counts one message that wasn't taken.
    pub fn count_drop(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one message that its actor has begun to handle.
    pub fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages wait, of those that were sent through a [`Port`] and are counted when taken.
    pub fn depth(&self) -> u64 {
        let taken = self.taken.load(Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed).saturating_sub(taken)
    }

    /// What to show.
    pub fn snapshot(&self) -> MailboxSnapshot {
        MailboxSnapshot { capacity: self.capacity, dropped: self.dropped.load(Ordering::Relaxed) }
    }
}

/// Why a message wasn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// The mailbox is full; counted.
    Full,
    /// The actor is gone.
    Closed,
}

/// An address for data: `try_send` alone, since `do_send` ignores a mailbox's capacity.
///
/// Clones share one sender: actix grants every sender of its own one message beyond the capacity, so a fresh
/// clone for each message would know no bound.
pub struct Port<M>
where
    M: Message + Send,
    M::Result: Send,
{
    to: Arc<Recipient<M>>,
    stats: Arc<MailboxStats>,
}

impl<M> Port<M>
where
    M: Message + Send,
    M::Result: Send,
{
    /// An address whose refusals are counted in `stats`.
    pub fn new(to: Recipient<M>, stats: Arc<MailboxStats>) -> Self {
        Self { to: Arc::new(to), stats }
    }

    /// What is counted of the mailbox.
    pub fn stats(&self) -> &MailboxStats {
        &self.stats
    }

    /// Hands a message over, or doesn't wait.
    pub fn try_send(&self, message: M) -> Result<(), Undelivered> {
        let outcome = self.to.try_send(message);
        if outcome.is_ok() {
            self.stats.sent.fetch_add(1, Ordering::Relaxed);
        }
        outcome.map_err(|error| match error {
            SendError::Full(_) => {
                self.stats.count_drop();
                Undelivered::Full
            }
            SendError::Closed(_) => Undelivered::Closed,
        })
    }
}

impl<M> Clone for Port<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self { to: Arc::clone(&self.to), stats: Arc::clone(&self.stats) }
    }
}

impl<M> fmt::Debug for Port<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("stats", &self.stats).finish_non_exhaustive()
    }
}
