//! The session's life: connect, attach to the spool, carry, end when the connection breaks.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture, fut::ActorFuture,
};
use bifrost_model::Timestamp;
use serde_json::json;
use tokio::time::timeout;

use super::{
    MqttSettings,
    address::Server,
    error::ConnectError,
    inbox::Found,
    incoming::{Answer, Requests, Taken},
    life::Life,
    options::plain,
    publisher::Publisher,
    session::Session,
    suspicion::Verdict,
    window::Window,
};
use crate::{
    broker::{
        Answering, Attach, CommandRoutes, Deliver, Detach, Identity, Outcome, Outgoing, SpoolPorts, Ticket,
    },
    router::EventSink,
    supervised,
    supervision::{Birth, Child, ChildKind, ChildSpec, Exit, MailboxStats, Placement, Slot, Supervised},
};

/// How often the session looks for a spool, and whether the broker still acknowledges.
const TICK: Duration = Duration::from_millis(100);
/// Longest time that each half of a clean end may take: what is still out, and the goodbye.
const FAREWELL: Duration = Duration::from_secs(1);
/// A few control messages; what the spool hands over is bounded by the window.
const MAILBOX: usize = 64;

/// What every incarnation needs.
#[derive(Clone)]
pub(crate) struct Parts {
    /// The session's name.
    pub(crate) name: Arc<str>,
    /// What the configuration says.
    pub(crate) settings: Arc<MqttSettings>,
    /// Who speaks.
    pub(crate) identity: Identity,
    /// Where its spool is.
    pub(crate) spool: Slot<SpoolPorts>,
    /// Who answers requests.
    pub(crate) answering: Answering,
    /// Which topics carry them.
    pub(crate) routes: Arc<dyn CommandRoutes>,
    /// What the broker keeps of the gateway's status: that it is there, or (false) that it isn't. The latter is
    /// the will.
    pub(crate) birth: Arc<dyn Fn(bool) -> Outgoing + Send + Sync>,
    /// Where events go.
    pub(crate) events: EventSink,
    /// What is counted.
    pub(crate) counters: Arc<super::MqttCounters>,
}

/// How to build the session, again and again.
pub(crate) fn spec(parts: Parts, placement: Placement) -> ChildSpec {
    let mailbox = MailboxStats::new(MAILBOX + parts.settings.window);
    let life = Arc::new(Life::new(&parts));
    ChildSpec {
        name: "session".to_owned(),
        kind: ChildKind::MqttSession,
        placement,
        mailbox,
        factory: Box::new(move |birth| Box::pin(open(parts.clone(), Arc::clone(&life), birth))),
    }
}

async fn open(parts: Parts, life: Arc<Life>, birth: Birth) -> Result<Child, String> {
    let opened = match server(&parts, &life) {
        Ok(server) => Session::open(&parts, server).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(session) => {
            life.connected(&session, &parts.settings);
            let capacity = MAILBOX + parts.settings.window;
            Ok(Child::new(capacity, |_| MqttSession::new(parts, life, session, birth.exit)))
        }
        Err(error) => {
            life.next_server();
            Err(error.to_string())
        }
    }
}

/// The server whose turn it is.
fn server(parts: &Parts, life: &Life) -> Result<Server, ConnectError> {
    let urls: Vec<_> = parts.settings.urls().collect();
    let url = urls[life.server() % urls.len()];
    Server::parse(url, parts.settings.tls.enabled).ok_or_else(|| ConnectError::Setting {
        key: "broker",
        problem: format!("{url:?} is no URL; write one such as tls://mqtt.example.com:8883"),
    })
}

/// One connection's actor; what it sends is in `outbound`.
pub(super) struct MqttSession {
    pub(super) parts: Parts,
    pub(super) life: Arc<Life>,
    pub(super) incarnation: u64,
    pub(super) session: Session,
    exit: Exit,
    connected_since: Timestamp,
    pub(super) publisher: Publisher,
    pub(super) window: Window,
    /// What is to be told to the spool.
    pub(super) outcomes: Vec<(Ticket, Outcome)>,
    pub(super) attached: Option<SpoolPorts>,
    requests: Requests,
    stage: Stage,
    /// Why nothing can be sent any more, though nobody has said so yet.
    pub(super) broken: Option<String>,
    pub(super) counts: Counts,
    /// What is thought of the message that the last connections ended with.
    pub(super) verdict: Verdict,
    /// A suspected message that is out alone.
    pub(super) alone: Option<Ticket>,
    /// Messages that wait for it.
    pub(super) held: VecDeque<(Ticket, Arc<Outgoing>)>,
    /// Requests had to be refused.
    flooded: bool,
}

/// How far a clean end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It hasn't begun.
    Up,
    /// What is out is waited for.
    Stopping,
    /// The broker is told.
    Leaving,
}

/// What happened on this connection.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) last_refusal: Option<String>,
}

impl MqttSession {
    fn new(parts: Parts, life: Arc<Life>, session: Session, exit: Exit) -> Self {
        let settings = Arc::clone(&parts.settings);
        let (routes, answering) = (Arc::clone(&parts.routes), Arc::clone(&parts.answering));
        Self {
            incarnation: life.incarnation(),
            connected_since: Timestamp::now(),
            publisher: Publisher::new(settings, parts.identity.clone(), session.limits, session.v5),
            window: Window::new(),
            outcomes: Vec::new(),
            attached: None,
            requests: Requests::new(Arc::clone(&parts.name), routes, answering),
            stage: Stage::Up,
            broken: None,
            counts: Counts::default(),
            verdict: life.verdict(),
            alone: None,
            held: VecDeque::new(),
            flooded: false,
            parts,
            life,
            session,
            exit,
        }
    }

    /// Tells the spool that there is a connection, if it doesn't know. A rebuilt spool counts anew: what its
    /// predecessor handed over is no longer anybody's.
    fn attach(&mut self, ctx: &Context<Self>) {
        let Some(ports) = self.parts.spool.get() else { return };
        if self.attached.as_ref().is_some_and(|known| known.attach == ports.attach) {
            return;
        }
        self.window.forget();
        self.outcomes.clear();
        self.held.clear();
        self.alone = None;
        ports.attach.do_send(Attach {
            incarnation: self.incarnation,
            to: ctx.address().recipient(),
            window: self.session.limits.window,
            max_payload: self.session.limits.max_payload(),
        });
        self.attached = Some(ports);
    }

    fn detach(&mut self) {
        if let Some(ports) = self.attached.take() {
            ports.detach.do_send(Detach { incarnation: self.incarnation });
        }
    }

    /// Looks after everything that has happened since the last time. What arrived is taken before what was
    /// acknowledged is looked at: whatever was acknowledged before a loss is known then.
    fn turn(&mut self, ctx: &mut Context<Self>, cx: &mut TaskContext<'_>) {
        let mut found = self.session.inbox.poll(cx);
        if let Some(error) = self.window.poll(cx, self.session.inbox.is_closing(), &mut self.outcomes) {
            self.broken.get_or_insert_with(|| error.to_string());
        }
        self.tell();
        let lost = found.lost.take();
        self.take_in(&found);
        while let Some(answer) = self.requests.poll(cx) {
            self.answer(&answer);
        }
        if let Some(reason) = lost {
            self.lost(&reason, ctx);
        } else if self.stage == Stage::Stopping && self.window.len() == 0 && self.requests.len() == 0 {
            self.leave(ctx);
        }
    }

    fn take_in(&mut self, found: &Found) {
        let mut refused = found.missed;
        for message in &found.messages {
            match self.requests.take(message, self.stage != Stage::Up) {
                Taken::Foreign => {}
                Taken::Stale => self.life.stale(message.topic()),
                Taken::Pending => self.parts.counters.requests.add(1),
                Taken::Refused(answer) => {
                    refused += 1;
                    if let Some(answer) = answer {
                        self.answer(&answer);
                    }
                }
            }
        }
        if refused > 0 {
            self.parts.counters.requests_refused.add(refused);
            self.flooded = true;
            self.life.flooded(self.parts.settings.commands.max_pending);
        } else if self.flooded && self.requests.len() == 0 {
            self.flooded = false;
            self.life.calm();
        }
    }

    fn answer(&self, answer: &Answer) {
        let Some(client) = self.session.client.get() else { return };
        let qos = self.own_qos();
        let fits = self.publisher.check(&answer.to.topic, answer.payload.len(), qos, &answer.to.properties());
        match fits {
            // Nobody waits: an answer that doesn't arrive is asked for again.
            Ok(()) => drop(client.publish(answer.packet(qos))),
            Err(reason) => {
                let topic = &answer.to.topic;
                tracing::warn!(session = %self.parts.name, topic, "an answer can't be sent: {reason}");
            }
        }
    }

    /// Quality of service of what the session itself says.
    fn own_qos(&self) -> u8 {
        self.parts.settings.max_qos.min(self.session.limits.max_qos).min(1)
    }

    /// Looks whether there is a spool, and whether the broker lives.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.stage != Stage::Up {
            return;
        }
        self.attach(ctx);
        let (server, limit) = (&self.session.server, self.parts.settings.ack_timeout);
        if let Some(evidence) = &self.broken {
            let reason = format!("connection to {server} lost: {evidence}");
            self.end(reason, ctx);
        } else if self.window.is_stalled(limit) {
            let reason =
                format!("{server} has acknowledged nothing for {limit:?}, though it was sent messages");
            self.end(reason, ctx);
        }
    }

    fn lost(&mut self, reason: &str, ctx: &mut Context<Self>) {
        self.session.client.part();
        if let Some(oldest) = self.window.oldest() {
            self.life.ended_with(self.id(oldest));
        }
        if self.stage == Stage::Up {
            self.end(format!("connection to {} lost: {reason}", self.session.server), ctx);
        } else {
            ctx.stop();
        }
    }

    fn end(&mut self, reason: String, ctx: &mut Context<Self>) {
        if self.counts.acknowledged == 0 {
            self.life.next_server();
        }
        self.exit.because(reason);
        ctx.stop();
    }

    /// Tells the broker that the gateway goes, instead of leaving that to the will.
    fn leave(&mut self, ctx: &mut Context<Self>) {
        if self.stage == Stage::Leaving {
            return;
        }
        self.stage = Stage::Leaving;
        let Some(client) = self.session.client.get().cloned() else { return ctx.stop() };
        let gone = (self.parts.birth)(false);
        let offline = client.publish(plain(&gone, self.own_qos(), self.session.limits.retain));
        let goodbye = async move {
            let _ = offline.await;
            let _ = client.disconnect(None).await;
        };
        ctx.spawn(timeout(FAREWELL, goodbye).into_actor(self).map(|told, actor, ctx| {
            if told.is_ok() {
                actor.session.client.part();
            }
            ctx.stop();
        }));
    }
}

impl Actor for MqttSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.attach(ctx);
        ctx.spawn(Turns);
        ctx.run_interval(TICK, Self::tick);
    }
}

/// Looks after the connection whenever something happens on it.
struct Turns;

impl ActorFuture<MqttSession> for Turns {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut MqttSession,
        ctx: &mut Context<MqttSession>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        actor.turn(ctx, cx);
        Poll::Pending
    }
}

impl Drop for MqttSession {
    /// However it ends, the spool learns of it.
    fn drop(&mut self) {
        self.detach();
    }
}

impl Handler<Deliver> for MqttSession {
    type Result = ();

    /// While it ends nothing is taken: what isn't settled goes back when the session detaches.
    fn handle(&mut self, Deliver(batch): Deliver, _: &mut Self::Context) {
        let takes = self.stage == Stage::Up && self.broken.is_none();
        if takes && !self.session.inbox.is_closing() {
            for (ticket, message) in batch {
                self.deliver(ticket, message);
            }
        }
    }
}

impl Supervised for MqttSession {
    fn observe(&self) -> serde_json::Value {
        let (session, counts) = (&self.session, &self.counts);
        let state = match (self.stage, &self.attached) {
            (Stage::Up, _) if session.inbox.is_closing() => "closed by the broker",
            (Stage::Up, Some(_)) => "connected",
            (Stage::Up, None) => "waiting for the spool",
            _ => "stopping",
        };
        json!({
            "state": state,
            "server": session.server.to_string(),
            "version": if session.v5 { "5" } else { "3.1.1" },
            "tls": session.server.tls,
            "connected_since": self.connected_since,
            "window": session.limits.window,
            "in_flight": self.window.len(),
            "published": counts.published,
            "acknowledged": counts.acknowledged,
            "refused": counts.refused,
            "last_refusal": counts.last_refusal,
            "max_qos": session.limits.max_qos,
            "qos_clamped": session.limits.clamped(&self.parts.settings),
            "retain": session.limits.retain,
            "max_packet_size": session.limits.max_packet.map(|(bytes, _)| bytes),
            "topic_aliases": self.publisher.aliases(),
            "subscriptions_refused": session.unsubscribed,
            "birth_refused": session.no_birth,
            "requests_pending": self.requests.len(),
            "requests": self.parts.counters.requests.get(),
            "requests_refused": self.parts.counters.requests_refused.get(),
        })
    }

    /// Takes nothing more, waits for what is out, then goes; all of it within about two seconds.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        if self.stage == Stage::Up {
            self.stage = Stage::Stopping;
            ctx.run_later(FAREWELL, Self::leave);
        }
    }
}

supervised!(MqttSession);
