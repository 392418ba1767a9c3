//! One incarnation of a child: built by its factory, run inside a guard that reports its end.
//!
//! The guard catches a panic itself instead of leaving it to the runtime: dropping an actix context polls
//! its mailbox once more, and a second panic while the first unwinds would end the whole process.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, AsyncContext, Context, Handler};
use actix_rt::ArbiterHandle;
use futures_util::{
    FutureExt,
    future::{AbortHandle, Abortable, LocalBoxFuture},
};

use super::{
    arbiters::Placement,
    mailbox::MailboxStats,
    messages::{ControlPorts, Observe, Ping, Stop},
    policy::ChildKind,
};

/// An actor that the tree can watch, look at and end; [`supervised!`](crate::supervised) writes the handlers.
pub trait Supervised:
    Actor<Context = Context<Self>> + Handler<Ping> + Handler<Stop> + Handler<Observe>
{
    /// What to show of it.
    fn observe(&self) -> serde_json::Value;

    /// Ends it; an actor that holds something hands it on first.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        use actix::ActorContext;
        ctx.stop();
    }
}

/// Implements the three handlers of [`Supervised`](crate::supervision::Supervised).
#[macro_export]
macro_rules! supervised {
    ($actor:ty) => {
        impl actix::Handler<$crate::supervision::Ping> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::supervision::Ping, _: &mut Self::Context) {}
        }
        impl actix::Handler<$crate::supervision::Stop> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::supervision::Stop, ctx: &mut Self::Context) {
                $crate::supervision::Supervised::stop(self, ctx);
            }
        }
        impl actix::Handler<$crate::supervision::Observe> for $actor {
            type Result = $crate::supervision::Observation;
            fn handle(
                &mut self,
                _: $crate::supervision::Observe,
                _: &mut Self::Context,
            ) -> $crate::supervision::Observation {
                $crate::supervision::Observation($crate::supervision::Supervised::observe(self))
            }
        }
    };
}

/// Builds a child; awaited on the child's own arbiter.
pub type BuildFuture = LocalBoxFuture<'static, Result<Child, String>>;

/// What a factory is given.
#[derive(Debug, Clone, Default)]
pub struct Birth {
    /// To be kept by the actor that is built.
    pub exit: Exit,
}

/// By this an actor says why it ends.
#[derive(Debug, Clone, Default)]
pub struct Exit(Arc<Mutex<Option<String>>>);

impl Exit {
    /// States the reason; the actor then stops itself. The first reason stands.
    pub fn because(&self, reason: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.into());
    }

    fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A built actor that doesn't run yet.
pub struct Child {
    run: LocalBoxFuture<'static, ()>,
    ports: ControlPorts,
}

impl Child {
    /// Builds an actor in its context, where it can hand out its addresses before its first message.
    pub fn new<A: Supervised>(capacity: usize, build: impl FnOnce(&mut Context<A>) -> A) -> Self {
        let mut context = Context::new();
        context.set_mailbox_capacity(capacity);
        let actor = build(&mut context);
        let address = context.address();
        let ports = ControlPorts {
            ping: address.clone().recipient(),
            stop: address.clone().recipient(),
            observe: address.recipient(),
        };
        Self { run: context.into_future(actor).boxed_local(), ports }
    }
}

/// How to build a child, again and again.
pub struct ChildSpec {
    /// Its name among its siblings, as people write it.
    pub name: String,
    /// Selects the policy.
    pub kind: ChildKind,
    /// Where it lives.
    pub placement: Placement,
    /// Its mailbox.
    pub mailbox: Arc<MailboxStats>,
    /// Builds one incarnation.
    pub factory: Box<dyn Fn(Birth) -> BuildFuture + Send + Sync>,
}

impl std::fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why an incarnation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// A panic, with its message.
    Panicked(String),
    /// It couldn't be built, or said itself why it ended.
    Failed(String),
    /// It ended without a word.
    Quiet,
    /// It was dropped from outside.
    Dropped,
}

/// What an incarnation tells the tree.
#[derive(Debug)]
pub(super) enum Life {
    /// Built and running.
    Started(ControlPorts),
    /// No more.
    Ended(End),
}

/// Where an incarnation's news go.
pub(super) type Report = Box<dyn Fn(Life) + Send>;

/// Builds and runs one incarnation on a thread. The handle drops it, wherever it is.
pub(super) fn launch(
    thread: &ArbiterHandle,
    spec: Arc<ChildSpec>,
    start_timeout: Duration,
    report: Report,
) -> AbortHandle {
    let (abort, registration) = AbortHandle::new_pair();
    let guard = Guard::new(report);
    thread.spawn_fn(move || {
        actix_rt::spawn(Abortable::new(live(spec, start_timeout, guard), registration));
    });
    abort
}

/// Runs a child that was built elsewhere, on the current thread.
pub(super) fn adopt(child: Child, exit: Exit, report: Report) -> AbortHandle {
    let (abort, registration) = AbortHandle::new_pair();
    let guard = Guard::new(report);
    actix_rt::spawn(Abortable::new(run(child, exit, guard), registration));
    abort
}

async fn live(spec: Arc<ChildSpec>, start_timeout: Duration, guard: Guard) {
    let birth = Birth::default();
    let exit = birth.exit.clone();
    let build = AssertUnwindSafe(async { (spec.factory)(birth).await }).catch_unwind();
    match tokio::time::timeout(start_timeout, build).await {
        Ok(Ok(Ok(child))) => run(child, exit, guard).await,
        Ok(Ok(Err(reason))) => guard.end(End::Failed(reason)),
        Ok(Err(panic)) => guard.end(End::Panicked(panic_message(panic.as_ref()))),
        Err(_) => guard.end(End::Failed(format!("starting took longer than {start_timeout:?}"))),
    }
}

async fn run(child: Child, exit: Exit, guard: Guard) {
    guard.tell(Life::Started(child.ports));
    let mut future = child.run;
    let outcome = AssertUnwindSafe(&mut future).catch_unwind().await;
    // The context's destructor polls the actor once more: a panic there must not go further either.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    guard.end(match (outcome, exit.reason()) {
        (Err(panic), _) => End::Panicked(panic_message(panic.as_ref())),
        (Ok(()), Some(reason)) => End::Failed(reason),
        (Ok(()), None) => End::Quiet,
    });
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Reports the end of an incarnation whatever ends it: its `Drop` runs when the future is dropped.
struct Guard {
    report: Report,
    ended: bool,
}

impl Guard {
    fn new(report: Report) -> Self {
        Self { report, ended: false }
    }

    fn tell(&self, life: Life) {
        (self.report)(life);
    }

    fn end(mut self, end: End) {
        self.ended = true;
        self.tell(Life::Ended(end));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Life::Ended(End::Dropped));
        }
    }
}

/// Whether a thread still takes work, asked with a limit.
pub(super) fn answers(thread: &ArbiterHandle, limit: Duration) -> impl Future<Output = bool> + use<> {
    let (tx, rx) = tokio::sync::oneshot::channel();
    thread.spawn_fn(move || {
        let _ = tx.send(());
    });
    async move { matches!(tokio::time::timeout(limit, rx).await, Ok(Ok(()))) }
}
