//! Reserves blocks for devices, many in one write.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture,
    WrapFuture,
};
use bifrost_model::{Event, Severity};
use serde_json::json;
use tokio::sync::oneshot;

use super::file::{Found, Lease, Numbers, SequenceError, SequenceFile, Slot};
use crate::{
    router::EventSink,
    supervised,
    supervision::{
        Child, ChildKind, ChildSpec, MailboxStats, Placement, Slot as Address, Supervised, Tenancy,
    },
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
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) end: u64,
    /// What a crash left unused.
    pub(crate) skipped: Option<Skipped>,
    slot: Arc<Slot>,
    _lease: Lease,
}

impl Block {
    /// The next number that isn't used yet.
    pub(crate) fn next(&self) -> u64 {
        self.slot.numbers.next()
    }

    /// How many are left.
    pub(crate) fn left(&self) -> u64 {
        self.end.saturating_sub(self.next())
    }

    /// Takes a number; `None` when none is left.
    pub(crate) fn take(&self) -> Option<u64> {
        self.slot.take(self.end)
    }
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

/// What every incarnation of the store needs.
#[derive(Clone)]
struct Parts {
    path: PathBuf,
    block: u64,
    address: Address<SequencePorts>,
    events: EventSink,
    /// The counts that devices of this process use. A rebuilt store must go on from these, since the file
    /// tells what a device may use, and not what it uses.
    ledger: Arc<Mutex<HashMap<Arc<str>, Arc<Numbers>>>>,
}

impl Parts {
    fn known(&self, id: &str) -> Option<Arc<Numbers>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn know(&self, id: &Arc<str>, numbers: &Arc<Numbers>) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.insert(Arc::clone(id), Arc::clone(numbers));
    }
}

/// How to build the store.
pub(crate) fn spec(
    path: PathBuf,
    block: u64,
    address: Address<SequencePorts>,
    events: EventSink,
) -> ChildSpec {
    let mailbox = MailboxStats::new(16_384);
    let parts = Parts { path, block, address, events, ledger: Arc::default() };
    ChildSpec {
        name: "sequence".to_owned(),
        kind: ChildKind::Sequence,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| Box::pin(build(parts.clone(), mailbox.capacity()))),
    }
}

async fn build(parts: Parts, capacity: usize) -> Result<Child, String> {
    let path = parts.path.clone();
    let opened = actix_rt::task::spawn_blocking(move || SequenceFile::open(&path)).await;
    let (file, found) =
        opened.map_err(|error| error.to_string())?.map_err(|error: SequenceError| error.to_string())?;
    if let Some(aside) = &file.set_aside {
        let message = format!(
            "the file of sequence numbers was damaged and moved to {}; numbers go on at {}",
            aside.display(),
            file.first
        );
        parts.events.record(Event::new("", "sequence_file_damaged", Severity::Error, message));
    }
    Ok(Child::new(capacity, |ctx| {
        let addresses = SequencePorts { open: ctx.address().recipient(), extend: ctx.address().recipient() };
        let address = parts.address.set(addresses);
        SequenceStore::new(file, &found, parts, address)
    }))
}

struct Row {
    slot: Arc<Slot>,
    /// Whether a device of this process uses it, or has.
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
    parts: Parts,
    _address: Tenancy<SequencePorts>,
    waiting: Vec<Waiting>,
    writing: bool,
    stopping: bool,
    writes: u64,
}

impl SequenceStore {
    fn new(file: SequenceFile, found: &[Found], parts: Parts, address: Tenancy<SequencePorts>) -> Self {
        let row = |found: &Found| {
            let known = parts.known(&found.id);
            let open = known.is_some();
            let numbers = known.unwrap_or_else(|| Numbers::new(found.next, found.end));
            numbers.raise_end(found.end);
            (Arc::clone(&found.id), Row { slot: file.slot(found, numbers), open })
        };
        let rows = found.iter().map(row).collect();
        Self {
            rows,
            parts,
            _address: address,
            file,
            waiting: Vec::new(),
            writing: false,
            stopping: false,
            writes: 0,
        }
    }

    /// A device's row, made if there is none: from what this process knows of it, or as that of a new device.
    fn row(&mut self, id: &Arc<str>) -> &mut Row {
        let Self { file, rows, parts, .. } = self;
        rows.entry(Arc::clone(id)).or_insert_with(|| {
            let known = parts.known(id);
            let open = known.is_some();
            let numbers = known.unwrap_or_else(|| Numbers::new(file.first, file.first));
            Row { slot: file.add(numbers), open }
        })
    }

    /// Takes up a device's numbers. In this process the count is certain: a rebuilt actor goes on where it was.
    fn open(&mut self, id: &Arc<str>) -> (Arc<Slot>, u64) {
        let exact = self.file.exact;
        let row = self.row(id);
        let (slot, first_time) = (Arc::clone(&row.slot), !row.open);
        row.open = true;
        if first_time {
            slot.numbers.begin_at_end(exact);
            self.parts.know(id, &slot.numbers);
        }
        let end = slot.numbers.end().max(slot.numbers.next() + self.parts.block);
        (slot, end)
    }

    fn reserve(
        &mut self,
        id: Arc<str>,
        slot: Arc<Slot>,
        end: u64,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<Result<(), String>> {
        let (done, wait) = oneshot::channel();
        slot.numbers.raise_end(end);
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
        self.writes += 1;
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

impl Handler<Open> for SequenceStore {
    type Result = ResponseFuture<Result<Block, String>>;

    fn handle(&mut self, Open(id): Open, ctx: &mut Self::Context) -> Self::Result {
        if self.stopping {
            return Box::pin(async { Err(GONE.to_owned()) });
        }
        let (slot, end) = self.open(&id);
        // From here on: a stop that comes before the answer must not give these numbers back.
        let lease = Lease::new(&slot.numbers);
        let reserved = self.reserve(id, Arc::clone(&slot), end, ctx);
        Box::pin(async move {
            reserved.await.map_err(|_| GONE.to_owned())??;
            let skipped = slot.numbers.take_skipped();
            Ok(Block { end, skipped, slot, _lease: lease })
        })
    }
}

const GONE: &str = "the sequence store ended";

impl Handler<Extend> for SequenceStore {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Extend(id): Extend, ctx: &mut Self::Context) -> Self::Result {
        if self.stopping {
            return Box::pin(async { Err(GONE.to_owned()) });
        }
        if self.parts.known(&id).is_none() {
            return Box::pin(async { Err("no numbers are open for this device".to_owned()) });
        }
        let slot = Arc::clone(&self.row(&id).slot);
        let end = slot.numbers.end() + self.parts.block;
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
        let (devices, waiting) = (self.rows.len(), self.waiting.len());
        json!({ "devices": devices, "open": open, "waiting": waiting, "writes": self.writes })
    }

    /// A clean stop gives back what wasn't used: counting goes on without a gap. What a device still counts
    /// with stays reserved.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.stopping = true;
        for (id, row) in self.rows.iter().filter(|(_, row)| row.open) {
            let Some(end) = row.slot.numbers.give_back() else { continue };
            let (done, _) = oneshot::channel();
            self.waiting.push(Waiting { id: Arc::clone(id), slot: Arc::clone(&row.slot), end, done });
        }
        self.write(ctx);
    }
}

supervised!(SequenceStore);
