//! Reserves blocks for devices, many in one write.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture,
    WrapFuture,
};
use bifrost_model::{Event, Severity};
use serde_json::json;
use tokio::sync::oneshot;

use super::file::{Found, SequenceError, SequenceFile, Slot};
use crate::{
    router::EventSink,
    supervised,
    supervision::{Birth, Child, ChildKind, ChildSpec, MailboxStats, Placement, Slot as Address, Supervised},
};

/// Begins or takes up a device's numbers.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Block, String>")]
pub(crate) struct Open(pub(crate) Arc<str>);

/// Reserves the next block of a device whose numbers are open; answers its new end.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<u64, String>")]
pub(crate) struct Extend(pub(crate) Arc<str>);

/// Numbers that may be used.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) next: u64,
    pub(crate) end: u64,
    /// Where each use is noted.
    pub(crate) slot: Arc<Slot>,
    /// What a crash left unused.
    pub(crate) skipped: Option<Skipped>,
}

/// Numbers that were reserved and, after a crash, never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Whether `from` is certain: only the process ended, not the machine.
    pub(crate) exact: bool,
}

/// The addresses of the sequence store.
#[derive(Debug, Clone)]
pub(crate) struct SequencePorts {
    pub(crate) open: Recipient<Open>,
    pub(crate) extend: Recipient<Extend>,
}

/// How to build the store.
pub(crate) fn spec(
    path: PathBuf,
    block: u64,
    address: Address<SequencePorts>,
    events: EventSink,
) -> ChildSpec {
    let mailbox = MailboxStats::new(16_384);
    ChildSpec {
        name: "sequence".to_owned(),
        kind: ChildKind::Sequence,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |birth| {
            let (path, address, events) = (path.clone(), address.clone(), events.clone());
            Box::pin(build(path, block, address, events, birth, mailbox.capacity()))
        }),
    }
}

async fn build(
    path: PathBuf,
    block: u64,
    address: Address<SequencePorts>,
    events: EventSink,
    _: Birth,
    capacity: usize,
) -> Result<Child, String> {
    let opened = actix_rt::task::spawn_blocking(move || SequenceFile::open(&path)).await;
    let (file, found) =
        opened.map_err(|error| error.to_string())?.map_err(|error: SequenceError| error.to_string())?;
    if let Some(aside) = &file.set_aside {
        let message = format!(
            "the file of sequence numbers was damaged and moved to {}; numbers go on at {}",
            aside.display(),
            file.first
        );
        events.record(Event::new("", "sequence_file_damaged", Severity::Error, message));
    }
    Ok(Child::new(capacity, |ctx| {
        address.set(SequencePorts { open: ctx.address().recipient(), extend: ctx.address().recipient() });
        SequenceStore::new(file, found, block, address)
    }))
}

struct Row {
    id: Arc<str>,
    slot: Arc<Slot>,
    end: u64,
    /// Whether a device of this process uses it.
    open: bool,
}

struct Waiting {
    id: Arc<str>,
    slot: Arc<Slot>,
    end: u64,
    done: oneshot::Sender<Result<(), String>>,
}

struct SequenceStore {
    file: SequenceFile,
    rows: HashMap<Arc<str>, Row>,
    block: u64,
    address: Address<SequencePorts>,
    waiting: Vec<Waiting>,
    writing: bool,
    stopping: bool,
}

impl SequenceStore {
    fn new(file: SequenceFile, found: Vec<Found>, block: u64, address: Address<SequencePorts>) -> Self {
        let row = |Found { id, end, slot }| (Arc::clone(&id), Row { id, slot, end, open: false });
        let rows = found.into_iter().map(row).collect();
        Self { file, rows, block, address, waiting: Vec::new(), writing: false, stopping: false }
    }

    /// Takes up a device's numbers; answers where to go on, and what was skipped.
    fn open(&mut self, id: &Arc<str>) -> (Arc<Slot>, u64, u64, Option<Skipped>) {
        let (block, exact, first) = (self.block, self.file.exact, self.file.first);
        if !self.rows.contains_key(id) {
            let row = Row { id: Arc::clone(id), slot: self.file.add(), end: first, open: true };
            self.rows.insert(Arc::clone(id), row);
        }
        let Some(row) = self.rows.get_mut(id) else { return (self.file.add(), first, first, None) };
        let next = row.slot.next();
        // In this process the noted number is certain: a rebuilt actor goes on where it was.
        if row.open {
            return (Arc::clone(&row.slot), next, row.end.max(next + block), None);
        }
        row.open = true;
        let skipped = (next < row.end).then(|| Skipped { from: next, to: row.end - 1, exact });
        (Arc::clone(&row.slot), row.end, row.end + block, skipped)
    }

    fn reserve(
        &mut self,
        id: Arc<str>,
        slot: Arc<Slot>,
        end: u64,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<Result<(), String>> {
        let (done, wait) = oneshot::channel();
        if let Some(row) = self.rows.get_mut(&id) {
            row.end = row.end.max(end);
        }
        self.waiting.push(Waiting { id, slot, end, done });
        self.write(ctx);
        wait
    }

    /// Writes all that waits in one go; what arrives meanwhile goes into the next.
    fn write(&mut self, ctx: &mut Context<Self>) {
        if self.writing {
            return;
        }
        if self.waiting.is_empty() {
            if self.stopping {
                ctx.stop();
            }
            return;
        }
        self.writing = true;
        let batch = std::mem::take(&mut self.waiting);
        let ends: Vec<_> =
            batch.iter().map(|entry| (Arc::clone(&entry.id), Arc::clone(&entry.slot), entry.end)).collect();
        let writer = self.file.writer();
        let write = actix_rt::task::spawn_blocking(move || writer.reserve(&ends).map_err(|e| e.to_string()));
        ctx.spawn(write.into_actor(self).map(move |outcome, actor, ctx| {
            let outcome = outcome.unwrap_or_else(|error| Err(error.to_string()));
            for entry in batch {
                let _ = entry.done.send(outcome.clone());
            }
            actor.writing = false;
            actor.write(ctx);
        }));
    }
}

impl Actor for SequenceStore {
    type Context = Context<Self>;
}

impl Drop for SequenceStore {
    fn drop(&mut self) {
        self.address.clear();
    }
}

impl Handler<Open> for SequenceStore {
    type Result = ResponseFuture<Result<Block, String>>;

    fn handle(&mut self, Open(id): Open, ctx: &mut Self::Context) -> Self::Result {
        let (slot, next, end, skipped) = self.open(&id);
        slot.note(next);
        let reserved = self.reserve(id, Arc::clone(&slot), end, ctx);
        Box::pin(async move {
            reserved.await.map_err(|_| GONE.to_owned())??;
            Ok(Block { next, end, slot, skipped })
        })
    }
}

const GONE: &str = "the sequence store ended";

impl Handler<Extend> for SequenceStore {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Extend(id): Extend, ctx: &mut Self::Context) -> Self::Result {
        let Some(row) = self.rows.get(&id) else {
            return Box::pin(async { Err("no numbers are open for this device".to_owned()) });
        };
        let (slot, end) = (Arc::clone(&row.slot), row.end + self.block);
        let reserved = self.reserve(id, slot, end, ctx);
        Box::pin(async move {
            reserved.await.map_err(|_| GONE.to_owned())??;
            Ok(end)
        })
    }
}

impl Supervised for SequenceStore {
    fn observe(&self) -> serde_json::Value {
        let open = self.rows.values().filter(|row| row.open).count();
        json!({ "devices": self.rows.len(), "open": open, "waiting": self.waiting.len() })
    }

    /// A clean stop gives back what wasn't used: counting goes on without a gap.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.stopping = true;
        let rows = self.rows.values().filter(|row| row.open);
        let ends: Vec<_> =
            rows.map(|row| (Arc::clone(&row.id), Arc::clone(&row.slot), row.slot.next())).collect();
        for (id, slot, end) in ends {
            let (done, _) = oneshot::channel();
            self.waiting.push(Waiting { id, slot, end, done });
        }
        self.write(ctx);
    }
}

supervised!(SequenceStore);
