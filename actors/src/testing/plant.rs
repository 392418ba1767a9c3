//! The gateway's core with devices whose drivers follow a script instead of a socket.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::Recipient;
use bifrost_model::{Command, CommandResult, DeviceTags, TagBatch, Value};
use bifrost_security::audit::{AuditSink, Discard};
use serde_json::json;

use super::{
    script::{Mode, Script},
    universe::{Universe, until},
    watcher::Watcher,
};
use crate::{
    audit::{self, Audit, AuditSettings},
    broker::{FilterSettings, Requeue, Selection},
    commands::{self, Commands, Origin, Requester, Target},
    dead_letters::{self, DeadLetterSettings, LettersPorts},
    gateway::{Gateway, LimitSettings},
    link::LinkLine,
    metrics::Metrics,
    plc::{self, DeviceObservation, DevicePorts, DeviceSettings, ObserveDevice, WriteTag, schedule::Phases},
    router::{self, EventSink, Filter, News, RegisterDevice, RouterPorts, Subscribe, Topics},
    sequence,
    supervision::{OrderKind, Placement, Slot, TreeError},
    testing::Probe,
};

/// A device on loopback that nobody connects to, with tags `t0`, `t1`, … of type float64, all writable.
pub fn device_settings(id: &str, period: Duration, tags: u16) -> DeviceSettings {
    let tags: Vec<_> = (0..tags)
        .map(|n| {
            json!({ "id": format!("t{n}"), "address": format!("holding:{}", n * 4), "data_type": "float64",
                    "writable": true })
        })
        .collect();
    let settings = json!({ "id": id, "protocol": "modbus-tcp", "address": "127.0.0.1:1", "tags": tags });
    let mut settings: DeviceSettings =
        serde_json::from_value(settings).unwrap_or_else(|error| panic!("device settings: {error}"));
    settings.poll_interval = period;
    settings
}

type Devices = Arc<Mutex<BTreeMap<String, Arc<DeviceTags>>>>;
type Targets = Arc<Mutex<BTreeMap<String, Target>>>;
type Filters = Arc<Mutex<BTreeMap<String, Option<FilterSettings>>>>;
type Spools = Arc<Mutex<BTreeMap<String, Recipient<Requeue>>>>;

/// The router, the stores and devices under a universe's tree.
#[derive(Clone)]
pub struct Plant {
    /// Where it lives.
    pub universe: Universe,
    shared: plc::Shared,
    devices: Devices,
    targets: Targets,
    filters: Filters,
    commands: Commands,
    letters: Slot<LettersPorts>,
    spools: Spools,
}

impl Plant {
    /// Starts router and stores; what they keep is in `folder`.
    pub async fn start(universe: &Universe, folder: &Path, limits: LimitSettings) -> Self {
        Self::start_with(universe, folder, limits, Arc::new(Discard), false).await
    }

    /// The same with an audit trail in `folder`; answers its handle too.
    pub async fn audited(universe: &Universe, folder: &Path, settings: AuditSettings) -> (Self, Audit) {
        let audit = Audit::new(settings.queue);
        let (limits, first) = (LimitSettings::default(), settings.record_writes_first);
        let plant = Self::start_with(universe, folder, limits, Arc::new(audit.clone()), first).await;
        let parts = audit::Parts::new(settings, folder, "gw-1", audit.clone(), plant.shared.events.clone());
        assert_eq!(universe.add("/", audit::spec(parts)).await.as_deref(), Ok("audit"));
        (plant, audit)
    }

    async fn start_with(
        universe: &Universe,
        folder: &Path,
        limits: LimitSettings,
        audit: Arc<dyn AuditSink>,
        record_writes_first: bool,
    ) -> Self {
        let plant = Self::empty(universe, limits, audit, record_writes_first);
        plant.add_router().await;
        plant.add_store(folder).await;
        plant.add_letters(folder).await;
        plant.add_ledger(folder).await;
        let branch = universe.branch("/", "devices").await;
        assert_eq!(branch.as_deref(), Ok("devices"));
        plant
    }

    fn empty(
        universe: &Universe,
        limits: LimitSettings,
        audit: Arc<dyn AuditSink>,
        record_writes_first: bool,
    ) -> Self {
        let router = Slot::empty();
        let metrics = Metrics::new().unwrap_or_else(|error| panic!("metrics: {error}"));
        let shared = plc::Shared {
            events: EventSink::new(router.clone()),
            router,
            sequence: Slot::empty(),
            ledger: Slot::empty(),
            metrics: Arc::new(metrics),
            phases: Arc::new(Phases::default()),
            limits,
            audit,
            record_writes_first,
        };
        let (targets, filters, letters) = (Targets::default(), Filters::default(), Slot::empty());
        let commands = Commands::new(commands::Parts {
            find: Box::new(finder(&targets)),
            router: shared.router.clone(),
            events: shared.events.clone(),
            letters: letters.clone(),
            sessions: Box::new(selections(&filters)),
        });
        let (universe, devices, spools) = (universe.clone(), Arc::default(), Arc::default());
        Self { universe, shared, devices, targets, filters, commands, letters, spools }
    }

    async fn add_router(&self) {
        let devices = Arc::clone(&self.devices);
        let parts = router::Parts {
            address: self.shared.router.clone(),
            limits: self.shared.limits.clone(),
            metrics: Arc::clone(&self.shared.metrics),
            devices: Arc::new(move || {
                devices.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
            }),
        };
        assert_eq!(self.universe.add("/", router::spec(parts)).await.as_deref(), Ok("router"));
    }

    async fn add_store(&self, folder: &Path) {
        let (path, block) = (folder.join("sequence"), self.shared.limits.sequence_block);
        let spec = sequence::spec(path, block, self.shared.sequence.clone(), self.shared.events.clone());
        assert_eq!(self.universe.add("/", spec).await.as_deref(), Ok("sequence"));
    }

    async fn add_ledger(&self, folder: &Path) {
        let (path, keep) = (folder.join("commands.db"), self.shared.limits.command_ids);
        let events = self.shared.events.clone();
        let parts = commands::LedgerParts::new(path, keep, self.shared.ledger.clone(), events);
        let added = self.universe.add("/", commands::ledger_spec(parts)).await;
        assert_eq!(added.as_deref(), Ok("commands"));
    }

    async fn add_letters(&self, folder: &Path) {
        let spools = Arc::clone(&self.spools);
        let parts = dead_letters::Parts::new(
            folder.join("dead-letters.db"),
            DeadLetterSettings { max_messages: 100, ..DeadLetterSettings::default() },
            self.letters.clone(),
            self.shared.events.clone(),
            Arc::clone(&self.shared.metrics),
            Arc::new(move |name| spools.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()),
            &self.commands,
        );
        assert_eq!(self.universe.add("/", dead_letters::spec(parts)).await.as_deref(), Ok("dead_letters"));
    }

    /// The path of commands to its devices.
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// The addresses of its dead letters, of which it keeps a hundred.
    pub fn letters(&self) -> LettersPorts {
        self.letters.get().unwrap_or_else(|| panic!("there are no dead letters now"))
    }

    /// The filter of this session; `None`: there is no such session. Of others everything may be reached.
    pub fn filter(&self, session: &str, filter: Option<FilterSettings>) {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner).insert(session.to_owned(), filter);
    }

    /// Letters of this session are replayed to this address.
    pub fn spool(&self, session: &str, to: Recipient<Requeue>) {
        self.spools.lock().unwrap_or_else(PoisonError::into_inner).insert(session.to_owned(), to);
    }

    /// Adds a device, and waits until it runs or has failed once.
    pub async fn device(&self, settings: DeviceSettings, script: &Script) -> FakeDevice {
        let compiled =
            plc::compile(&settings).unwrap_or_else(|problems| panic!("device settings: {problems:?}"));
        let (id, device) = (settings.id.clone(), Arc::new(compiled));
        let tags = Arc::clone(&device.tags);
        self.register(&tags).await;
        let (address, made) = (Slot::empty(), script.clone());
        let target = Target { tags: Arc::clone(&tags), ports: address.clone(), timeout: settings.timeout };
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), target);
        let parts = plc::Parts {
            line: LinkLine::new(
                device.link.clone(),
                16,
                self.shared.metrics.connections.with_label_values(&["modbus-tcp"]),
            ),
            phases: device.groups.iter().map(|_| self.shared.phases.next()).collect(),
            settings: Arc::new(settings),
            device,
            address: address.clone(),
            shared: self.shared.clone(),
            driver: Arc::new(move |_, traffic| made.driver(traffic)),
        };
        let added = self.universe.add("devices", plc::spec(parts, Placement::Worker(0))).await;
        let path = added.unwrap_or_else(|error| panic!("device {id}: {error}"));
        FakeDevice { path, tags, ports: address, script: script.clone() }
    }

    /// Adds a device that answers every scan with a count, read this often, with one tag.
    pub async fn counting(&self, id: &str, period: Duration) -> FakeDevice {
        self.device(device_settings(id, period, 1), &Script::new(Mode::Counts)).await
    }

    /// Makes the router know a device's tags.
    pub async fn register(&self, tags: &Arc<DeviceTags>) {
        let id = tags.device_id().to_string();
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(tags));
        let _ = self.router().register.send(RegisterDevice(Arc::clone(tags))).await;
    }

    /// What its devices share.
    pub(super) fn shared(&self) -> &plc::Shared {
        &self.shared
    }

    /// The router's addresses.
    pub fn router(&self) -> RouterPorts {
        self.shared.router.get().unwrap_or_else(|| panic!("there is no router now"))
    }

    /// Waits until there is a router again.
    pub async fn until_router(&self) {
        until("a router", || self.shared.router.get().is_some()).await;
    }

    /// Where events are reported.
    pub fn events(&self) -> &EventSink {
        &self.shared.events
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Subscribes to everything.
    pub async fn watch(&self) -> Watcher {
        let watcher = Watcher::start(100_000);
        self.subscribe(&watcher, everything_of(None)).await;
        watcher
    }

    /// Subscribes; answers what was known before.
    pub async fn subscribe(&self, watcher: &Watcher, filter: Filter) -> Vec<News> {
        let to = watcher.address.clone().recipient();
        let subscribe = Subscribe { id: router::next_subscriber_id(), to, filter };
        self.router().subscribe.send(subscribe).await.unwrap_or_default()
    }

    /// Hands the router a scan as a device would.
    pub fn publish(&self, batch: TagBatch) -> bool {
        self.router().publish.try_send(router::Publish(Arc::new(batch))).is_ok()
    }

    /// Stops everything in the order in which the gateway does.
    pub async fn stop(&self) {
        for path in ["devices", "commands", "dead_letters", "router", "sequence"] {
            assert_eq!(self.universe.order(path, OrderKind::Stop).await, Ok(()));
        }
    }
}

fn finder(targets: &Targets) -> impl Fn(&str) -> Option<Target> + Send + Sync + use<> {
    let targets = Arc::clone(targets);
    move |id| targets.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
}

fn selections(filters: &Filters) -> impl Fn(&str) -> Option<Arc<Selection>> + Send + Sync + use<> {
    let filters = Arc::clone(filters);
    move |session| {
        let filters = filters.lock().unwrap_or_else(PoisonError::into_inner);
        let filter = filters.get(session).map_or_else(|| Some(FilterSettings::default()), Clone::clone);
        filter.map(|filter| Arc::new(Selection::new(&filter)))
    }
}

/// A filter for all topics, of these devices or all.
pub fn everything_of(devices: Option<&[&str]>) -> Filter {
    let topics =
        Topics { device_data: true, device_status: true, events: true, alarms: true, descriptions: false };
    let devices = devices.map(|ids| ids.iter().map(|id| Arc::from(*id)).collect());
    Filter { topics, devices, tags: None, news_only: false }
}

/// A device under test.
#[derive(Clone)]
pub struct FakeDevice {
    /// Its actor's path.
    pub path: String,
    /// Its tags.
    pub tags: Arc<DeviceTags>,
    /// What it does.
    pub script: Script,
    ports: Slot<DevicePorts>,
}

impl FakeDevice {
    /// The living incarnation's addresses.
    pub fn ports(&self) -> Option<DevicePorts> {
        self.ports.get()
    }

    /// What its actor knows; `None` while it is being rebuilt.
    pub async fn observe(&self) -> Option<DeviceObservation> {
        self.ports()?.observe.send(ObserveDevice).await.ok()
    }

    /// Sends a write under an id that may come again; the answer comes when it is carried out.
    pub fn write(&self, command: Command) -> impl Future<Output = Option<CommandResult>> + use<> {
        let order = WriteTag { command, given_id: true, origin: Origin::Rest(Requester::default()) };
        let answer = self.ports().map(|ports| ports.write.send(order));
        async move { answer?.await.ok() }
    }

    /// Sends a write of a number to the first tag.
    pub fn write_number(&self, id: &str, number: f64) -> impl Future<Output = Option<CommandResult>> + use<> {
        let value = Value::Float64(number);
        let (command_id, tag_id) = (Arc::from(id), Arc::from("t0"));
        self.write(Command { command_id, tag_id, value, expires_at: None, read_back: false })
    }
}

/// Puts a probe under a gateway's eyes as a client's actor would be.
pub async fn adopt(gateway: &Gateway, name: &str, probe: &Probe) -> Result<(), TreeError> {
    let mailbox = Arc::clone(probe.mailbox());
    gateway.adopt(name.to_owned(), mailbox, |exit| probe.child(exit)).await
}
