//! Keeps letters: one blocking call at a time does all that waits.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use bifrost_model::{Event, Severity};
use futures_util::future::LocalBoxFuture;
use serde_json::json;
use tokio::{sync::oneshot, time::Instant};

use super::{
    file::{self, Buried, LetterFile, Table},
    messages::{
        Bury, DeleteLetters, GetLetter, Letter, Letters, LettersPorts, ListLetters, Replay, ReplayError,
        Replayed, Which,
    },
    pace::Pace,
    replay::{FindSpool, Ways},
    settings::DeadLetterSettings,
    stock::Stock,
    work::{Done, Work},
};
use crate::{
    commands::Commands,
    database::{Condition, RETRY},
    metrics::Metrics,
    router::EventSink,
    supervised,
    supervision::{Child, ChildKind, ChildSpec, MailboxStats, Placement, Port, Slot, Supervised, Tenancy},
};

/// Letters that wait for the disk; more are lost.
const MAX_WAITING: usize = 1024;
/// Bytes of them.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// Questions and orders that wait for the disk; more are refused.
const MAX_JOBS: usize = 256;

const CONSEQUENCE: &str = "messages that brokers refuse for good can't be kept and are lost";
const GONE: &str = "the store of dead letters ended; ask again";

/// What every incarnation of the store needs.
#[derive(Clone)]
pub(crate) struct Parts {
    path: PathBuf,
    settings: DeadLetterSettings,
    address: Slot<LettersPorts>,
    events: EventSink,
    condition: Condition,
    metrics: Arc<Metrics>,
    ways: Ways,
    /// Sessions whose alarm is raised.
    alarmed: Arc<Mutex<HashSet<Arc<str>>>>,
}

impl Parts {
    /// A store in this file, that replays to these spools and commands.
    pub(crate) fn new(
        path: PathBuf,
        settings: DeadLetterSettings,
        address: Slot<LettersPorts>,
        events: EventSink,
        metrics: Arc<Metrics>,
        find_spool: FindSpool,
        commands: &Commands,
    ) -> Self {
        Self {
            path,
            settings,
            address,
            condition: Condition::new(events.clone(), "dead_letter_store", CONSEQUENCE),
            events,
            metrics,
            ways: Ways::new(find_spool, commands),
            alarmed: Arc::default(),
        }
    }
}

/// How to build the store.
pub(crate) fn spec(parts: Parts) -> ChildSpec {
    let mailbox = MailboxStats::new(MAX_WAITING);
    ChildSpec {
        name: "dead_letters".to_owned(),
        kind: ChildKind::DeadLetters,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| Box::pin(build(parts.clone(), Arc::clone(&mailbox)))),
    }
}

/// Opens the file. When that fails the store lives all the same, counts what it loses, and tries again.
async fn build(parts: Parts, mailbox: Arc<MailboxStats>) -> Result<Child, String> {
    let (path, settings) = (parts.path.clone(), parts.settings.clone());
    let open = move || Work::default().run(file::at(&path), &settings);
    let done = actix_rt::task::spawn_blocking(open).await.map_err(|error| error.to_string())?;
    Ok(Child::new(mailbox.capacity(), |ctx| {
        let bury = Port::new(ctx.address().recipient(), mailbox);
        let list = ctx.address().recipient();
        let (get, delete, replay) =
            (ctx.address().recipient(), ctx.address().recipient(), ctx.address().recipient());
        let address = parts.address.set(LettersPorts { bury, list, get, delete, replay });
        let mut store = Store::new(parts, address);
        store.take_back(done, 0);
        store
    }))
}

#[derive(Default)]
struct Counts {
    buried: u64,
    made_room: u64,
    lost: u64,
    writes: u64,
}

struct Store {
    /// With the thread that works with it while it does.
    file: Option<LetterFile>,
    parts: Parts,
    _address: Tenancy<LettersPorts>,
    waiting: Work,
    waiting_bytes: usize,
    working: bool,
    stopping: bool,
    stock: Stock,
    pace: Pace,
    replaying: HashSet<u64>,
    counts: Counts,
}

impl Store {
    fn new(parts: Parts, address: Tenancy<LettersPorts>) -> Self {
        Self {
            file: None,
            parts,
            _address: address,
            waiting: Work::default(),
            waiting_bytes: 0,
            working: false,
            stopping: false,
            stock: Stock::default(),
            pace: Pace::default(),
            replaying: HashSet::new(),
            counts: Counts::default(),
        }
    }

    fn work(&mut self, ctx: &mut Context<Self>) {
        if self.working {
            return;
        }
        if self.waiting.letters.is_empty() && self.waiting.jobs.is_empty() {
            if self.stopping {
                ctx.stop();
            }
            return;
        }
        self.begin(ctx);
    }

    /// Does all that waits in one go; what arrives meanwhile goes into the next.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.working = true;
        self.waiting_bytes = 0;
        let work = std::mem::take(&mut self.waiting);
        let letters = work.letters.len() as u64;
        self.counts.writes += u64::from(letters > 0);
        let file = self.file.take().unwrap_or_else(|| file::at(&self.parts.path));
        let settings = self.parts.settings.clone();
        let done = actix_rt::task::spawn_blocking(move || work.run(file, &settings));
        ctx.spawn(done.into_actor(self).map(move |done, actor, ctx| {
            // A panic took the file with it; it is opened again the next time.
            let done = done.unwrap_or_else(|error| Done {
                file: file::at(&actor.parts.path),
                buried: Err(error.to_string()),
                stock: None,
                answers: Vec::new(),
            });
            actor.take_back(done, letters);
            actor.working = false;
            actor.work(ctx);
        }));
    }

    fn take_back(&mut self, done: Done, letters: u64) {
        let Done { mut file, buried, stock, answers } = done;
        self.parts.condition.tell_aside("dead_letter_store_damaged", &file.take_aside());
        self.parts.condition.judge(buried.as_ref().map(drop).map_err(String::as_str));
        match buried {
            Ok(Buried { made_room, too_large }) => {
                self.counts.buried += letters - too_large;
                self.counts.made_room += made_room;
                self.lose(too_large);
            }
            Err(_) => self.lose(letters),
        }
        self.file = Some(file);
        if let Some(stock) = stock {
            self.stock = stock;
            self.judge_sessions();
        }
        for answer in answers {
            answer();
        }
    }

    fn lose(&mut self, letters: u64) {
        self.counts.lost += letters;
        self.parts.metrics.dead_letters_lost.inc_by(letters);
    }

    /// One alarm per session, while it has letters.
    fn judge_sessions(&self) {
        let mut alarmed = self.parts.alarmed.lock().unwrap_or_else(PoisonError::into_inner);
        let (events, sessions) = (&self.parts.events, self.stock.sessions());
        let gone: Vec<_> = alarmed.iter().filter(|name| !sessions.contains_key(*name)).cloned().collect();
        for session in gone {
            let message = format!("no dead letters of {session} are left");
            events.clear(&alarm_id(&session), "dead_letters", "", &message);
            let _ = self.parts.metrics.dead_letters.remove_label_values(&[&*session]);
            alarmed.remove(&session);
        }
        for (session, count) in sessions {
            let gauge = self.parts.metrics.dead_letters.with_label_values(&[&**session]);
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
            if alarmed.insert(Arc::clone(session)) {
                let message = format!(
                    "{session} has dead letters: refused by its broker, or commands that can't be understood; \
                     see GET /api/dead-letters, then replay or delete them"
                );
                events.raise(&alarm_id(session), "dead_letters", Severity::Warning, "", &message);
            }
        }
    }

    fn tell(&self, session: &str, device: &str, reason: &str, count: u64) {
        let message = match count {
            1 => format!("a message of {session} went to the dead letters: {reason}"),
            _ => format!("{count} messages of {session} went to the dead letters, the last: {reason}"),
        };
        let data = json!({ "session": session, "reason": reason, "count": count });
        self.parts.events.record(Event::new(device, "dead_letter", Severity::Warning, message).with(data));
    }

    /// Once in a while: those that weren't told of, and whether the disk takes letters again.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        for (session, count) in self.pace.due(Instant::now()) {
            self.tell(&session, "", "see GET /api/dead-letters", count);
        }
        if self.parts.condition.is_bad() && !self.working {
            self.begin(ctx);
        }
    }

    /// Has something done with the table.
    fn ask<T: Send + 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        mut job: impl FnMut(&mut Table) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> LocalBoxFuture<'static, Result<T, String>> {
        let (done, wait) = oneshot::channel();
        let refused = match (self.stopping, self.waiting.jobs.len() >= MAX_JOBS) {
            (true, _) => Some(GONE.to_owned()),
            (_, true) => Some("too many ask for dead letters; try again later".to_owned()),
            _ => None,
        };
        if refused.is_none() {
            self.waiting.jobs.push_back(Box::new(move |file| {
                let outcome = file.with(&mut job).map_err(|error| error.to_string());
                Box::new(move || drop(done.send(outcome)))
            }));
            self.work(ctx);
        }
        Box::pin(async move {
            match refused {
                Some(reason) => Err(reason),
                None => wait.await.unwrap_or_else(|_| Err(GONE.to_owned())),
            }
        })
    }
}

fn alarm_id(session: &str) -> String {
    format!("dead_letters/{session}")
}

impl Actor for Store {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(RETRY, Self::look_again);
    }
}

impl Handler<Bury> for Store {
    type Result = ();

    fn handle(&mut self, Bury(letter): Bury, ctx: &mut Self::Context) {
        if let Some(count) = self.pace.count(&letter.session, Instant::now()) {
            self.tell(&letter.session, letter.what.device_id(), &letter.reason, count);
        }
        let bytes = self.waiting_bytes + letter.size();
        if self.stopping || self.waiting.letters.len() >= MAX_WAITING || bytes > MAX_WAITING_BYTES {
            self.lose(1);
            return;
        }
        self.waiting_bytes = bytes;
        self.waiting.letters.push(letter);
        self.work(ctx);
    }
}

impl Handler<ListLetters> for Store {
    type Result = ResponseActFuture<Self, Result<Letters, String>>;

    fn handle(&mut self, asked: ListLetters, ctx: &mut Self::Context) -> Self::Result {
        let listed =
            self.ask(ctx, move |table| Ok((table.list(&asked)?, table.stock().of(asked.session.as_deref()))));
        Box::pin(listed.into_actor(self).map(|listed, actor, _| {
            let Counts { made_room, lost, .. } = actor.counts;
            listed.map(|(letters, total)| Letters { letters, total, made_room, lost })
        }))
    }
}

impl Handler<GetLetter> for Store {
    type Result = ResponseFuture<Result<Option<Letter>, String>>;

    fn handle(&mut self, GetLetter(id): GetLetter, ctx: &mut Self::Context) -> Self::Result {
        Box::pin(self.ask(ctx, move |table| table.get(id)))
    }
}

impl Handler<DeleteLetters> for Store {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, DeleteLetters(which): DeleteLetters, ctx: &mut Self::Context) -> Self::Result {
        Box::pin(self.ask(ctx, move |table| table.delete(&which)))
    }
}

impl Handler<Replay> for Store {
    type Result = ResponseActFuture<Self, Result<Replayed, ReplayError>>;

    fn handle(&mut self, Replay(id): Replay, ctx: &mut Self::Context) -> Self::Result {
        if !self.replaying.insert(id) {
            return Box::pin(actix::fut::ready(Err(ReplayError::UnderWay(id))));
        }
        let found = self.ask(ctx, move |table| table.get(id));
        let sent = found.into_actor(self).then(move |found, actor, _| {
            let sending = match found {
                Ok(Some(letter)) => Ok(actor.parts.ways.send(letter)),
                Ok(None) => Err(ReplayError::Unknown(id)),
                Err(reason) => Err(ReplayError::Store(reason)),
            };
            async move { sending?.await }.into_actor(actor)
        });
        let deleted = sent.then(move |sent, actor, ctx| {
            let deleted = sent.is_ok().then(|| actor.ask(ctx, move |table| table.delete(&Which::One(id))));
            let both = async move {
                if let Some(deleted) = deleted {
                    // What is done is done: a letter that stays can be deleted by hand.
                    let _ = deleted.await;
                }
                sent
            };
            both.into_actor(actor)
        });
        Box::pin(deleted.map(move |outcome, actor, _| {
            actor.replaying.remove(&id);
            outcome
        }))
    }
}

impl Supervised for Store {
    fn observe(&self) -> serde_json::Value {
        let Counts { buried, made_room, lost, writes } = self.counts;
        json!({
            "writable": !self.parts.condition.is_bad(), "letters": self.stock.messages,
            "bytes": self.stock.bytes, "sessions": self.stock.sessions(), "waiting": self.waiting.letters.len(),
            "buried": buried, "made_room": made_room, "lost": lost, "writes": writes
        })
    }

    /// What was handed over is written first.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.stopping = true;
        self.work(ctx);
    }
}

supervised!(Store);
