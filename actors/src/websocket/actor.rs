//! The client's actor: takes requests, gathers news, and writes at the client's pace.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, StreamHandler, WrapFuture};
use actix_ws::{AggregatedMessage, Closed, ProtocolError, Session};
use serde_json::json;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};

use super::{
    backlog::{Backlog, Update},
    frames::{self, Frame},
    permit::{Allowed, Permit},
    request::{self, Request, Subscription},
};
use crate::{
    gateway::Gateway,
    metrics::Metrics,
    router::{News, RouterPorts, Subscribe, SubscriberId, Unsubscribe, next_subscriber_id},
    supervised,
    supervision::{Child, Exit, MailboxStats, Supervised},
};

/// A request is a few names; nobody needs more.
const MAX_REQUEST: usize = 256 * 1024;
/// How often a client is asked whether it lives.
const PING: Duration = Duration::from_secs(15);
/// A client of which nothing was heard for so long is given up.
const SILENCE: Duration = Duration::from_mins(1);
/// How often it is asked whether a client may stay.
const LOOK: Duration = Duration::from_millis(250);
/// The close code of a client that may not stay.
const UNAUTHENTICATED: u16 = 4003;
/// Most tag updates in one frame of a subscription with `batch`.
const MAX_BATCH: usize = 1000;

/// Runs a client's actor on the current arbiter until the client goes. `place` is given back then.
pub fn serve(
    gateway: Gateway,
    session: Session,
    stream: actix_ws::MessageStream,
    place: OwnedSemaphorePermit,
    permit: Permit,
) {
    let id = next_subscriber_id();
    let mailbox = MailboxStats::new(gateway.settings().limits.websocket_mailbox);
    let capacity = mailbox.capacity();
    actix_rt::spawn(async move {
        let (host, closing) = (gateway.clone(), session.clone());
        let build = move |exit: Exit| {
            Child::new(capacity, |ctx| {
                let stream = stream.max_frame_size(MAX_REQUEST).aggregate_continuations();
                ctx.add_stream(stream.max_continuation_size(MAX_REQUEST));
                Client::new(id, gateway, session, exit, place, permit)
            })
        };
        if let Err(error) = host.adopt(id.to_string(), mailbox, build).await {
            tracing::warn!(%error, "a client of the live feed was turned away");
            let _ = closing.close(None).await;
        }
    });
}

struct Client {
    id: SubscriberId,
    gateway: Gateway,
    session: Session,
    exit: Exit,
    subscription: Option<Subscription>,
    /// The router that has it; another one has to be told.
    router: Option<RouterPorts>,
    outbox: Rc<Outbox>,
    last_heard: Instant,
    permit: Permit,
    leaving: bool,
    /// What it could hear when it came; anything else ends it.
    allowed: Option<Allowed>,
    _place: OwnedSemaphorePermit,
}

/// What the writer shares with the actor.
struct Outbox {
    backlog: RefCell<Backlog>,
    subscription: RefCell<Subscription>,
    /// Answers to requests, ahead of everything else.
    replies: RefCell<Vec<String>>,
    /// What the newest unanswered ping said. One answer will do for all before it (RFC 6455, 5.5.3).
    pong: RefCell<Option<Vec<u8>>>,
    /// With a rate: when the next updates may go.
    not_before: Cell<Instant>,
    arrived: Notify,
}

impl Client {
    fn new(
        id: SubscriberId,
        gateway: Gateway,
        session: Session,
        exit: Exit,
        place: OwnedSemaphorePermit,
        permit: Permit,
    ) -> Self {
        let backlog = Backlog::new(gateway.settings().limits.websocket_backlog);
        gateway.metrics().websocket_clients.inc();
        let outbox = Outbox {
            backlog: RefCell::new(backlog),
            subscription: RefCell::default(),
            replies: RefCell::default(),
            pong: RefCell::default(),
            not_before: Cell::new(Instant::now()),
            arrived: Notify::new(),
        };
        Self {
            id,
            gateway,
            session,
            exit,
            subscription: None,
            router: None,
            outbox: Rc::new(outbox),
            last_heard: Instant::now(),
            allowed: permit.now(),
            permit,
            leaving: false,
            _place: place,
        }
    }

    fn reply(&self, frame: &Frame<'_>) {
        let mut replies = self.outbox.replies.borrow_mut();
        // A client that asks and asks and doesn't read has no claim to answers without end.
        if replies.len() < 100 {
            replies.push(frame.text());
            self.outbox.arrived.notify_one();
        }
    }

    fn on_request(&mut self, text: &str, ctx: &mut Context<Self>) {
        let outcome = request::parse(text).and_then(|request| match request {
            Request::Subscribe { topics, devices, tags, max_rate_hz, batch } => {
                let wanted = request::subscription(&topics, devices, tags, max_rate_hz, batch)?;
                let allowed = self.allowed.ok_or_else(|| "the permission has ended".to_owned())?;
                if let Some(topic) = allowed.refuses(wanted.filter.topics) {
                    return Err(format!("the topic {topic} needs a permission that you don't have"));
                }
                self.outbox.backlog.borrow_mut().clear_updates();
                self.outbox.subscription.replace(wanted.clone());
                self.outbox.not_before.set(Instant::now());
                self.subscription = Some(wanted);
                self.subscribe(ctx);
                Ok(())
            }
            Request::Unsubscribe => {
                self.unsubscribe();
                self.outbox.backlog.borrow_mut().clear_updates();
                Ok(())
            }
            Request::Ping => {
                self.reply(&Frame::Pong);
                Ok(())
            }
        });
        if let Err(message) = outcome {
            self.reply(&Frame::Error { message: &message });
        }
    }

    /// Tells the current router what is wanted; its answer is what is known.
    fn subscribe(&mut self, ctx: &mut Context<Self>) {
        let (Some(subscription), Some(router)) = (&self.subscription, self.gateway.router()) else { return };
        let filter = subscription.filter.clone();
        let known = router.subscribe.send(Subscribe { id: self.id, to: ctx.address().recipient(), filter });
        self.router = Some(router);
        // Nothing else is handled before the first values are lined up: they come first.
        ctx.wait(known.into_actor(self).map(|known, actor, _| {
            for news in known.unwrap_or_default() {
                actor.take(news);
            }
        }));
    }

    fn unsubscribe(&mut self) {
        self.subscription = None;
        if let Some(router) = self.router.take() {
            router.unsubscribe.do_send(Unsubscribe(self.id));
        }
    }

    fn take(&self, news: News) {
        let Some(subscription) = &self.subscription else { return };
        let filter = &subscription.filter;
        let mut backlog = self.outbox.backlog.borrow_mut();
        let passes = |update: &Update| update.tag().is_some_and(|tag| filter.passes_tag(tag.id));
        match news {
            News::Scan(batch) => {
                let updates = (0..batch.readings.len()).map(|index| Update::Scan(Arc::clone(&batch), index));
                updates.filter(passes).for_each(|update| backlog.push(update));
            }
            News::LastKnown(tags) => {
                let updates = (0..tags.len()).map(|index| Update::Last(Arc::clone(&tags), index));
                updates.filter(passes).for_each(|update| backlog.push(update));
            }
            News::Missed(count) => backlog.count_skipped(count),
            other => backlog.push_news(other),
        }
        drop(backlog);
        self.outbox.arrived.notify_one();
    }

    /// Often: may the client still hear what it could when it came?
    fn check_permit(&mut self, ctx: &mut Context<Self>) {
        if !self.leaving && (self.allowed.is_none() || self.permit.now() != self.allowed) {
            self.unsubscribe();
            self.exit.because("its permission has ended");
            let code = actix_ws::CloseCode::Other(UNAUTHENTICATED);
            let description = Some("not authenticated any more; log in again".to_owned());
            self.leave_because(Some(actix_ws::CloseReason { code, description }), ctx);
        }
    }

    /// Regularly: is the client there, and does the router still know it?
    fn look_after(&mut self, ctx: &mut Context<Self>) {
        if self.last_heard.elapsed() > SILENCE {
            self.exit.because("nothing was heard of the client");
            ctx.stop();
            return;
        }
        // There may have been no router when the client subscribed.
        let unknown = self.router.as_ref().is_none_or(|router| !router.subscribe.connected());
        if self.subscription.is_some() && unknown {
            self.subscribe(ctx);
        }
    }
}

impl Actor for Client {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_secs(1), Self::look_after);
        ctx.run_interval(LOOK, Self::check_permit);
        let writer = write_all(self.session.clone(), Rc::clone(&self.outbox), self.gateway.clone());
        ctx.spawn(writer.into_actor(self).map(|_, _, ctx| ctx.stop()));
        let mut session = self.session.clone();
        ctx.spawn(
            async move {
                loop {
                    tokio::time::sleep(PING).await;
                    if session.ping(b"").await.is_err() {
                        return;
                    }
                }
            }
            .into_actor(self),
        );
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.unsubscribe();
        self.gateway.metrics().websocket_clients.dec();
    }
}

impl StreamHandler<Result<AggregatedMessage, ProtocolError>> for Client {
    fn handle(&mut self, message: Result<AggregatedMessage, ProtocolError>, ctx: &mut Self::Context) {
        self.last_heard = Instant::now();
        match message {
            Ok(AggregatedMessage::Text(text)) => self.on_request(&text, ctx),
            Ok(AggregatedMessage::Binary(_)) => {
                self.reply(&Frame::Error { message: "requests are JSON in text frames" });
            }
            Ok(AggregatedMessage::Ping(bytes)) => {
                self.outbox.pong.replace(Some(bytes.to_vec()));
                self.outbox.arrived.notify_one();
            }
            Ok(AggregatedMessage::Pong(_)) => {}
            Ok(AggregatedMessage::Close(_)) | Err(_) => self.leave(ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Client {
    /// Says good-bye, with a limit: a client that doesn't read must not keep its actor.
    fn leave(&mut self, ctx: &mut Context<Self>) {
        self.leave_because(None, ctx);
    }

    fn leave_because(&mut self, reason: Option<actix_ws::CloseReason>, ctx: &mut Context<Self>) {
        self.leaving = true;
        let session = self.session.clone();
        let close = tokio::time::timeout(Duration::from_secs(1), session.close(reason));
        ctx.spawn(close.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

impl Handler<News> for Client {
    type Result = ();

    fn handle(&mut self, news: News, ctx: &mut Self::Context) {
        let missed = matches!(news, News::Missed(_));
        self.take(news);
        if missed {
            self.subscribe(ctx);
        }
    }
}

impl Supervised for Client {
    fn observe(&self) -> serde_json::Value {
        json!({
            "subscribed": self.subscription.is_some(),
            "waiting": self.outbox.backlog.borrow().len(),
        })
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.leave(ctx);
    }
}

supervised!(Client);

/// Writes what waits, at the pace at which the client reads, and updates no faster than it asked for.
async fn write_all(mut session: Session, outbox: Rc<Outbox>, gateway: Gateway) -> Result<(), Closed> {
    let metrics = gateway.metrics();
    loop {
        write_urgent(&mut session, &outbox).await?;
        if outbox.backlog.borrow().next_update().is_none() {
            outbox.arrived.notified().await;
            continue;
        }
        let interval = outbox.subscription.borrow().interval;
        if let Some(interval) = interval {
            let not_before = outbox.not_before.get();
            if Instant::now() < not_before {
                // Whatever ends the wait, the next round looks again: a reply or an alarm mustn't wait for it.
                let _ = tokio::time::timeout_at(not_before, outbox.arrived.notified()).await;
                continue;
            }
            outbox.not_before.set(Instant::now() + interval);
            // The client asked for fewer updates: what is left out here, it doesn't miss.
            outbox.backlog.borrow_mut().thin_out();
        }
        write_updates(&mut session, &outbox, metrics, interval.is_some()).await?;
    }
}

/// Writes what no rate holds back: the answer to a ping, replies, and news that are no updates.
async fn write_urgent(session: &mut Session, outbox: &Outbox) -> Result<(), Closed> {
    loop {
        let pong = outbox.pong.take();
        if let Some(pong) = pong {
            session.pong(&pong).await?;
        }
        let replies = outbox.replies.take();
        for reply in replies {
            session.text(reply).await?;
        }
        let Some(news) = outbox.backlog.borrow_mut().take_news() else { return Ok(()) };
        if let Some(text) = frames::news(&news) {
            session.text(text).await?;
        }
    }
}

/// Writes a round of updates: all that wait where the client set a rate, otherwise one frame, so that what
/// arrives meanwhile can still take the place of what waits.
async fn write_updates(
    session: &mut Session,
    outbox: &Outbox,
    metrics: &Metrics,
    whole_round: bool,
) -> Result<(), Closed> {
    let mut left = if whole_round { outbox.backlog.borrow().len() } else { 1 };
    while left > 0 {
        // A round may be long, and the client slow.
        write_urgent(session, outbox).await?;
        let skipped = outbox.backlog.borrow_mut().take_skipped();
        if skipped > 0 {
            metrics.websocket_skipped.inc_by(skipped);
            session.text(Frame::Lagged { skipped }.text()).await?;
        }
        let batch = outbox.subscription.borrow().batch;
        let Some((text, count)) = next_frame(&mut outbox.backlog.borrow_mut(), batch) else { return Ok(()) };
        session.text(text).await?;
        left = left.saturating_sub(count);
    }
    Ok(())
}

/// The next frame and how many updates it holds: one, or with `batch` those of one device that stand
/// together.
fn next_frame(backlog: &mut Backlog, batch: bool) -> Option<(String, usize)> {
    let first = backlog.take_update()?;
    let mut updates = vec![first];
    while batch && updates.len() < MAX_BATCH {
        let device = updates.first().and_then(Update::tag).map(|tag| tag.device_id.to_owned());
        let next = backlog.next_update().and_then(Update::tag).map(|tag| tag.device_id.to_owned());
        if next.is_none() || next != device {
            break;
        }
        updates.extend(backlog.take_update());
    }
    let tags: Vec<_> = updates.iter().filter_map(Update::tag).collect();
    let device_id = tags.first()?.device_id;
    let text = match (batch, tags.as_slice()) {
        (false, [tag]) => Frame::TagUpdate { device_id, tag }.text(),
        _ => Frame::TagUpdates { device_id, tags: &tags }.text(),
    };
    Some((text, updates.len()))
}
