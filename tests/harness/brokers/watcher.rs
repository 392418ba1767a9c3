//! A NATS client that notes all that it hears.

use std::{
    sync::{Arc, Mutex},
    time::{Instant, SystemTime},
};

use futures_util::StreamExt as _;
use nats::{Client, ConnectOptions, Message};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::nats::{block_on, client, runtime};
use crate::harness::{until, until_true};

/// One message, and when it came.
#[derive(Clone)]
pub(crate) struct Noted {
    pub(crate) message: Message,
    pub(crate) at: Instant,
    /// The same by the clock that messages carry.
    pub(crate) time: SystemTime,
}

impl Noted {
    pub(crate) fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Its JSON; null when it has none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.message.payload).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.message.headers.as_ref()?.get(name).map(nats::HeaderValue::as_str)
    }
}

/// A subscriber that reconnects by itself; what is published while it is away it misses, unless a stream
/// keeps it ([`super::read_stream`]).
pub(crate) struct NatsWatcher {
    client: Client,
    noted: Arc<Mutex<Vec<Noted>>>,
    listening: JoinHandle<()>,
}

impl NatsWatcher {
    /// Hears everything below `bifrost`, at servers that let everybody in.
    #[track_caller]
    pub(crate) fn everything(urls: &[String]) -> Self {
        Self::start(urls, "bifrost.>", ConnectOptions::new())
    }

    /// Subscribes to a subject, and returns when the server knows.
    #[track_caller]
    pub(crate) fn start(urls: &[String], subject: &str, options: ConnectOptions) -> Self {
        let client = client(urls, options.subscription_capacity(1 << 20));
        let noted = Arc::<Mutex<Vec<Noted>>>::default();
        let into = Arc::clone(&noted);
        let mut subscriber = block_on(client.subscribe(subject.to_owned())).expect("a client subscribes");
        block_on(client.flush()).expect("the server hears of it");
        let listening = runtime().spawn(async move {
            while let Some(message) = subscriber.next().await {
                let (at, time) = (Instant::now(), SystemTime::now());
                into.lock().unwrap().push(Noted { message, at, time });
            }
        });
        Self { client, noted, listening }
    }

    /// The client, to publish and to ask with.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What was heard so far.
    pub(crate) fn so_far(&self) -> Vec<Noted> {
        self.noted.lock().unwrap().clone()
    }

    /// How many that pass were heard so far.
    pub(crate) fn count(&self, passes: impl Fn(&Noted) -> bool) -> usize {
        self.noted.lock().unwrap().iter().filter(|noted| passes(noted)).count()
    }

    /// The first message that passes, when it comes.
    #[track_caller]
    pub(crate) fn find(&self, what: &str, passes: impl Fn(&Noted) -> bool) -> Noted {
        until(what, || self.noted.lock().unwrap().iter().find(|noted| passes(noted)).cloned())
    }

    /// Waits until so many passed.
    #[track_caller]
    pub(crate) fn await_messages(&self, count: usize, passes: impl Fn(&Noted) -> bool) {
        until_true("messages by NATS", || self.count(&passes) >= count);
    }
}

impl Drop for NatsWatcher {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
