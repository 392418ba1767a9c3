//! The session's life: connect, attach to the spool, carry, end when the connection does.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, StreamHandler, WrapFuture,
};
use bifrost_model::{Event as Happening, Severity};
use futures_util::{StreamExt, stream};
use nats::{Event, Message, ServerError, Subscriber};
use serde_json::json;
use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};

use super::{
    NatsSettings,
    connect::Connection,
    error::{NatsError, denial},
    incoming::Incoming,
    opening::{Ready, get_ready},
    session::{Attached, Session, Setup},
    stream::{self as streams, Api},
};
use crate::{
    broker::{Answering, Attach, CommandRoutes, Deliver, Detach, Identity, Outgoing, SpoolPorts},
    router::EventSink,
    supervised,
    supervision::{Birth, Child, ChildKind, ChildSpec, Exit, MailboxStats, Placement, Slot, Supervised},
};

/// How often the spool is looked for, and time-outs are.
const TICK: Duration = Duration::from_millis(100);
/// How long a clean end may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Most answers that are looked at in one go.
const MAX_CHUNK: usize = 1024;
/// Messages of the spool are bounded by the window, those of the tree are few.
const MAILBOX: usize = 64;

/// What every incarnation of the session needs.
#[derive(Clone)]
pub struct Parts {
    /// Of the session.
    pub name: Arc<str>,
    /// Of the cluster.
    pub settings: Arc<NatsSettings>,
    /// Who speaks.
    pub identity: Identity,
    /// Whom messages come from.
    pub spool: Slot<SpoolPorts>,
    /// Who answers requests.
    pub answering: Answering,
    /// Which subjects requests come on.
    pub routes: Arc<dyn CommandRoutes>,
    /// Tells that the gateway is online, or isn't any more.
    pub status: Arc<dyn Fn(bool) -> Outgoing + Send + Sync>,
    /// Subjects that the stream takes, with `*`.
    pub stream_subjects: Vec<String>,
    /// Who is told what happens.
    pub events: EventSink,
}

/// How to build the session, again and again.
pub fn spec(parts: Parts, placement: Placement) -> ChildSpec {
    let mailbox = MailboxStats::new(MAILBOX + parts.settings.window);
    ChildSpec {
        name: "session".to_owned(),
        kind: ChildKind::NatsSession,
        placement,
        mailbox,
        factory: Box::new(move |birth: Birth| {
            let parts = parts.clone();
            Box::pin(async move {
                let ready = get_ready(&parts).await.map_err(|error| error.to_string())?;
                let capacity = MAILBOX + parts.settings.window;
                Ok(Child::new(capacity, |ctx| NatsSession::new(parts, ready, birth.exit, ctx)))
            })
        }),
    }
}

/// What the client library tells of the connection.
type Heard = Rc<RefCell<UnboundedReceiver<Event>>>;

struct NatsSession {
    parts: Parts,
    events: Heard,
    session: Rc<Session>,
    incoming: Rc<Incoming>,
    commands: Vec<Subscriber>,
    stream: Option<streams::Outcome>,
    to: Recipient<Deliver>,
    exit: Exit,
    /// What the server said last that wasn't about a subject.
    complaint: Option<String>,
    lame_duck: bool,
    looking_up: bool,
    stopping: bool,
}

impl NatsSession {
    fn new(parts: Parts, ready: Ready, exit: Exit, ctx: &mut Context<Self>) -> Self {
        let Ready { connection: Connection { client, events, server }, stream, inbox, commands } = ready;
        let (wanted, outcome) = stream.unzip();
        // The order matters: a barrier that came back is looked at after what was denied before it.
        let events = Rc::new(RefCell::new(events.into_receiver()));
        ctx.add_stream(as_stream(Rc::clone(&events)).ready_chunks(MAX_CHUNK));
        ctx.add_stream(inbox.1.ready_chunks(MAX_CHUNK));
        let session = Session::new(Setup {
            client: client.clone(),
            server,
            gateway_id: Arc::clone(&parts.identity.gateway_id),
            stream: wanted,
            window: parts.settings.window,
            ack_timeout: parts.settings.ack_timeout,
            inbox: inbox.0,
        });
        let incoming = Incoming {
            session: Arc::clone(&parts.name),
            client,
            answering: Arc::clone(&parts.answering),
            routes: Arc::clone(&parts.routes),
            pending: Rc::default(),
            answered: Cell::default(),
            turned_away: Cell::default(),
        };
        Self {
            session: Rc::new(session),
            incoming: Rc::new(incoming),
            commands,
            stream: outcome,
            to: ctx.address().recipient(),
            exit,
            complaint: None,
            lame_duck: false,
            looking_up: false,
            stopping: false,
            events,
            parts,
        }
    }

    /// Offers itself to the spool that lives now. What an earlier one handed over is its affair: what still comes
    /// of it is ignored for a tick.
    fn attach(&self) {
        let (attached, occupant) = (self.session.attached.borrow().clone(), self.parts.spool.get());
        match (attached, occupant) {
            (None, Some(ports)) => self.attach_to(&ports),
            (Some(attached), Some(ports)) if attached.ports.attach == ports.attach => {}
            (Some(_), _) => self.session.forget(),
            (None, None) => {}
        }
    }

    fn attach_to(&self, ports: &SpoolPorts) {
        let incarnation = next_incarnation();
        let attach = Attach {
            incarnation,
            to: self.to.clone(),
            window: self.parts.settings.window,
            max_payload: Some(self.session.max_payload()),
        };
        self.session.attached.replace(Some(Attached { ports: ports.clone(), incarnation }));
        ports.attach.do_send(attach);
    }

    fn on_tick(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        self.attach();
        if let Err(error) = self.session.on_time(Instant::now()) {
            self.end(&error, ctx);
        }
    }

    fn end(&self, reason: &NatsError, ctx: &mut Context<Self>) {
        if !self.stopping {
            self.exit.because(reason.to_string());
        }
        ctx.stop();
    }

    fn lost(&self, ctx: &mut Context<Self>) {
        let (server, problem) = (self.session.server.clone(), self.complaint.clone());
        self.end(&NatsError::Lost { server, problem }, ctx);
    }

    fn on_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        match event {
            Event::ServerError(ServerError::Other(text)) => match denial(&text) {
                Some((action, subject)) => self.on_denial(action, subject, ctx),
                None => self.complaint = Some(text),
            },
            Event::ServerError(error) => self.complaint = Some(error.to_string()),
            Event::Disconnected | Event::Closed => self.lost(ctx),
            Event::SlowConsumer(_) => self.session.counts.slow_consumer.add(),
            Event::LameDuckMode => {
                self.lame_duck = true;
                self.complaint = Some("the server is about to shut down".to_owned());
            }
            Event::Connected | Event::Draining | Event::ClientError(_) => {}
        }
    }

    fn on_denial(&self, action: &'static str, subject: &str, ctx: &mut Context<Self>) {
        if subject.starts_with(&self.session.inbox) {
            self.end(&NatsError::Denied { action, subject: subject.to_owned() }, ctx);
        } else if self.session.deny(subject) {
            let error = NatsError::Denied { action, subject: subject.to_owned() };
            self.tell("subject_denied", Severity::Warning, error.to_string(), json!({ "subject": subject }));
        }
    }

    fn tell(
        &self,
        event_type: &'static str,
        severity: Severity,
        message: String,
        mut data: serde_json::Value,
    ) {
        if let Some(data) = data.as_object_mut() {
            data.insert("broker".to_owned(), json!(*self.parts.name));
        }
        self.parts.events.record(Happening::new("", event_type, severity, message).with(data));
    }

    /// Tells what became of the stream.
    fn tell_of_stream(&self) {
        let (Some(wanted), Some(outcome)) = (&self.session.stream, &self.stream) else { return };
        let (name, servers) = (&wanted.name, &self.session.server);
        if outcome.created {
            let message = format!("the stream {name} was made on {servers}");
            self.tell("stream_created", Severity::Info, message, json!({ "stream": name }));
        }
        if outcome.differences.is_empty() {
            return;
        }
        let fields: Vec<_> = outcome.differences.iter().map(|difference| &difference.field).collect();
        let data = json!({ "stream": name, "fields": fields, "refused": outcome.refused });
        let mut message = format!("the stream {name} isn't as configured: {}", in_words(outcome));
        if let Some(refused) = &outcome.refused {
            message = format!("{message}; the server refuses to change it: {refused}");
        }
        self.tell("stream_differs", Severity::Warning, message, data);
    }

    /// Nothing took a message: either the stream has no leader now, or it was deleted.
    fn look_up(&mut self, ctx: &mut Context<Self>) {
        if self.looking_up || !self.session.has_orphans() {
            return;
        }
        self.looking_up = true;
        let session = Rc::clone(&self.session);
        let look = async move {
            let Some(wanted) = &session.stream else { return Ok(streams::Outcome::default()) };
            Api { client: &session.client, server: &session.server, events: None }.ensure(wanted).await
        };
        ctx.spawn(look.into_actor(self).map(|outcome, actor, ctx| {
            actor.looking_up = false;
            actor.looked_up(outcome, ctx);
        }));
    }

    fn looked_up(&mut self, outcome: Result<streams::Outcome, NatsError>, ctx: &mut Context<Self>) {
        match outcome {
            Ok(outcome) => {
                let news = outcome.created || self.stream.as_ref() != Some(&outcome);
                let reason = if outcome.created {
                    "the stream was deleted, and made anew"
                } else {
                    "the stream has no leader"
                };
                self.stream = Some(outcome);
                if news {
                    self.tell_of_stream();
                }
                self.session.send_orphans_again(reason);
            }
            Err(error) if error.is_passing() => self.session.send_orphans_again(&error.to_string()),
            Err(error) => self.end(&error, ctx),
        }
    }
}

/// A number that no other session of this process has, and higher than those before.
fn next_incarnation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn as_stream(events: Heard) -> impl futures_util::Stream<Item = Event> {
    stream::poll_fn(move |cx| events.borrow_mut().poll_recv(cx))
}

/// Waits until what the server denied before something else that has arrived is known: it takes another way,
/// through a task of the client library.
async fn catch_up(events: Heard) {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    while !events.borrow().is_empty() {
        tokio::task::yield_now().await;
    }
}

fn in_words(outcome: &streams::Outcome) -> String {
    let differences: Vec<_> = outcome.differences.iter().map(ToString::to_string).collect();
    differences.join(", ")
}

impl Actor for NatsSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tell_of_stream();
        let (session, online) = (Rc::clone(&self.session), (self.parts.status)(true));
        let publishing = async move {
            match session.publish_plainly(&online).await {
                Ok(()) => session.publish_all().await,
                Err(error) => error,
            }
        };
        ctx.spawn(publishing.into_actor(self).map(|_, actor, ctx| actor.lost(ctx)));
        let commands = std::mem::take(&mut self.commands);
        if !commands.is_empty() {
            ctx.spawn(Rc::clone(&self.incoming).take_all(commands).into_actor(self));
        }
        self.attach();
        ctx.run_interval(TICK, Self::on_tick);
    }
}

impl Drop for NatsSession {
    /// However it ends, the spool learns of it.
    fn drop(&mut self) {
        if let Some(attached) = self.session.attached.take() {
            attached.ports.detach.do_send(Detach { incarnation: attached.incarnation });
        }
    }
}

impl Handler<Deliver> for NatsSession {
    type Result = ();

    fn handle(&mut self, Deliver(batch): Deliver, _: &mut Self::Context) {
        if !self.stopping && self.session.attached.borrow().is_some() {
            self.session.take(batch);
        }
    }
}

impl StreamHandler<Vec<Message>> for NatsSession {
    fn handle(&mut self, messages: Vec<Message>, ctx: &mut Self::Context) {
        if let Some(barrier) = self.session.on_inbox(&messages) {
            let session = Rc::clone(&self.session);
            ctx.spawn(
                catch_up(Rc::clone(&self.events))
                    .into_actor(self)
                    .map(move |(), _, _| session.pass_barrier(barrier)),
            );
        }
        self.look_up(ctx);
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        self.lost(ctx);
    }
}

impl StreamHandler<Vec<Event>> for NatsSession {
    fn handle(&mut self, events: Vec<Event>, ctx: &mut Self::Context) {
        for event in events {
            self.on_event(event, ctx);
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        self.lost(ctx);
    }
}

impl Supervised for NatsSession {
    fn observe(&self) -> serde_json::Value {
        let (counts, incoming) = (&self.session.counts, &self.incoming);
        let info = self.session.client.server_info();
        let differences =
            self.stream.iter().flat_map(|outcome| &outcome.differences).map(ToString::to_string);
        json!({
            "state": match (self.stopping, self.session.attached.borrow().is_some()) {
                (true, _) => "leaving",
                (false, true) => "connected",
                (false, false) => "waiting for its spool",
            },
            "server": self.session.server,
            "server_name": info.server_name,
            "version": info.version,
            "lame_duck": self.lame_duck,
            "stream": self.session.stream.as_ref().map(|wanted| &wanted.name),
            "differences": differences.collect::<Vec<_>>(),
            "in_flight": self.session.in_flight(),
            "published": counts.published.get(),
            "acknowledged": counts.acknowledged.get(),
            "duplicates": counts.duplicates.get(),
            "again": counts.again.get(),
            "refused": counts.refused.get(),
            "denied": counts.denied.get(),
            "last_refusal": *counts.last_refusal.borrow(),
            "requests": incoming.answered.get(),
            "requests_pending": incoming.pending.get(),
            "requests_turned_away": incoming.turned_away.get(),
            "slow_consumer": counts.slow_consumer.get(),
        })
    }

    /// Waits a little for what is out, says that the gateway is offline, and leaves.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.session.drop_waiting();
        let (session, offline) = (Rc::clone(&self.session), (self.parts.status)(false));
        let leaving = async move { tokio::time::timeout(GOODBYE, session.leave(&offline)).await };
        ctx.spawn(leaving.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

supervised!(NatsSession);
