//! The open connection at work: publishes what it is given, and settles what comes back.
//!
//! All acknowledgements arrive on one inbox, whose last token names the message: no task, channel or
//! subscription per message. Knows nothing of actors; `actor` tells it what arrives.

use std::{
    cell::{Cell, RefCell},
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use nats::{
    Client, HeaderMap, Message, PublishError, PublishErrorKind, Subject, Subscriber, header::NATS_MESSAGE_ID,
};
use tokio::{sync::Notify, time::Instant};

use super::{
    acknowledgement::{self, Answer},
    connect::Events,
    counts::Counts,
    error::NatsError,
    flight::{Flight, Out, Token},
    stream::Wanted,
};
use crate::broker::{Kind, Outcome, Outgoing, Settled, SpoolPorts, Ticket};

/// What a busy server hands back isn't sent again before.
const PAUSE: Duration = Duration::from_millis(500);
/// Most subjects that are remembered as denied; of others each message is tried.
const MAX_DENIED: usize = 4096;
/// The client library passes on at most 128 errors that arrive at once: near that, some may be missing, and
/// nothing that is out counts as delivered.
const MANY_DENIALS: usize = 100;
/// What the protocol adds to a payload beside the header's values.
const HEADERS: usize = 1024;

/// Whom messages come from.
#[derive(Clone)]
pub(super) struct Attached {
    pub(super) ports: SpoolPorts,
    pub(super) incarnation: u64,
}

/// The connection and all that is on its way.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) server: String,
    gateway_id: Arc<str>,
    /// With `JetStream`.
    pub(super) stream: Option<Wanted>,
    window: usize,
    ack_timeout: Duration,
    /// Where acknowledgements come to, without the last token.
    pub(super) inbox: String,
    pub(super) attached: RefCell<Option<Attached>>,
    waiting: RefCell<VecDeque<Out>>,
    arrived: Notify,
    flight: RefCell<Flight>,
    changed: Notify,
    /// Nothing has come back since then, though something is out.
    silent_since: Cell<Option<Instant>>,
    /// What goes back to the spool, and when.
    later: RefCell<VecDeque<(Instant, Ticket, String)>>,
    /// What no stream took.
    orphans: RefCell<Vec<Out>>,
    denied: RefCell<HashSet<String>>,
    recent_denials: Cell<usize>,
    pub(super) counts: Counts,
}

/// What a session is made of.
pub(super) struct Setup {
    pub(super) client: Client,
    pub(super) server: String,
    pub(super) gateway_id: Arc<str>,
    pub(super) stream: Option<Wanted>,
    pub(super) window: usize,
    pub(super) ack_timeout: Duration,
    pub(super) inbox: String,
}

/// Subscribes to an inbox of one's own. Without `JetStream` one has to be able to publish there too.
pub(super) async fn open_inbox(
    client: &Client,
    events: &mut Events,
    with_barriers: bool,
    limit: Duration,
) -> Result<(String, Subscriber), NatsError> {
    let inbox = format!("{}.", client.new_inbox());
    let lost =
        |problem: String| NatsError::Lost { server: events.server().to_owned(), problem: Some(problem) };
    let subscribed = client.subscribe(format!("{inbox}*")).await;
    let mut subscriber = subscribed.map_err(|error| lost(error.to_string()))?;
    if with_barriers {
        let probe = client.publish(format!("{inbox}probe"), bytes::Bytes::new()).await;
        probe.map_err(|error| lost(error.to_string()))?;
        let silent = NatsError::TimedOut { server: events.server().to_owned(), limit };
        tokio::select! {
            _ = futures_util::StreamExt::next(&mut subscriber) => {}
            trouble = events.trouble(|subject| subject.starts_with(&inbox)) => return Err(trouble),
            () = tokio::time::sleep(limit) => return Err(silent),
        }
    }
    Ok((inbox, subscriber))
}

impl Session {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            client: setup.client,
            server: setup.server,
            gateway_id: setup.gateway_id,
            stream: setup.stream,
            window: setup.window,
            ack_timeout: setup.ack_timeout,
            inbox: setup.inbox,
            attached: RefCell::default(),
            waiting: RefCell::default(),
            arrived: Notify::new(),
            flight: RefCell::default(),
            changed: Notify::new(),
            silent_since: Cell::default(),
            later: RefCell::default(),
            orphans: RefCell::default(),
            denied: RefCell::default(),
            recent_denials: Cell::default(),
            counts: Counts::default(),
        }
    }

    /// Largest payload that the server takes beside headers.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload().saturating_sub(HEADERS)
    }

    /// How many are handed over and not settled.
    pub(super) fn in_flight(&self) -> usize {
        let held = self.later.borrow().len() + self.orphans.borrow().len();
        self.flight.borrow().len() + self.waiting.borrow().len() + held
    }

    /// Takes what is to be sent.
    pub(super) fn take(&self, batch: Vec<(Ticket, Arc<Outgoing>)>) {
        let batch = batch.into_iter().map(|(ticket, message)| Out { ticket, message });
        self.waiting.borrow_mut().extend(batch);
        self.arrived.notify_one();
    }

    /// What isn't sent yet won't be.
    pub(super) fn drop_waiting(&self) {
        self.waiting.borrow_mut().clear();
        self.later.borrow_mut().clear();
        self.orphans.borrow_mut().clear();
    }

    /// Whoever handed messages over is no more, or another one.
    pub(super) fn forget(&self) {
        self.attached.replace(None);
        self.drop_waiting();
        self.flight.borrow_mut().clear();
        self.silent_since.set(None);
    }

    /// Publishes until the connection is lost.
    pub(super) async fn publish_all(&self) -> PublishError {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            let outcome = match next {
                Some(out) => self.publish(out).await,
                None if self.flight.borrow().since_barrier() > 0 => self.raise_barrier().await.map(|_| ()),
                None => {
                    self.arrived.notified().await;
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    /// Publishes one; an error is that the connection is lost.
    async fn publish(&self, out: Out) -> Result<(), PublishError> {
        if self.is_denied(&out.message.topic) {
            self.settle([(out, Outcome::Refused(not_permitted()))]);
            return Ok(());
        }
        match (&self.stream, out.message.kind) {
            (Some(_), Kind::Telemetry | Kind::Event | Kind::Alarm) => self.publish_to_stream(out).await,
            (Some(_), _) => self.publish_aside(out).await,
            (None, _) => self.publish_before_barrier(out).await,
        }
    }

    async fn publish_to_stream(&self, out: Out) -> Result<(), PublishError> {
        let (message, now) = (Arc::clone(&out.message), Instant::now());
        let token = self.flight.borrow_mut().begin(out, now);
        self.expect_answer(now);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, message.id(&self.gateway_id));
        let (subject, reply) = (Subject::from(&*message.topic), Subject::from(self.reply_to(token)));
        let sent =
            self.client.publish_with_reply_and_headers(subject, reply, headers, message.payload.clone());
        let sent = sent.await;
        self.counts.published.add();
        let Err(error) = sent else { return Ok(()) };
        let Token::Place(number) = token else { return Err(error) };
        let out = self.flight.borrow_mut().end(number);
        out.map_or(Ok(()), |out| self.refuse_unsent(out, error))
    }

    /// Beside the stream nothing is acknowledged, and what goes there comes again by itself.
    async fn publish_aside(&self, out: Out) -> Result<(), PublishError> {
        let outcome = match self.publish_plainly(&out.message).await {
            Ok(()) => Outcome::Delivered,
            Err(error) => return self.refuse_unsent(out, error),
        };
        self.settle([(out, outcome)]);
        Ok(())
    }

    async fn publish_before_barrier(&self, out: Out) -> Result<(), PublishError> {
        let message = Arc::clone(&out.message);
        match self.publish_plainly(&message).await {
            Ok(()) => {
                self.flight.borrow_mut().begin_unacknowledged(out);
                self.expect_answer(Instant::now());
            }
            Err(error) => return self.refuse_unsent(out, error),
        }
        if self.flight.borrow().since_barrier() >= (self.window / 4).max(1) {
            self.raise_barrier().await?;
        }
        Ok(())
    }

    /// Publishes what nobody waits for.
    pub(super) async fn publish_plainly(&self, message: &Outgoing) -> Result<(), PublishError> {
        self.counts.published.add();
        self.client.publish(Subject::from(&*message.topic), message.payload.clone()).await
    }

    /// What the client library doesn't send is refused, unless it can send nothing any more.
    fn refuse_unsent(&self, out: Out, error: PublishError) -> Result<(), PublishError> {
        if error.kind() == PublishErrorKind::Send {
            return Err(error);
        }
        self.heard(Instant::now());
        let size = out.message.payload.len();
        let reason =
            format!("{error} ({size} bytes to {}, max_payload {})", out.message.topic, self.max_payload());
        self.settle([(out, Outcome::Refused(reason))]);
        Ok(())
    }

    async fn raise_barrier(&self) -> Result<Token, PublishError> {
        let token = self.flight.borrow_mut().raise_barrier();
        self.client.publish(self.reply_to(token), bytes::Bytes::new()).await.map(|()| token)
    }

    fn reply_to(&self, token: Token) -> String {
        format!("{}{token}", self.inbox)
    }

    /// Looks at what came back; answers the last barrier among it.
    pub(super) fn on_inbox(&self, messages: &[Message]) -> Option<u64> {
        let (mut settled, mut barrier, now) = (Vec::with_capacity(messages.len()), None, Instant::now());
        for message in messages {
            match message.subject.strip_prefix(self.inbox.as_str()).and_then(Token::parse) {
                Some(Token::Place(number)) => settled.extend(self.on_answer(number, message, now)),
                Some(Token::Barrier(number)) => barrier = Some(number),
                None => {}
            }
        }
        self.settle(settled);
        self.heard(now);
        barrier
    }

    /// Something is out.
    fn expect_answer(&self, now: Instant) {
        if self.silent_since.get().is_none() {
            self.silent_since.set(Some(now));
        }
    }

    /// Something came back.
    fn heard(&self, now: Instant) {
        self.silent_since.set((self.flight.borrow().len() > 0).then_some(now));
    }

    fn on_answer(&self, number: u64, message: &Message, now: Instant) -> Option<(Out, Outcome)> {
        let answer = acknowledgement::read(message);
        if answer == Answer::Foreign {
            return None;
        }
        let out = self.flight.borrow_mut().end(number)?;
        match answer {
            Answer::Settled(outcome) => return Some((out, outcome)),
            Answer::Later(reason) => self.hold(&out, reason, now),
            Answer::NoStream => self.orphans.borrow_mut().push(out),
            Answer::Foreign => {}
        }
        None
    }

    /// The server has processed all that was sent before a barrier; what it denied of that is known by now.
    pub(super) fn pass_barrier(&self, number: u64) {
        let (certain, doubtful) = self.flight.borrow_mut().pass_barrier(number);
        self.settle(certain.into_iter().map(|out| (out, Outcome::Delivered)));
        let now = Instant::now();
        for out in &doubtful {
            self.hold(out, "the server denied many others at the same time".to_owned(), now);
        }
        self.heard(Instant::now());
        self.changed.notify_waiters();
    }

    fn hold(&self, out: &Out, reason: String, now: Instant) {
        self.later.borrow_mut().push_back((now + PAUSE, out.ticket, reason));
    }

    /// What no stream took.
    pub(super) fn take_orphans(&self) -> Vec<Out> {
        std::mem::take(&mut *self.orphans.borrow_mut())
    }

    /// Whether something found no stream.
    pub(super) fn has_orphans(&self) -> bool {
        !self.orphans.borrow().is_empty()
    }

    /// The stream is there, or will be: what it takes is sent again.
    pub(super) fn send_orphans_again(&self, reason: &str) {
        let now = Instant::now();
        for out in self.take_orphans() {
            if self.stream.as_ref().is_some_and(|stream| stream.takes(&out.message.topic)) {
                self.hold(&out, reason.to_owned(), now);
            } else {
                let reason = format!("stream not found: none takes {}", out.message.topic);
                self.settle([(out, Outcome::Refused(reason))]);
            }
        }
    }

    /// The server doesn't permit publishing to a subject; answers whether that is news.
    pub(super) fn deny(&self, subject: &str) -> bool {
        self.recent_denials.set(self.recent_denials.get() + 1);
        if self.recent_denials.get() >= MANY_DENIALS {
            self.recent_denials.set(0);
            self.flight.borrow_mut().doubt();
        }
        self.counts.denied.add();
        let out = self.flight.borrow_mut().take_subject(subject);
        self.settle(out.into_iter().map(|out| (out, Outcome::Refused(not_permitted()))));
        self.heard(Instant::now());
        let mut denied = self.denied.borrow_mut();
        denied.len() < MAX_DENIED && denied.insert(subject.to_owned())
    }

    fn is_denied(&self, subject: &str) -> bool {
        let denied = self.denied.borrow();
        !denied.is_empty() && denied.contains(subject)
    }

    /// Settles what wasn't acknowledged in time, and what has waited long enough. An error is that nothing comes
    /// back any more.
    pub(super) fn on_time(&self, now: Instant) -> Result<(), NatsError> {
        let limit = 3 * self.ack_timeout;
        if self.silent_since.get().is_some_and(|since| now - since > limit) {
            return Err(NatsError::Silent { server: self.server.clone(), limit });
        }
        if let Some(sent_before) = now.checked_sub(self.ack_timeout) {
            let expired = self.flight.borrow_mut().expire(sent_before);
            let reason = || Outcome::Again(format!("not acknowledged within {:?}", self.ack_timeout));
            self.settle(expired.into_iter().map(|out| (out, reason())));
        }
        let mut later = self.later.borrow_mut();
        let due = later.partition_point(|(due, _, _)| *due <= now);
        let due: Vec<_> =
            later.drain(..due).map(|(_, ticket, reason)| (ticket, Outcome::Again(reason))).collect();
        drop(later);
        self.tell(due);
        Ok(())
    }

    fn settle(&self, settled: impl IntoIterator<Item = (Out, Outcome)>) {
        let told = settled.into_iter().map(|(out, outcome)| {
            self.counts.count(&out.message.topic, &outcome);
            (out.ticket, outcome)
        });
        self.tell(told.collect());
    }

    fn tell(&self, outcomes: Vec<(Ticket, Outcome)>) {
        self.changed.notify_waiters();
        let attached = self.attached.borrow();
        let (Some(attached), false) = (attached.as_ref(), outcomes.is_empty()) else { return };
        attached.ports.settled.do_send(Settled { incarnation: attached.incarnation, outcomes });
    }

    /// Says goodbye: waits for what is out, publishes a last message, and sees to it that it arrives.
    pub(super) async fn leave(&self, last: &Outgoing) -> Result<(), PublishError> {
        self.until(|| self.flight.borrow().len() == 0).await;
        self.publish_plainly(last).await?;
        if self.stream.is_some() {
            let _ = self.client.flush().await;
            return Ok(());
        }
        let Token::Barrier(number) = self.raise_barrier().await? else { return Ok(()) };
        self.until(|| self.flight.borrow().has_passed(number)).await;
        Ok(())
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds() {
                return;
            }
            changed.await;
        }
    }
}

fn not_permitted() -> String {
    "the server doesn't permit publishing to this subject; grant it at the server".to_owned()
}
