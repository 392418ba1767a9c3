//! What others hold of the trail: a queue that outlives the actor's incarnations, and whether it is written.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use actix::{Message, Recipient};
use bifrost_model::Timestamp;
use bifrost_security::audit::{AuditError, AuditSink, Entry, Recorded};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::supervision::Slot;

/// Entries wait.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// An entry that isn't on disk yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) entry: Entry,
    pub(super) timestamp: Timestamp,
    /// Who waits for it to be.
    pub(super) done: Option<oneshot::Sender<Recorded>>,
}

impl Pending {
    pub(super) fn new(entry: Entry) -> Self {
        Self { entry, timestamp: Timestamp::now(), done: None }
    }

    /// Tells who waits; the entry is done with.
    pub(super) fn answer(self, outcome: &Recorded) {
        if let Some(done) = self.done {
            // Who asked may have gone.
            let _ = done.send(outcome.clone());
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    lost: u64,
}

/// Takes entries from any thread; clones are cheap.
#[derive(Clone)]
pub struct Audit(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    most: usize,
    actor: Slot<Recipient<Wake>>,
    /// Why it can't be written at the moment.
    trouble: RwLock<Option<String>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    /// With room for so many entries that wait.
    pub(crate) fn new(most: usize) -> Self {
        let trouble = RwLock::new(None);
        Self(Arc::new(Shared { queue: Mutex::default(), most, actor: Slot::empty(), trouble }))
    }

    pub(super) fn slot(&self) -> &Slot<Recipient<Wake>> {
        &self.0.actor
    }

    /// Whether there was room.
    fn put(&self, pending: Pending) -> bool {
        {
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.waiting.len() >= self.0.most {
                queue.lost += 1;
                return false;
            }
            queue.waiting.push_back(pending);
        }
        // A control message: the actor takes all that waits at once.
        self.0.actor.with(|actor| actor.do_send(Wake));
        true
    }

    /// All that wait, and how many were lost since this was last asked.
    pub(super) fn take(&self) -> (Vec<Pending>, u64) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        (queue.waiting.drain(..).collect(), std::mem::take(&mut queue.lost))
    }

    /// These wait again, ahead of the rest; what there is no room for is lost.
    pub(super) fn put_back(&self, pending: Vec<Pending>, lost: u64) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.lost += lost;
        for pending in pending.into_iter().rev() {
            if queue.waiting.len() < self.0.most {
                queue.waiting.push_front(pending);
            } else {
                queue.lost += 1;
            }
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting.len()
    }

    /// Whether it can be written, from now on.
    pub(super) fn judge(&self, outcome: &Recorded) {
        let trouble = outcome.as_ref().err().map(|error| error.0.clone());
        *self.0.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl AuditSink for Audit {
    fn tell(&self, entry: Entry) {
        // Full: it is counted, and the trail will say so.
        self.put(Pending::new(entry));
    }

    fn record(&self, entry: Entry) -> BoxFuture<'static, Recorded> {
        let (done, wait) = oneshot::channel();
        let put = self.put(Pending { done: Some(done), ..Pending::new(entry) });
        Box::pin(async move {
            if !put {
                return Err(AuditError("too many entries wait for the disk".to_owned()));
            }
            let ended = |_| Err(AuditError("its actor ended meanwhile".to_owned()));
            wait.await.unwrap_or_else(ended)
        })
    }

    fn is_writable(&self) -> Recorded {
        let trouble = self.0.trouble.read().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map_or(Ok(()), |reason| Err(AuditError(reason)))
    }
}
