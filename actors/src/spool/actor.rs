//! A spool's life: it takes news in, hands messages to its session, and hears what became of them.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, WrapFuture};
use bifrost_model::{Event, Severity, Timestamp};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{
    age::Age,
    descriptions::{Descriptions, Gone},
    disk::Disk,
    disk_state::DiskState,
    flow::{Budget, Flow},
    gaps::Gaps,
    losses::Losses,
    messages::SpoolDesk,
    outbox::{Outbox, Waiting, Window, is_kept},
    settings::{Mode, SpoolSettings},
    store::{Dropped, Pending, SetAside, StoreSettings},
};
use crate::{
    broker::{Attach, Deliver, Detach, Encoder, Outgoing, SpoolPorts},
    metrics::{Metrics, SessionMetrics},
    plc::DeviceStats,
    router::{EventSink, Filter, News, RouterPorts, Subscribe, SubscriberId, Topics, next_subscriber_id},
    supervised,
    supervision::{Child, ChildKind, ChildSpec, MailboxStats, Placement, Slot, Supervised, Tenancy},
};

/// How often it looks whether anything stalls, is too old, or waits for the disk.
const LOOK: Duration = Duration::from_millis(250);
/// How often messages that are too old are looked for.
const EXPIRE: Duration = Duration::from_secs(10);
/// How often the router is asked again for alarms and descriptions that were missed, at most.
const ASK: Duration = Duration::from_secs(5);
/// Longest time that what is out may take to be acknowledged at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// A message that a broker refuses for good goes here, with the reason.
pub(crate) type Bury = Arc<dyn Fn(Arc<Outgoing>, String) + Send + Sync>;
/// Figures to publish.
pub(crate) type Diagnose = Arc<dyn Fn() -> BoxFuture<'static, Vec<(Arc<str>, DeviceStats)>> + Send + Sync>;

/// What every incarnation of a spool needs.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) session: Arc<str>,
    pub(crate) settings: Arc<SpoolSettings>,
    pub(crate) folder: PathBuf,
    pub(crate) mailbox: usize,
    pub(crate) ports: Slot<SpoolPorts>,
    pub(crate) desk: Slot<SpoolDesk>,
    pub(crate) router: Slot<RouterPorts>,
    pub(crate) encoder: Arc<dyn Fn() -> Encoder + Send + Sync>,
    pub(crate) bury: Bury,
    pub(crate) diagnose: Option<(Duration, Diagnose)>,
    pub(crate) events: EventSink,
    pub(crate) metrics: Arc<Metrics>,
    /// What the incarnation before had in memory.
    pub(crate) legacy: Arc<Mutex<Legacy>>,
}

/// What one incarnation leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Legacy {
    messages: Vec<Arc<Outgoing>>,
    gaps: Gaps,
    gone: Gone,
    losses: Option<Losses>,
    /// For which there is an alarm.
    disk_error: Option<String>,
}

/// How to build a spool.
pub(crate) fn spec(parts: Parts, placement: Placement) -> ChildSpec {
    let mailbox = MailboxStats::new(parts.mailbox);
    ChildSpec {
        name: "spool".to_owned(),
        kind: ChildKind::Spool,
        placement,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| Box::pin(build(parts.clone(), mailbox.capacity()))),
    }
}

async fn build(parts: Parts, capacity: usize) -> Result<Child, String> {
    let settings = StoreSettings {
        max_bytes: parts.settings.max_bytes.0,
        segment_bytes: parts.settings.segment(),
        on_full: parts.settings.on_full,
    };
    let (disk, stats, set_aside) = Disk::open(parts.folder.clone(), settings).await?;
    Ok(Child::new(capacity, |ctx| {
        let address = ctx.address();
        let for_session = parts.ports.set(SpoolPorts {
            attach: address.clone().recipient(),
            detach: address.clone().recipient(),
            settled: address.clone().recipient(),
        });
        let for_others =
            parts.desk.set(SpoolDesk { report: address.clone().recipient(), requeue: address.recipient() });
        let mut spool = Spool::new(parts, DiskState::new(disk, stats), (for_session, for_others));
        spool.tell_set_aside(&set_aside);
        // Before anybody hears that it runs: what is read from then on isn't missed.
        spool.subscribe(ctx);
        spool
    }))
}

/// The session that carries now.
pub(super) struct Carrier {
    pub(super) incarnation: u64,
    pub(super) to: Recipient<Deliver>,
    pub(super) window: Window,
}

pub(super) struct Spool {
    pub(super) parts: Parts,
    _addresses: (Tenancy<SpoolPorts>, Tenancy<SpoolDesk>),
    pub(super) metrics: SessionMetrics,
    subscription: SubscriberId,
    router: Option<RouterPorts>,
    asked_at: Instant,
    /// Whether something was said that it didn't hear, since it asked.
    missed: bool,
    /// Alarms of which there was news since it asked, until the answer comes.
    heard: Option<HashSet<String>>,
    pub(super) encoder: Encoder,
    /// Scans become messages here; its room is used again and again.
    encoded: Vec<Outgoing>,
    pub(super) outbox: Outbox,
    pub(super) carrier: Option<Carrier>,
    pub(super) flow: Flow,
    pub(super) budget: Budget,
    pub(super) hold_until: Option<Instant>,
    pub(super) descriptions: Descriptions,
    pub(super) pumping: bool,
    pub(super) losses: Losses,
    gaps: Gaps,
    pub(super) disk: DiskState,
    pub(super) age: Age,
    next_expiry: Instant,
    pub(super) leaving: Option<Instant>,
}

impl Spool {
    fn new(parts: Parts, mut disk: DiskState, addresses: (Tenancy<SpoolPorts>, Tenancy<SpoolDesk>)) -> Self {
        let now = Instant::now();
        let metrics = parts.metrics.session(&parts.session);
        let left = std::mem::take(&mut *parts.legacy.lock().unwrap_or_else(PoisonError::into_inner));
        let new = || Losses::new(Arc::clone(&parts.session), parts.events.clone(), metrics.dropped.clone());
        let losses = left.losses.unwrap_or_else(new);
        disk.error = left.disk_error;
        let mut outbox = Outbox::default();
        left.messages.into_iter().for_each(|message| outbox.push(message));
        Self {
            _addresses: addresses,
            metrics,
            subscription: next_subscriber_id(),
            router: None,
            asked_at: now,
            missed: false,
            heard: None,
            encoder: (parts.encoder)(),
            encoded: Vec::new(),
            outbox,
            carrier: None,
            flow: Flow::new(parts.settings.stall_after),
            budget: Budget::new(parts.settings.replay_rate, now),
            hold_until: None,
            descriptions: Descriptions::new(left.gone, now),
            pumping: false,
            losses,
            gaps: left.gaps,
            disk,
            age: Age::new(parts.settings.max_age, now),
            next_expiry: now + EXPIRE,
            leaving: None,
            parts,
        }
    }

    /// Tells the current router what is wanted; its answer is what is known.
    fn subscribe(&mut self, ctx: &mut Context<Self>) {
        let Some(router) = self.parts.router.get() else { return };
        let topics = Topics {
            device_data: true,
            device_status: false,
            events: true,
            alarms: true,
            descriptions: true,
        };
        let filter = Filter { topics, news_only: true, ..Filter::default() };
        self.asked_at = Instant::now();
        self.missed = false;
        self.descriptions.asked();
        self.heard = Some(HashSet::new());
        let known =
            router.subscribe.send(Subscribe { id: self.subscription, to: ctx.address().recipient(), filter });
        self.router = Some(router);
        ctx.spawn(known.into_actor(self).map(|known, actor, ctx| {
            for news in known.unwrap_or_default() {
                actor.take_known(news);
            }
            actor.descriptions.answered();
            actor.heard = None;
            actor.pump(ctx);
        }));
    }

    /// Takes what was known when the router was asked, but for what it has said since.
    fn take_known(&mut self, news: News) {
        let is_news = match &news {
            News::Described(tags) => self.descriptions.is_news(tags),
            News::Alarm(alarm) => self.heard.as_ref().is_none_or(|heard| !heard.contains(&alarm.alarm_id)),
            _ => true,
        };
        if is_news {
            self.take(news);
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Scan(batch) => {
                let mut encoded = std::mem::take(&mut self.encoded);
                self.encoder.scan(&batch, &mut encoded);
                self.expect(batch.device.device_id(), batch.seq);
                encoded.drain(..).for_each(|message| self.accept(message));
                self.encoded = encoded;
            }
            News::Event(event) => {
                let message = self.encoder.event(&event);
                if let Some(message) = message {
                    self.accept(message);
                }
            }
            News::Alarm(alarm) => {
                let message = self.encoder.alarm(&alarm);
                if let Some(message) = message {
                    self.accept(message);
                }
            }
            News::Described(tags) => self.descriptions.describe(tags, Instant::now()),
            News::Forgotten(id) => {
                self.gaps.forget(&id);
                let clearing = self.encoder.forget(&id);
                self.descriptions.forget(&id, clearing, Instant::now());
            }
            News::Missed(count) => {
                self.gaps.missed(count);
                let dropped = Dropped { messages: count, ..Default::default() };
                let reason = "this broker's thread was too busy to take them (limits.broker_mailbox)";
                self.losses.count(dropped, reason, Instant::now());
            }
            // Each scan goes out once; a status is told as an event too.
            News::LastKnown(_) | News::Status(_) => {}
        }
    }

    /// Takes account of scans before this one that never came, if they would have been sent.
    fn expect(&mut self, device: &Arc<str>, seq: u64) {
        let Some(missing) = self.gaps.scan(device, seq) else { return };
        if self.encoder.publishes(device) {
            let reason = "they were read while the spool or the router was rebuilt, or had no time";
            self.losses.count(missing, reason, Instant::now());
        }
    }

    /// A message is the spool's from here on: in memory, or on its way to the disk first.
    fn accept(&mut self, message: Outgoing) {
        let message = Arc::new(message);
        let first = is_kept(&message) && self.parts.settings.modes.of(message.class) == Mode::Always;
        if first && !self.passes_disk(Instant::now()) {
            let came = self.outbox.number();
            self.disk.waits(Waiting::first(came, message));
        } else {
            self.outbox.push(message);
        }
    }

    fn look_after(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let is_gone = self.router.as_ref().is_none_or(|router| !router.subscribe.connected());
        if is_gone || (self.missed && now.duration_since(self.asked_at) >= ASK) {
            self.subscribe(ctx);
        }
        self.flow.look(!self.outbox.is_idle(), now);
        self.losses.look_after(now);
        self.age.look(Timestamp::now(), now);
        if now >= self.next_expiry {
            self.next_expiry = now + EXPIRE;
            self.expire(now, ctx);
        }
        self.release(ctx);
        self.bound_memory(now);
        self.pump(ctx);
        self.show();
        self.finish(now, ctx);
    }

    fn diagnose(&mut self, ctx: &mut Context<Self>) {
        let Some((_, diagnose)) = &self.parts.diagnose else { return };
        if self.carrier.is_none() {
            return;
        }
        ctx.spawn(diagnose().into_actor(self).map(|figures, actor, ctx| {
            for (device, stats) in figures {
                let message = actor.encoder.diagnostics(&device, "stats", &stats);
                if let Some(message) = message {
                    actor.outbox.push(Arc::new(message));
                }
            }
            actor.pump(ctx);
        }));
    }

    /// Nobody carries any more.
    pub(super) fn lose_carrier(&mut self) {
        self.carrier = None;
        if let Some(ticket) = self.descriptions.recall() {
            self.outbox.withdraw(ticket);
        }
        if self.outbox.recall() {
            self.disk.rewind();
        }
    }

    pub(super) fn tell_set_aside(&mut self, set_aside: &[SetAside]) {
        for SetAside { file, reason, lost } in set_aside {
            let message = format!(
                "a file of the spool for {} is damaged ({reason}) and is kept as {}; what can't be read isn't sent",
                self.parts.session,
                file.display()
            );
            let data = serde_json::json!({
                "session": self.parts.session, "file": file, "reason": reason, "messages": lost.messages,
                "values": lost.values,
            });
            let event = Event::new("", "spool_damaged", Severity::Error, message).with(data);
            self.parts.events.record(event);
            self.losses.count(lost.clone(), "a file of the spool is damaged", Instant::now());
        }
    }

    /// At the end: what is out gets a moment, then all that is left goes to disk.
    pub(super) fn finish(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let Some(deadline) = self.leaving else { return };
        let nothing_moves = self.carrier.is_none() || (self.outbox.is_idle() && !self.disk.is_busy());
        if nothing_moves || now >= deadline {
            self.put_away(ctx);
        }
    }
}

impl Actor for Spool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK, Self::look_after);
        if let Some((interval, _)) = self.parts.diagnose {
            ctx.run_interval(interval, Self::diagnose);
        }
    }
}

impl Drop for Spool {
    /// What was in memory, and what is known of losses, goes to the next incarnation.
    fn drop(&mut self) {
        let messages = self.take_left();
        *self.parts.legacy.lock().unwrap_or_else(PoisonError::into_inner) = Legacy {
            messages,
            gaps: std::mem::take(&mut self.gaps),
            gone: self.descriptions.take_gone(),
            losses: Some(self.losses.clone()),
            disk_error: self.disk.error.take(),
        };
        if let Some(router) = self.router.take() {
            router.unsubscribe.do_send(crate::router::Unsubscribe(self.subscription));
        }
    }
}

impl Handler<News> for Spool {
    type Result = ();

    fn handle(&mut self, news: News, ctx: &mut Self::Context) {
        self.missed |= matches!(news, News::Missed(_));
        if let (Some(heard), News::Alarm(alarm)) = (&mut self.heard, &news) {
            heard.insert(alarm.alarm_id.clone());
        }
        self.take(news);
        self.bound_memory(Instant::now());
        self.pump(ctx);
    }
}

impl Handler<Attach> for Spool {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        if self.carrier.is_some() {
            self.lose_carrier();
        }
        let bytes = usize::try_from(self.parts.settings.max_in_flight.0).unwrap_or(usize::MAX);
        let window = Window {
            messages: attach.window,
            bytes,
            replay_messages: attach.window.div_ceil(2),
            replay_bytes: bytes / 4,
        };
        self.carrier = Some(Carrier { incarnation: attach.incarnation, to: attach.to, window });
        self.hold_until = None;
        self.descriptions.attached(Instant::now());
        self.pump(ctx);
    }
}

impl Handler<Detach> for Spool {
    type Result = ();

    fn handle(&mut self, detach: Detach, _: &mut Self::Context) {
        if self.carrier.as_ref().is_some_and(|carrier| carrier.incarnation == detach.incarnation) {
            self.lose_carrier();
        }
    }
}

impl Supervised for Spool {
    fn observe(&self) -> serde_json::Value {
        serde_json::to_value(self.report(Ok(Pending::default()))).unwrap_or_default()
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        if self.leaving.is_none() {
            self.leaving = Some(Instant::now() + FAREWELL);
            let mut held_back = Vec::new();
            self.encoder.flush(&mut held_back);
            for message in held_back {
                self.accept(message);
            }
            self.pump(ctx);
        }
        self.finish(Instant::now(), ctx);
    }
}

supervised!(Spool);
