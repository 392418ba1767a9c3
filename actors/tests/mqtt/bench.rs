//! One session under a tree, with a spool in memory, and whoever answers its requests.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bifrost_actors::{
    broker::{Answering, Attach, Outcome, Reply, Request, SpoolPorts},
    gateway::LimitSettings,
    mqtt::MqttSettings,
    supervision::{ChildState, NodeSnapshot, OrderKind, Placement, Slot, SupervisionSettings},
    testing::{FakeSpool, MqttParts, Plant, Universe, Watcher, mqtt_session, until},
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// One session and what is around it.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) universe: Universe,
    pub(crate) spool: FakeSpool,
    pub(crate) watcher: Watcher,
    /// Where the session looks for its spool.
    pub(crate) slot: Slot<SpoolPorts>,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// Where the session is in the tree.
const PATH: &str = "session";

/// Runs a test in real time, with failures tried again soon.
pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Universe) -> F) {
    let mut settings = SupervisionSettings::default();
    settings.broker_session.initial_delay = Duration::from_millis(20);
    settings.broker_session.max_delay = Duration::from_millis(200);
    settings.broker_session.budget = 1000;
    Universe::on_threads(0, settings, test);
}

impl Bench {
    /// A session with these settings whose requests are answered with what they carry.
    pub(crate) async fn start(universe: &Universe, settings: Value) -> Self {
        Self::answering(universe, settings, |request| {
            Box::pin(async move { Reply { payload: request.payload, error: None } })
        })
        .await
    }

    /// A session whose requests are answered so.
    pub(crate) async fn answering(
        universe: &Universe,
        settings: Value,
        answer: impl Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
    ) -> Self {
        let slot = Slot::empty();
        let spool = FakeSpool::start(&slot);
        Self::build(universe, settings, answer, slot, spool).await
    }

    /// A session whose slot is empty.
    pub(crate) async fn without_spool(universe: &Universe, settings: Value) -> Self {
        let (slot, elsewhere) = (Slot::empty(), FakeSpool::start(&Slot::empty()));
        let answer = |_| Box::pin(std::future::pending()) as BoxFuture<'static, Reply>;
        Self::build(universe, settings, answer, slot, elsewhere).await
    }

    async fn build(
        universe: &Universe,
        settings: Value,
        answer: impl Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
        slot: Slot<SpoolPorts>,
        spool: FakeSpool,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plant = Plant::start(universe, folder.path(), LimitSettings::default()).await;
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let asked = Arc::clone(&requests);
        let answering: Answering = Arc::new(move |request: Request| {
            asked.lock().unwrap().push(request.clone());
            answer(request)
        });
        let watcher = plant.watch().await;
        let bench = Self { universe: universe.clone(), spool, watcher, slot, requests };
        let parts = MqttParts {
            settings: with_defaults(&settings),
            spool: bench.slot.clone(),
            answering,
            events: plant.events().clone(),
        };
        bench.universe.add("/", mqtt_session(parts, Placement::Home)).await.unwrap();
        bench
    }

    /// Waits for a connection that is attached to the spool.
    pub(crate) async fn attached(&self) -> Attach {
        until("a session that is attached", || self.spool.session().is_some()).await;
        self.spool.session().unwrap()
    }

    /// Waits until the session failed with a reason that holds this text.
    pub(crate) async fn failed(&self, part: &str) -> String {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let reason = self.node().await.last_error.unwrap_or_default();
            if reason.contains(part) {
                return reason;
            }
            assert!(tokio::time::Instant::now() < deadline, "no {part:?} in {reason:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn node(&self) -> NodeSnapshot {
        self.universe.node_with_detail(PATH).await.unwrap()
    }

    /// What the session says of itself.
    pub(crate) async fn observed(&self) -> Value {
        self.universe.until_state(PATH, ChildState::Running).await;
        serde_json::to_value(self.node().await).unwrap()["detail"].clone()
    }

    /// Waits until the session says something of itself.
    pub(crate) async fn until_observed(&self, key: &str, value: &Value) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while self.observed().await[key] != *value {
            assert!(tokio::time::Instant::now() < deadline, "{key}: {}", self.observed().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many messages are settled; answers how.
    pub(crate) async fn outcomes(&self, count: usize) -> Vec<(String, Outcome)> {
        until("outcomes", || self.spool.outcomes().len() >= count).await;
        let outcomes = self.spool.outcomes();
        outcomes.into_iter().map(|(message, outcome)| (message.topic.to_string(), outcome)).collect()
    }

    /// Waits for an event of a kind; answers its message.
    pub(crate) async fn event(&self, kind: &str) -> String {
        let find = || self.watcher.events().into_iter().find(|event| event.event_type == kind);
        until(kind, || find().is_some()).await;
        find().unwrap().message.clone()
    }

    /// The requests that arrived.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Has the session built anew.
    pub(crate) async fn restart(&self) {
        self.universe.order(PATH, OrderKind::Restart).await.unwrap();
    }

    /// Stops the session as a drain does.
    pub(crate) async fn stop(&self) {
        self.universe.order(PATH, OrderKind::Stop).await.unwrap();
    }
}

fn with_defaults(settings: &Value) -> MqttSettings {
    let mut all = json!({ "client_id": "gw", "connect_timeout": "5s" });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let settings: MqttSettings = serde_json::from_value(all).unwrap();
    assert_eq!(settings.flaws(), []);
    settings
}
