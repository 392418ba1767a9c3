//! An actor that fails on demand, in every way there is.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    supervised,
    supervision::{
        Birth, Child, ChildKind, ChildSpec, Exit, MailboxStats, Placement, Port, Slot, Supervised, Tenancy,
    },
};

/// What a probe can be told to do.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum Trick {
    /// Count this message.
    Count,
    /// Panic in the handler.
    Panic,
    /// Stop without a word.
    Stop,
    /// Say why, and stop.
    Fail(&'static str),
    /// Take no message any more: wait for what never comes.
    Hang,
    /// Block the thread.
    Block(Duration),
}

/// How one birth goes.
#[derive(Debug, Clone, Copy)]
pub enum Birthplace {
    /// As it should.
    Sound,
    /// The factory answers an error.
    Fails,
    /// The factory panics.
    Panics,
    /// It takes this long.
    Slow(Duration),
    /// The factory blocks its thread this long.
    Blocks(Duration),
}

/// A handle on all incarnations of one test actor.
#[derive(Clone)]
pub struct Probe(Arc<Inner>);

struct Inner {
    name: String,
    mailbox: Arc<MailboxStats>,
    address: Slot<Port<Trick>>,
    control: Slot<Recipient<Trick>>,
    births: Mutex<Vec<Instant>>,
    script: Mutex<VecDeque<Birthplace>>,
    always: Mutex<Birthplace>,
    living: AtomicUsize,
    counted: AtomicUsize,
    stubborn: bool,
}

impl Probe {
    /// An actor of this name with a mailbox for 16.
    pub fn new(name: &str) -> Self {
        Self::made(name, false)
    }

    /// One that doesn't stop when asked to.
    pub fn stubborn(name: &str) -> Self {
        Self::made(name, true)
    }

    fn made(name: &str, stubborn: bool) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            mailbox: MailboxStats::new(16),
            address: Slot::empty(),
            control: Slot::empty(),
            births: Mutex::default(),
            script: Mutex::default(),
            always: Mutex::new(Birthplace::Sound),
            living: AtomicUsize::new(0),
            counted: AtomicUsize::new(0),
            stubborn,
        }))
    }

    /// How the next births go; those after as always.
    pub fn next_births(&self, script: impl IntoIterator<Item = Birthplace>) {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner).extend(script);
    }

    /// Forgets what was said of births: all go as they should.
    pub fn forget_births(&self) {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.always(Birthplace::Sound);
    }

    /// How births go that no script is for.
    pub fn always(&self, birth: Birthplace) {
        *self.0.always.lock().unwrap_or_else(PoisonError::into_inner) = birth;
    }

    /// How to build it.
    pub fn spec(&self, kind: ChildKind, placement: Placement) -> ChildSpec {
        let probe = self.clone();
        ChildSpec {
            name: self.0.name.clone(),
            kind,
            placement,
            mailbox: Arc::clone(&self.0.mailbox),
            factory: Box::new(move |birth| Box::pin(build(probe.clone(), birth))),
        }
    }

    /// One incarnation, for a guest.
    pub fn child(&self, exit: Exit) -> Child {
        let probe = self.clone();
        Child::new(self.0.mailbox.capacity(), |ctx| probe.actor(exit, ctx))
    }

    /// Its mailbox.
    pub fn mailbox(&self) -> &Arc<MailboxStats> {
        &self.0.mailbox
    }

    fn actor(&self, exit: Exit, ctx: &Context<ProbeActor>) -> ProbeActor {
        let to: Recipient<Trick> = ctx.address().recipient();
        let port = Port::new(to.clone(), Arc::clone(&self.0.mailbox));
        self.0.living.fetch_add(1, Ordering::SeqCst);
        let homes = (self.0.address.set(port), self.0.control.set(to));
        ProbeActor { probe: self.clone(), exit, counted: 0, _homes: homes }
    }

    /// Tells the living incarnation to do something, past its mailbox's bound.
    pub fn tell(&self, trick: Trick) {
        if let Some(to) = self.0.control.get() {
            to.do_send(trick);
        }
    }

    /// The bounded way to it.
    pub fn port(&self) -> Option<Port<Trick>> {
        self.0.address.get()
    }

    /// When it was built, or was tried to be, each time.
    pub fn births(&self) -> Vec<Instant> {
        self.0.births.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many incarnations exist.
    pub fn living(&self) -> usize {
        self.0.living.load(Ordering::SeqCst)
    }

    /// How many messages were counted, by all incarnations.
    pub fn counted(&self) -> usize {
        self.0.counted.load(Ordering::SeqCst)
    }

    fn next_birth(&self) -> Birthplace {
        self.0.births.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let scripted = self.0.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        scripted.unwrap_or(*self.0.always.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn build(probe: Probe, birth: Birth) -> Result<Child, String> {
    match probe.next_birth() {
        Birthplace::Sound => {}
        Birthplace::Fails => return Err("scripted failure".to_owned()),
        Birthplace::Panics => panic!("scripted panic at birth"),
        Birthplace::Slow(time) => tokio::time::sleep(time).await,
        Birthplace::Blocks(time) => std::thread::sleep(time),
    }
    Ok(probe.child(birth.exit))
}

struct ProbeActor {
    probe: Probe,
    exit: Exit,
    counted: usize,
    _homes: (Tenancy<Port<Trick>>, Tenancy<Recipient<Trick>>),
}

impl Actor for ProbeActor {
    type Context = Context<Self>;
}

impl Drop for ProbeActor {
    fn drop(&mut self) {
        self.probe.0.living.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler<Trick> for ProbeActor {
    type Result = ();

    fn handle(&mut self, trick: Trick, ctx: &mut Self::Context) {
        match trick {
            Trick::Count => {
                self.probe.0.mailbox.taken();
                self.counted += 1;
                self.probe.0.counted.fetch_add(1, Ordering::SeqCst);
            }
            Trick::Panic => panic!("scripted panic"),
            Trick::Stop => ctx.stop(),
            Trick::Fail(reason) => {
                self.exit.because(reason);
                ctx.stop();
            }
            Trick::Hang => ctx.wait(std::future::pending::<()>().into_actor(self)),
            Trick::Block(time) => std::thread::sleep(time),
        }
    }
}

impl Supervised for ProbeActor {
    fn observe(&self) -> serde_json::Value {
        json!({ "counted": self.counted })
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        if !self.probe.0.stubborn {
            ctx.stop();
        }
    }
}

supervised!(ProbeActor);
