//! The branch of each broker: its spool and its session, and what they share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bifrost_model::{Event, Severity};
use futures_util::future::{BoxFuture, join_all};
use prometheus::IntCounter;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{
    Gateway,
    handle::{BROKERS, Begun},
};
use crate::{
    broker::{self, Dialect, Encoder, FilterSettings, Identity, Routes, Selection, SpoolPorts, Texts},
    commands::{FindSelection, Protocol},
    dead_letters::{Bury, LettersPorts, NewLetter},
    mqtt::{self, MqttSettings},
    nats::{self, NatsSettings},
    plc::{DeviceStats, ObserveDevice},
    spool::{self, SpoolDesk, SpoolSettings},
    supervision::{AddBranch, ChildSpec, Placement, Slot, TreeError, encode_name},
};

/// Longest time that devices wait for the spools to open what they hold.
const SPOOLS_START: Duration = Duration::from_secs(10);
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A broker that messages go to.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerSettings {
    /// Names its branch, its metrics and its spool on disk.
    pub name: String,
    /// How it is spoken to.
    pub kind: BrokerKind,
    /// What is kept for it.
    pub spool: SpoolSettings,
}

/// How a broker is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerKind {
    /// By MQTT.
    Mqtt(Box<MqttSettings>),
    /// By NATS.
    Nats(Box<NatsSettings>),
}

/// The spools by the names of their sessions.
pub(super) type Spools = Arc<BTreeMap<Arc<str>, Slot<SpoolDesk>>>;

/// A place for each broker's spool.
pub(super) fn places(brokers: &[BrokerSettings]) -> Spools {
    Arc::new(brokers.iter().map(|broker| (Arc::from(broker.name.as_str()), Slot::empty())).collect())
}

/// What may be reached through each session: what its filter lets pass.
pub(super) fn selections(brokers: &[BrokerSettings]) -> FindSelection {
    let one = |broker: &BrokerSettings| (broker.name.clone(), Arc::new(Selection::new(broker.kind.filter())));
    let all: BTreeMap<_, _> = brokers.iter().map(one).collect();
    Box::new(move |session| all.get(session).cloned())
}

/// What a broker's spool and session share.
struct Shared {
    name: Arc<str>,
    identity: Identity,
    routes: Arc<Routes>,
    encoder: Arc<dyn Fn() -> Encoder + Send + Sync>,
    ports: Slot<SpoolPorts>,
    placement: Placement,
}

impl BrokerKind {
    fn routes(&self, identity: &Identity) -> Routes {
        match self {
            Self::Mqtt(settings) => {
                let topics = &settings.topics;
                let texts = Texts {
                    telemetry: &topics.telemetry,
                    commands: &topics.commands,
                    alarms: &topics.alarms,
                    events: &topics.events,
                    diagnostics: &topics.diagnostics,
                };
                Routes::new(Dialect::Mqtt, identity, &texts)
            }
            Self::Nats(settings) => {
                let subjects = &settings.subjects;
                let texts = Texts {
                    telemetry: &subjects.telemetry,
                    commands: &subjects.commands,
                    alarms: &subjects.alarms,
                    events: &subjects.events,
                    diagnostics: &subjects.diagnostics,
                };
                Routes::new(Dialect::Nats, identity, &texts)
            }
        }
    }

    fn filter(&self) -> &FilterSettings {
        match self {
            Self::Mqtt(settings) => &settings.filter,
            Self::Nats(settings) => &settings.filter,
        }
    }

    fn encoder(&self, identity: Identity, routes: Arc<Routes>) -> Encoder {
        match self {
            Self::Mqtt(settings) => {
                Encoder::new(identity, routes, &settings.filter, &settings.downsample, settings.retain)
            }
            Self::Nats(settings) => {
                Encoder::new(identity, routes, &settings.filter, &settings.downsample, false)
            }
        }
    }

    fn diagnostics_interval(&self) -> Option<Duration> {
        let interval = match self {
            Self::Mqtt(settings) => settings.diagnostics_interval,
            Self::Nats(settings) => settings.diagnostics_interval,
        };
        interval.filter(|interval| !interval.is_zero())
    }
}

impl Gateway {
    /// Starts every broker's branch. Waits until the spools hear what is read, for what is read before is
    /// lost; their connections may take what they need.
    pub(super) async fn start_brokers(&self) -> Result<(), TreeError> {
        let mut spools = Vec::new();
        for (index, broker) in self.0.settings.brokers.iter().enumerate() {
            let name = broker.name.clone();
            let add = AddBranch { parent: BROKERS.to_owned(), name: name.clone() };
            let path = self.0.tree.send(add).await.map_err(|_| TreeError::Gone)??;
            let shared = self.shared(broker, Placement::Broker(index));
            let (spool, session) = (self.spool_spec(broker, &shared), self.session_spec(broker, shared));
            spools.push((broker.name.as_str(), self.begin(&path, spool)));
            drop(tokio::spawn(self.begin(&path, session)));
        }
        let late = late(spools, SPOOLS_START).await;
        if !late.is_empty() {
            self.events().record(spool_late(&late));
        }
        Ok(())
    }

    fn shared(&self, broker: &BrokerSettings, placement: Placement) -> Shared {
        let settings = &self.0.settings;
        let identity = Identity {
            gateway_id: Arc::clone(&settings.gateway_id),
            site_id: Arc::clone(&settings.site_id),
            hostname: Arc::clone(&settings.hostname),
        };
        let routes = Arc::new(broker.kind.routes(&identity));
        let (kind, own, route) = (broker.kind.clone(), identity.clone(), Arc::clone(&routes));
        let encoder = Arc::new(move || kind.encoder(own.clone(), Arc::clone(&route)));
        let ports = Slot::empty();
        Shared { name: broker.name.as_str().into(), identity, routes, encoder, ports, placement }
    }

    fn spool_spec(&self, broker: &BrokerSettings, shared: &Shared) -> ChildSpec {
        let desk = self.0.spools.get(&shared.name).cloned().unwrap_or_else(Slot::empty);
        let parts = spool::Parts {
            session: Arc::clone(&shared.name),
            settings: Arc::new(broker.spool.clone()),
            folder: self.0.settings.data_dir.join("spool").join(encode_name(&broker.name)),
            mailbox: self.0.settings.limits.broker_mailbox,
            ports: shared.ports.clone(),
            desk,
            router: self.0.shared.router.clone(),
            encoder: Arc::clone(&shared.encoder),
            bury: bury(
                Arc::clone(&shared.name),
                self.0.letters.clone(),
                self.0.shared.metrics.dead_letters_lost.clone(),
            ),
            diagnose: self.diagnose(broker),
            events: self.0.shared.events.clone(),
            metrics: Arc::clone(&self.0.shared.metrics),
            legacy: Arc::new(Mutex::default()),
        };
        spool::spec(parts, shared.placement)
    }

    fn session_spec(&self, broker: &BrokerSettings, shared: Shared) -> ChildSpec {
        let commands = &self.0.commands;
        let (routes, identity) = (Arc::clone(&shared.routes), shared.identity.clone());
        let status = move |online| broker::status(&identity, &routes, online, Some(VERSION));
        match &broker.kind {
            BrokerKind::Mqtt(settings) => {
                let parts = mqtt::Parts {
                    name: shared.name,
                    settings: Arc::new((**settings).clone()),
                    identity: shared.identity,
                    spool: shared.ports,
                    answering: commands.answering(Protocol::Mqtt, settings.commands),
                    routes: shared.routes,
                    birth: Arc::new(status),
                    events: self.0.shared.events.clone(),
                    counters: Arc::default(),
                };
                mqtt::spec(parts, shared.placement)
            }
            BrokerKind::Nats(settings) => {
                let parts = nats::Parts {
                    name: shared.name,
                    settings: Arc::new((**settings).clone()),
                    identity: shared.identity,
                    spool: shared.ports,
                    answering: commands.answering(Protocol::Nats, settings.commands),
                    stream_subjects: shared.routes.lasting(),
                    routes: shared.routes,
                    status: Arc::new(status),
                    events: self.0.shared.events.clone(),
                };
                nats::spec(parts, shared.placement)
            }
        }
    }

    /// Figures of every device that this broker is told of.
    fn diagnose(&self, broker: &BrokerSettings) -> Option<(Duration, spool::Diagnose)> {
        let interval = broker.kind.diagnostics_interval()?;
        let registry = self.0.registry.clone();
        let diagnose = move || {
            let devices = registry.all();
            let observed = async move {
                let asked = devices.iter().filter_map(|device| {
                    let observing = device.ports.get()?.observe.send(ObserveDevice);
                    let id = Arc::clone(device.tags.device_id());
                    Some(async move { Some((id, observing.await.ok()?.stats)) })
                });
                let observed = join_all(asked).await;
                observed.into_iter().flatten().collect()
            };
            Box::pin(observed) as BoxFuture<'static, Vec<(Arc<str>, DeviceStats)>>
        };
        Some((interval, Arc::new(diagnose)))
    }

    /// The paths of all spools.
    pub(super) fn spool_paths(&self) -> Vec<String> {
        let path = |broker: &BrokerSettings| format!("{BROKERS}/{}/spool", encode_name(&broker.name));
        self.0.settings.brokers.iter().map(path).collect()
    }
}

/// Waits for all, at most so long; answers who isn't there by then, and comes later.
async fn late(begun: Vec<(&str, Begun)>, limit: Duration) -> Vec<&str> {
    let deadline = Instant::now() + limit;
    let mut late = Vec::new();
    let begun: Vec<_> = begun.into_iter().map(|(name, begun)| (name, tokio::spawn(begun))).collect();
    for (name, begun) in begun {
        if timeout_at(deadline, begun).await.is_err() {
            late.push(name);
        }
    }
    late
}

/// Devices don't wait any longer for these brokers' spools.
fn spool_late(brokers: &[&str]) -> Event {
    let message = format!(
        "devices start before what waits for {} is opened: what is read until then isn't kept for it; look at the \
         disk, and at how much lies in its spool",
        brokers.join(", ")
    );
    Event::new("", "spool_late", Severity::Error, message).with(json!({ "brokers": brokers }))
}

/// What a broker refuses goes to the dead letters; what these don't take is counted as lost.
fn bury(session: Arc<str>, letters: Slot<LettersPorts>, lost: IntCounter) -> spool::Bury {
    Arc::new(move |message, reason| {
        let letter = NewLetter::message(Arc::clone(&session), &reason, (*message).clone());
        let buried = letters.get().map(|letters| letters.bury.try_send(Bury(letter)));
        if !matches!(buried, Some(Ok(()))) {
            lost.inc();
            tracing::warn!(
                session = &*session,
                topic = &*message.topic,
                reason,
                "a message that its broker refuses couldn't be kept among the dead letters"
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_late_is_named_and_comes_all_the_same() {
        let after = |millis| Box::pin(tokio::time::sleep(Duration::from_millis(millis))) as Begun;
        let (came, comes) = tokio::sync::oneshot::channel();
        let slow: Begun = Box::pin(async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            came.send(()).unwrap();
        });
        let begun =
            vec![("a", after(5)), ("slow", slow), ("b", after(9_999)), ("never", Box::pin(pending()))];
        let started = Instant::now();
        assert_eq!(late(begun, SPOOLS_START).await, ["slow", "never"]);
        assert_eq!(started.elapsed().as_secs(), 10);
        comes.await.unwrap();
        assert!(late(vec![("a", after(5))], SPOOLS_START).await.is_empty());
        let told = spool_late(&["slow", "never"]);
        assert_eq!((told.event_type, &told.data), ("spool_late", &json!({"brokers": ["slow", "never"]})));
        assert!(told.message.contains("slow, never"), "{}", told.message);
    }

    #[test]
    fn what_no_dead_letters_take_is_counted_as_lost() {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let bury = bury("cloud".into(), Slot::empty(), lost.clone());
        for _ in 0..3 {
            let message = crate::testing::outgoing("t", bifrost_model::TagClass::Status, "{}");
            bury(Arc::new(message), "135 not authorized".to_owned());
        }
        assert_eq!(lost.get(), 3);
    }
}
