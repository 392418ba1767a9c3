//! The NATS session against real servers: nats-server 2.9 and a new one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod cluster;
mod core;
mod ends;
mod jetstream;
mod login;
#[path = "../../../tests/harness/certificates.rs"]
#[expect(dead_code, reason = "shared with tests that need other parts of it")]
mod pki;
mod requests;
mod server;
mod spool;
mod tls;

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bifrost_actors::{
    broker::{Answering, CommandRoutes, Identity, Kind, Outgoing, Reply, Request},
    gateway::LimitSettings,
    nats::{NatsSettings, Parts, spec},
    router::ListEvents,
    supervision::{ChildState, NodeSnapshot, OrderKind, Placement, SupervisionSettings},
    testing::{Plant, Universe},
};
use bifrost_model::{Event, TagClass, Timestamp};
use bytes::Bytes;
use nats::{Client, Subscriber};
use serde_json::Value;
use spool::Spool;
use tokio::time::Instant;

const PATH: &str = "session";
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test in real time.
fn in_universe<F: Future<Output = ()>>(test: impl FnOnce(Universe) -> F) {
    Universe::on_threads(0, SupervisionSettings::default(), test);
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn settings(yaml_like: &Value) -> NatsSettings {
    serde_json::from_value(yaml_like.clone()).unwrap()
}

/// A gateway's session with its surroundings.
struct Gateway {
    plant: Plant,
    spool: Spool,
    requests: Arc<Mutex<Vec<Request>>>,
    _folder: tempfile::TempDir,
}

struct Routes;

impl CommandRoutes for Routes {
    fn subscriptions(&self) -> Vec<String> {
        vec!["bifrost.commands.plant-a.*.write".to_owned(), "bifrost.commands.plant-a.*.read".to_owned()]
    }

    fn command(&self, subject: &str) -> Option<(Option<String>, String)> {
        let tokens: Vec<_> = subject.split('.').collect();
        let [_, _, _, device, verb] = tokens.as_slice() else { return None };
        Some((Some((*device).to_owned()), (*verb).to_owned()))
    }
}

fn answer_with_ok(requests: &Arc<Mutex<Vec<Request>>>) -> Answering {
    let requests = Arc::clone(requests);
    Arc::new(move |request| {
        requests.lock().unwrap().push(request);
        Box::pin(async { Reply { payload: Bytes::from_static(br#"{"status":"ok"}"#), error: None } })
    })
}

fn identity() -> Identity {
    Identity { gateway_id: "gw-1".into(), site_id: "plant-a".into(), hostname: "host".into() }
}

impl Gateway {
    /// A session whose requests are all well.
    async fn start(universe: &Universe, settings: NatsSettings) -> Self {
        let requests = Arc::default();
        let answering = answer_with_ok(&requests);
        Self::start_with(universe, settings, answering, requests).await
    }

    async fn start_with(
        universe: &Universe,
        settings: NatsSettings,
        answering: Answering,
        requests: Arc<Mutex<Vec<Request>>>,
    ) -> Self {
        let spool = Spool::new();
        spool.start();
        let folder = tempfile::tempdir().unwrap();
        let plant = Plant::start(universe, folder.path(), LimitSettings::default()).await;
        let parts = Parts {
            name: "nats".into(),
            settings: Arc::new(settings),
            identity: identity(),
            spool: spool.slot.clone(),
            answering,
            routes: Arc::new(Routes),
            status: Arc::new(|online| {
                let payload = format!(r#"{{"online":{online}}}"#);
                message("bifrost.events.plant-a.gateway.status", Kind::Event, 0, &payload)
            }),
            stream_subjects: ["telemetry.*.*", "telemetry.*.*.*", "events.*.*", "events.*.*.*", "alarms.*.*"]
                .map(|rest| format!("bifrost.{rest}"))
                .to_vec(),
            events: plant.events().clone(),
        };
        universe.add("/", spec(parts, Placement::Home)).await.unwrap();
        Self { plant, spool, requests, _folder: folder }
    }

    async fn node(&self) -> NodeSnapshot {
        self.plant.universe.node_with_detail(PATH).await.unwrap()
    }

    async fn detail(&self) -> Value {
        self.node().await.detail.unwrap_or_default()
    }

    /// Waits until the session ended with a reason that says all this; answers the reason.
    async fn until_error(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let node = self.node().await;
            let error = node.last_error.clone().unwrap_or_default();
            if parts.iter().all(|part| error.contains(part)) {
                return error;
            }
            assert!(Instant::now() < deadline, "no end because of {parts:?}: {node:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_up(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_up().await {
            assert!(Instant::now() < deadline, "doesn't come up: {:?}", self.node().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn is_up(&self) -> bool {
        let node = self.node().await;
        node.state == ChildState::Running && node.detail.is_some_and(|detail| detail["state"] == "connected")
    }

    async fn until_settled(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.spool.settled() < count {
            let settled = self.spool.settled();
            assert!(Instant::now() < deadline, "{settled} of {count} are settled: {:#?}", self.node().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn order(&self, kind: OrderKind) {
        assert_eq!(self.plant.universe.order(PATH, kind).await, Ok(()));
    }

    async fn events_of(&self, event_type: &str) -> Vec<Arc<Event>> {
        let list = ListEvents { before: None, limit: 1000, device_id: None };
        let all = self.plant.router().list_events.send(list).await.unwrap();
        all.into_iter().map(|event| event.item).filter(|event| event.event_type == event_type).collect()
    }
}

fn message(topic: &str, kind: Kind, seq: u64, payload: &str) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        payload: Bytes::from(payload.to_owned()),
        kind,
        class: TagClass::Telemetry,
        retain: false,
        device: "press-1".into(),
        seq,
        values: 1,
        part: "".into(),
        made: Timestamp::now(),
        historical: false,
    }
}

/// Scans `from` to `to` of one device.
fn scans(from: u64, to: u64) -> Vec<Outgoing> {
    let topic = "bifrost.telemetry.plant-a.press-1";
    (from..=to).map(|seq| message(topic, Kind::Telemetry, seq, &format!(r#"{{"seq":{seq}}}"#))).collect()
}

async fn next_payload(subscriber: &mut Subscriber) -> String {
    let next = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(subscriber)).await;
    String::from_utf8(next.unwrap().unwrap().payload.to_vec()).unwrap()
}

/// Subscribes, and waits until the server has it.
async fn subscribe(client: &Client, subject: &str) -> Subscriber {
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    round_trip(client).await;
    subscriber
}

/// Waits until the server has seen all that the client sent.
async fn round_trip(client: &Client) {
    let inbox = client.new_inbox();
    let mut subscriber = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, Bytes::new()).await.unwrap();
    next_payload(&mut subscriber).await;
}
