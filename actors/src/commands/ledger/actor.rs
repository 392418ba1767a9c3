//! Writes notes to disk, many in one transaction.

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, ResponseFuture, WrapFuture,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    file::{self, Entry, LedgerFile, Rules},
    messages::{Conclude, LedgerPorts, Note},
};
use crate::{
    commands::Taken,
    database::{Condition, RETRY},
    router::EventSink,
    supervised,
    supervision::{Child, ChildKind, ChildSpec, MailboxStats, Placement, Port, Slot, Supervised, Tenancy},
};

/// How long results wait for a command that begins, to share its transaction: each one costs the disk. Who
/// repeats an id after a crash within this time learns that the result isn't known.
const LINGER: Duration = Duration::from_millis(100);

const CONSEQUENCE: &str = "commands that bring an id of their own are refused, since it can't be noted";
const GONE: &str = "the ledger of commands ended";

/// What every incarnation of the ledger needs.
#[derive(Clone)]
pub(crate) struct Parts {
    path: PathBuf,
    rules: Rules,
    address: Slot<LedgerPorts>,
    condition: Condition,
}

impl Parts {
    /// A ledger in this file that keeps so many commands of each device.
    pub(crate) fn new(path: PathBuf, keep: usize, address: Slot<LedgerPorts>, events: EventSink) -> Self {
        let condition = Condition::new(events, "command_ledger", CONSEQUENCE);
        // Tells the commands of this process from those of earlier ones.
        Self { path, rules: Rules { keep, run: rand::random() }, address, condition }
    }
}

/// How to build the ledger.
pub(crate) fn spec(parts: Parts) -> ChildSpec {
    let mailbox = MailboxStats::new(16_384);
    ChildSpec {
        name: "commands".to_owned(),
        kind: ChildKind::CommandLedger,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| Box::pin(build(parts.clone(), Arc::clone(&mailbox)))),
    }
}

/// Opens the file. When that fails the ledger lives all the same: it says why nothing can be noted, and tries
/// again.
async fn build(parts: Parts, mailbox: Arc<MailboxStats>) -> Result<Child, String> {
    let (path, rules) = (parts.path.clone(), parts.rules);
    let open = move || commit(file::at(&path), &[], rules);
    let (file, opened) = actix_rt::task::spawn_blocking(open).await.map_err(|error| error.to_string())?;
    Ok(Child::new(mailbox.capacity(), |ctx| {
        let conclude = Port::new(ctx.address().recipient(), Arc::clone(&mailbox));
        let address = parts.address.set(LedgerPorts { note: ctx.address().recipient(), conclude });
        let mut ledger = Ledger {
            file: None,
            parts,
            _address: address,
            waiting: Vec::new(),
            writing: false,
            under_way: 0,
            lingering: false,
            stopping: false,
            counts: Counts::default(),
        };
        ledger.take_back(file, opened.as_ref().map(drop).map_err(String::as_str));
        ledger
    }))
}

/// Writes; gives the file back with what came of it.
fn commit(
    mut file: LedgerFile,
    entries: &[Entry],
    rules: Rules,
) -> (LedgerFile, Result<Vec<Option<Taken>>, String>) {
    let outcome = file.with(|connection| file::write(connection, entries, rules));
    (file, outcome.map_err(|error| error.to_string()))
}

type Answer = Result<Option<Taken>, String>;

struct Waiting {
    entry: Entry,
    /// Nobody waits for a result to be noted.
    done: Option<oneshot::Sender<Answer>>,
}

#[derive(Default)]
struct Counts {
    noted: u64,
    repeated: u64,
    failed: u64,
    writes: u64,
}

struct Ledger {
    /// With the thread that writes while it does.
    file: Option<LedgerFile>,
    parts: Parts,
    _address: Tenancy<LedgerPorts>,
    waiting: Vec<Waiting>,
    writing: bool,
    /// How many notes are being written.
    under_way: usize,
    /// Whether results wait for company.
    lingering: bool,
    stopping: bool,
    counts: Counts,
}

impl Ledger {
    /// Writes what waits after a while, unless a command that begins takes it along.
    fn linger(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.lingering, true) {
            ctx.run_later(LINGER, |actor, ctx| {
                actor.lingering = false;
                actor.write(ctx);
            });
        }
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
        self.begin(ctx);
    }

    /// Commands that began meanwhile don't wait any longer, results may.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let urgent = self.stopping || self.waiting.iter().any(|waiting| waiting.done.is_some());
        if urgent {
            self.write(ctx);
        } else if !self.waiting.is_empty() {
            self.linger(ctx);
        }
    }

    fn begin(&mut self, ctx: &mut Context<Self>) {
        let batch = std::mem::take(&mut self.waiting);
        self.writing = true;
        self.under_way = batch.len();
        self.counts.writes += 1;
        let entries: Vec<_> = batch.iter().map(|waiting| waiting.entry.clone()).collect();
        let file = self.file.take().unwrap_or_else(|| file::at(&self.parts.path));
        let rules = self.parts.rules;
        let write = actix_rt::task::spawn_blocking(move || commit(file, &entries, rules));
        ctx.spawn(write.into_actor(self).map(move |written, actor, ctx| {
            // A panic while writing took the file with it; the next write opens it again.
            let (file, outcome) =
                written.unwrap_or_else(|error| (file::at(&actor.parts.path), Err(error.to_string())));
            actor.take_back(file, outcome.as_ref().map(drop).map_err(String::as_str));
            actor.answer(batch, outcome);
            (actor.writing, actor.under_way) = (false, 0);
            actor.go_on(ctx);
        }));
    }

    fn take_back(&mut self, mut file: LedgerFile, outcome: Result<(), &str>) {
        let condition = &self.parts.condition;
        condition.tell_aside("command_ledger_damaged", &file.take_aside());
        condition.judge(outcome);
        self.counts.failed += u64::from(outcome.is_err());
        self.file = Some(file);
    }

    fn answer(&mut self, batch: Vec<Waiting>, outcome: Result<Vec<Option<Taken>>, String>) {
        let mut known = outcome.map(Vec::into_iter);
        for waiting in batch {
            let answer = known.as_mut().map(|known| known.next().flatten()).map_err(|error| error.clone());
            let Some(done) = waiting.done else { continue };
            match &answer {
                Ok(None) => self.counts.noted += 1,
                Ok(Some(_)) => self.counts.repeated += 1,
                Err(_) => {}
            }
            let _ = done.send(answer);
        }
    }

    /// Whoever is refused may stop asking: the alarm must go all the same once the disk takes notes again.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        if self.parts.condition.is_bad() && !self.writing {
            self.begin(ctx);
        }
    }
}

impl Actor for Ledger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(RETRY, Self::look_again);
    }
}

impl Handler<Note> for Ledger {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, Note { device, command_id }: Note, ctx: &mut Self::Context) -> Self::Result {
        if self.stopping {
            return Box::pin(async { Err(GONE.to_owned()) });
        }
        let (done, wait) = oneshot::channel();
        self.waiting.push(Waiting { entry: Entry::Begin(device, command_id), done: Some(done) });
        self.write(ctx);
        Box::pin(async move { wait.await.unwrap_or_else(|_| Err(GONE.to_owned())) })
    }
}

impl Handler<Conclude> for Ledger {
    type Result = ();

    fn handle(&mut self, Conclude { device, result }: Conclude, ctx: &mut Self::Context) {
        self.waiting.push(Waiting { entry: Entry::End(device, result), done: None });
        self.linger(ctx);
    }
}

impl Supervised for Ledger {
    fn observe(&self) -> serde_json::Value {
        let Counts { noted, repeated, failed, writes } = self.counts;
        json!({
            "writable": !self.parts.condition.is_bad(), "waiting": self.waiting.len() + self.under_way,
            "writes": writes,
            "noted": noted, "repeated": repeated, "failed_writes": failed
        })
    }

    /// What was handed over is written first.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.stopping = true;
        self.write(ctx);
    }
}

supervised!(Ledger);
