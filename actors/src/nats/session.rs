//! The open connection at work: publishes what it is given, and settles what comes back.
//!
//! All acknowledgements arrive on one inbox, whose last token names the message: no task, channel or
//! subscription per message. Knows nothing of actors; `actor` tells it what arrives.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    sync::Arc,
    time::Duration,
};

use nats::{Client, Subscriber};
use tokio::{sync::Notify, time::Instant};

use super::{
    connect::Events,
    counts::Counts,
    denials::Denials,
    error::NatsError,
    flight::{Flight, Out},
    stream::Wanted,
};
use crate::broker::{Outgoing, SpoolPorts, Ticket};

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
    pub(super) gateway_id: Arc<str>,
    /// With `JetStream`.
    pub(super) stream: Option<Wanted>,
    pub(super) window: usize,
    pub(super) ack_timeout: Duration,
    /// Where acknowledgements come to, without the last token.
    pub(super) inbox: String,
    pub(super) attached: RefCell<Option<Attached>>,
    pub(super) waiting: RefCell<VecDeque<Out>>,
    pub(super) arrived: Notify,
    pub(super) flight: RefCell<Flight>,
    pub(super) changed: Notify,
    /// Nothing has come back since then, though something is out.
    pub(super) silent_since: Cell<Option<Instant>>,
    /// What goes back to the spool, and when.
    pub(super) later: RefCell<VecDeque<(Instant, Ticket, String)>>,
    /// What no stream took.
    pub(super) orphans: RefCell<Vec<Out>>,
    pub(super) denied: RefCell<Denials>,
    pub(super) recent_denials: Cell<usize>,
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
    let subscribing = client.subscribe(format!("{inbox}*")).await;
    let mut subscriber = subscribing.map_err(|error| lost(error.to_string()))?;
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
        let from = self.attached.borrow().as_ref().map_or(0, |attached| attached.incarnation);
        let batch = batch.into_iter().map(|(ticket, message)| Out { ticket, message, from });
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
}

/// Why a denied message is refused.
pub(super) fn not_permitted() -> String {
    "the server doesn't permit publishing to this subject; grant it at the server".to_owned()
}
