//! The handle by which others use the running gateway.

use std::{
    fs::{File, TryLockError},
    sync::{Arc, PoisonError},
    time::Duration,
};

use actix::{Actor, Addr};
use bifrost_model::{Event, Severity};
use thiserror::Error;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout},
};

use super::{
    brokers::{Spools, places, selections},
    certificates,
    devices::{DeviceEntry, Links, Registry},
    notices,
    settings::GatewaySettings,
};
use crate::{
    audit::{self, Audit},
    certificate_rotator::{self, CertificateRow},
    commands::{self, Commands},
    dead_letters::{self, LettersPorts},
    metrics::Metrics,
    plc::{self, SettingsProblem, schedule::Phases},
    router::{self, EventSink, RouterPorts},
    sequence,
    supervision::{
        AddBranch, AddChild, Arbiters, Child, ChildKind, Exit, MailboxStats, NodeSnapshot, Order, OrderKind,
        Slot, Snapshot, Tree, TreeError,
    },
};

/// Order of start. What comes later uses what came before.
const START_ORDER: [&str; 10] =
    [AUDIT, "sequence", "router", CERTIFICATES, LETTERS, LEDGER, BROKERS, CLIENTS, LINKS, DEVICES];
/// Order of stop: polling first, then what it used, then who is told, last where everything goes through.
/// Of the brokers the spools end first, while their sessions still carry.
const STOP_ORDER: [&str; 10] =
    [DEVICES, LINKS, BROKERS, CLIENTS, LEDGER, LETTERS, CERTIFICATES, "router", "sequence", AUDIT];

const ROOT: &str = "/";
const AUDIT: &str = "audit";
const CERTIFICATES: &str = "certificates";
const LEDGER: &str = "commands";
const LETTERS: &str = "dead_letters";
const CLIENTS: &str = "clients";
pub(super) const BROKERS: &str = "brokers";
pub(super) const LINKS: &str = "links";
pub(super) const DEVICES: &str = "devices";

/// Why the gateway can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error("gateway.data_dir {path}: {reason}")]
    DataDir {
        /// Which.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The tree refused what it never refuses.
    #[error("the supervisor tree couldn't be built: {0}")]
    Tree(#[from] TreeError),
    /// Two metrics of one name.
    #[error("metrics couldn't be registered: {0}")]
    Metrics(String),
}

/// Why devices weren't changed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Their settings can't work; each problem with its device.
    #[error("{} settings can't work", .0.len())]
    Invalid(Vec<(String, SettingsProblem)>),
    /// There is no such device.
    #[error("there is no device {0:?}")]
    UnknownDevice(String),
    /// The tree didn't take it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Resolves when a child runs or has failed once.
pub(super) type Begun = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The running gateway. Clones are cheap and may be used from any thread.
#[derive(Clone)]
pub struct Gateway(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) settings: GatewaySettings,
    pub(super) tree: Addr<Tree>,
    pub(super) registry: Registry,
    pub(super) shared: plc::Shared,
    pub(super) commands: Commands,
    audit: Audit,
    certificates: certificate_rotator::Shown,
    pub(super) letters: Slot<LettersPorts>,
    pub(super) spools: Spools,
    fatal: watch::Receiver<Option<String>>,
    /// Changes go one after the other.
    pub(super) links: Mutex<Links>,
    /// Held while the gateway lives: one data directory, one gateway.
    _lock: File,
}

impl Gateway {
    /// Starts the tree with everything but devices. Must be called inside an actix system.
    pub async fn start(settings: GatewaySettings, arbiters: Arbiters) -> Result<Self, StartError> {
        let lock = lock(&settings)?;
        let metrics = Arc::new(Metrics::new().map_err(|error| StartError::Metrics(error.to_string()))?);
        let (router, sequence) = (Slot::empty(), Slot::empty());
        let events = EventSink::new(router.clone());
        let (fatal, fatal_seen) = watch::channel(None);
        let workers = arbiters.count();
        let sink = notices::sink(events.clone(), Arc::clone(&metrics), fatal);
        let tree = Tree::new(settings.supervision.clone(), arbiters, sink).start();
        let (registry, letters) = (Registry::default(), Slot::empty());
        let audit = Audit::new(settings.audit.queue);
        let commands = Commands::new(commands::Parts {
            find: Box::new(registry.clone().finder()),
            router: router.clone(),
            events: events.clone(),
            letters: letters.clone(),
            sessions: selections(&settings.brokers),
        });
        let shared = plc::Shared {
            router,
            sequence,
            ledger: Slot::empty(),
            events,
            metrics: Arc::clone(&metrics),
            phases: Arc::new(Phases::default()),
            limits: settings.limits.clone(),
            audit: Arc::new(audit.clone()),
            record_writes_first: settings.audit.record_writes_first,
        };
        let inner = Inner {
            tree,
            registry,
            shared,
            commands,
            audit,
            certificates: Arc::default(),
            letters,
            spools: places(&settings.brokers),
            fatal: fatal_seen,
            links: Mutex::new(Links::new(workers, metrics)),
            settings,
            _lock: lock,
        };
        let gateway = Self(Arc::new(inner));
        gateway.start_core().await?;
        Ok(gateway)
    }

    async fn start_core(&self) -> Result<(), StartError> {
        for name in START_ORDER {
            match name {
                AUDIT => self.add(ROOT, self.audit_spec()).await?,
                CERTIFICATES => self.add(ROOT, self.certificates_spec()).await?,
                "sequence" => self.add(ROOT, self.sequence_spec()).await?,
                "router" => self.add(ROOT, self.router_spec()).await?,
                LETTERS => self.add(ROOT, self.letters_spec()).await?,
                LEDGER => self.add(ROOT, self.ledger_spec()).await?,
                branch => {
                    let add = AddBranch { parent: ROOT.to_owned(), name: branch.to_owned() };
                    self.0.tree.send(add).await.map_err(|_| TreeError::Gone)??;
                }
            }
            if name == BROKERS {
                self.start_brokers().await?;
            }
        }
        Ok(())
    }

    fn audit_spec(&self) -> crate::supervision::ChildSpec {
        let (settings, events) = (&self.0.settings, self.0.shared.events.clone());
        let (id, audit) = (&settings.gateway_id, self.0.audit.clone());
        audit::spec(audit::Parts::new(settings.audit.clone(), &settings.data_dir, id, audit, events))
    }

    fn certificates_spec(&self) -> crate::supervision::ChildSpec {
        let (settings, shared) = (self.0.settings.clone(), &self.0.shared);
        let registry = self.0.registry.clone();
        certificate_rotator::spec(certificate_rotator::Parts {
            settings: settings.certificates.clone(),
            uses: Arc::new(move || certificates::uses(&settings.brokers, &registry)),
            shown: Arc::clone(&self.0.certificates),
            events: shared.events.clone(),
            audit: Arc::clone(&shared.audit),
            metrics: Arc::clone(&shared.metrics),
            raised: Arc::default(),
        })
    }

    fn sequence_spec(&self) -> crate::supervision::ChildSpec {
        let path = self.0.settings.data_dir.join("sequence");
        let block = self.0.settings.limits.sequence_block;
        sequence::spec(path, block, self.0.shared.sequence.clone(), self.0.shared.events.clone())
    }

    fn ledger_spec(&self) -> crate::supervision::ChildSpec {
        let path = self.0.settings.data_dir.join("commands.db");
        let (shared, keep) = (&self.0.shared, self.0.settings.limits.command_ids);
        let parts = commands::LedgerParts::new(path, keep, shared.ledger.clone(), shared.events.clone());
        commands::ledger_spec(parts)
    }

    fn letters_spec(&self) -> crate::supervision::ChildSpec {
        let path = self.0.settings.data_dir.join("dead-letters.db");
        dead_letters::spec(dead_letters::Parts::new(
            path,
            self.0.settings.dead_letters.clone(),
            self.0.letters.clone(),
            self.0.shared.events.clone(),
            Arc::clone(&self.0.shared.metrics),
            super::spools::finder(Arc::clone(&self.0.spools)),
            &self.0.commands,
        ))
    }

    fn router_spec(&self) -> crate::supervision::ChildSpec {
        let registry = self.0.registry.clone();
        router::spec(router::Parts {
            address: self.0.shared.router.clone(),
            limits: self.0.settings.limits.clone(),
            metrics: Arc::clone(&self.0.shared.metrics),
            devices: Arc::new(move || registry.all().iter().map(|entry| Arc::clone(&entry.tags)).collect()),
        })
    }

    async fn add(&self, parent: &str, spec: crate::supervision::ChildSpec) -> Result<(), TreeError> {
        let add = AddChild { parent: parent.to_owned(), spec };
        self.0.tree.send(add).await.map_err(|_| TreeError::Gone)??;
        Ok(())
    }

    /// What it was started with.
    pub fn settings(&self) -> &GatewaySettings {
        &self.0.settings
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.shared.metrics
    }

    /// Where what somebody did is recorded.
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// All certificates, as they were last looked at.
    pub fn certificates(&self) -> Vec<CertificateRow> {
        self.0.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where events and alarms are reported.
    pub fn events(&self) -> &EventSink {
        &self.0.shared.events
    }

    /// The one path of commands and reads.
    pub fn commands(&self) -> &Commands {
        &self.0.commands
    }

    /// The addresses of the dead letters; `None` while their actor is being rebuilt.
    pub fn dead_letters(&self) -> Option<LettersPorts> {
        self.0.letters.get()
    }

    /// All devices, by id.
    pub fn devices(&self) -> Vec<Arc<DeviceEntry>> {
        self.0.registry.all()
    }

    /// One device.
    pub fn device(&self, id: &str) -> Option<Arc<DeviceEntry>> {
        self.0.registry.get(id)
    }

    /// The router's addresses; `None` while it is being rebuilt.
    pub fn router(&self) -> Option<RouterPorts> {
        self.0.shared.router.get()
    }

    /// Resolves when the tree has failed beyond its budget, with the reason: the process has to end.
    pub async fn failed(&self) -> String {
        let mut fatal = self.0.fatal.clone();
        loop {
            if let Some(reason) = fatal.borrow_and_update().clone() {
                return reason;
            }
            if fatal.changed().await.is_err() {
                return "the supervisor tree is gone".to_owned();
            }
        }
    }

    /// Adds a child without waiting for it to run: one that starts slowly holds nobody up.
    /// The answer comes when it runs or has failed once.
    pub(super) fn begin(&self, parent: &str, spec: crate::supervision::ChildSpec) -> Begun {
        let begun = self.0.tree.send(AddChild { parent: parent.to_owned(), spec });
        Box::pin(async move { drop(begun.await) })
    }

    /// The tree, or what is at and below a path.
    pub async fn tree(&self, path: &str, detail: bool) -> Result<NodeSnapshot, TreeError> {
        let snapshot = Snapshot { path: path.to_owned(), detail };
        self.0.tree.send(snapshot).await.map_err(|_| TreeError::Gone)?
    }

    /// Restarts an actor or a branch; resolves when it runs, or has failed once.
    pub async fn restart(&self, path: &str) -> Result<(), TreeError> {
        self.order(path, OrderKind::Restart).await
    }

    /// Stops an actor or a branch until it is started.
    pub async fn stop(&self, path: &str) -> Result<(), TreeError> {
        self.order(path, OrderKind::Stop).await
    }

    /// Starts an actor or a branch that was stopped, or that waits to be rebuilt.
    pub async fn start_actor(&self, path: &str) -> Result<(), TreeError> {
        self.order(path, OrderKind::Start).await
    }

    async fn order(&self, path: &str, kind: OrderKind) -> Result<(), TreeError> {
        self.send_order(path, kind).await?;
        let done = match kind {
            OrderKind::Restart => "restarted",
            OrderKind::Stop => "stopped",
            OrderKind::Start => "started",
        };
        let device = super::notices::device(path);
        let message = format!("{path} was {done} by hand");
        let data = serde_json::json!({ "path": path, "order": done });
        self.events().record(Event::new(device, "actor_ordered", Severity::Info, message).with(data));
        Ok(())
    }

    async fn send_order(&self, path: &str, kind: OrderKind) -> Result<(), TreeError> {
        self.0.tree.send(Order { path: path.to_owned(), kind }).await.map_err(|_| TreeError::Gone)?
    }

    /// Runs a WebSocket client's actor on the current arbiter, under the tree's eyes.
    pub(crate) async fn adopt(
        &self,
        name: String,
        mailbox: Arc<MailboxStats>,
        build: impl FnOnce(Exit) -> Child,
    ) -> Result<(), TreeError> {
        let adopt = crate::supervision::Adopt::new(CLIENTS, name, ChildKind::WebsocketClient, mailbox);
        adopt.run(&self.0.tree, build).await
    }

    /// Stops everything in order: polling first, then what it used, then who is told. What hasn't ended
    /// within its share of the limit is left behind, so that what comes later has its share too; answers
    /// whether all had.
    pub async fn drain(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut clean = true;
        let mut paths: Vec<_> = STOP_ORDER.iter().map(|path| vec![(*path).to_owned()]).collect();
        if let Some(place) = STOP_ORDER.iter().position(|path| *path == BROKERS) {
            paths.insert(place, self.spool_paths());
        }
        for (paths, left) in paths.iter().zip((1..=paths.len()).rev()) {
            let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(1);
            // A task of its own: an order whose sender no longer waits isn't carried out.
            let stopping = paths.iter().cloned().map(|path| {
                let gateway = self.clone();
                actix_rt::spawn(async move { gateway.send_order(&path, OrderKind::Stop).await })
            });
            let stopped = timeout(share, futures_util::future::join_all(stopping)).await;
            clean &= stopped.is_ok_and(|all| all.iter().all(|stopped| matches!(stopped, Ok(Ok(())))));
        }
        clean
    }
}

fn lock(settings: &GatewaySettings) -> Result<File, StartError> {
    let path = &settings.data_dir;
    let error = |reason: String| StartError::DataDir { path: path.display().to_string(), reason };
    std::fs::create_dir_all(path).map_err(|source| {
        error(format!("can't be created: {source}; set it to a directory you may write"))
    })?;
    let file = File::create(path.join("lock"))
        .map_err(|source| error(format!("can't be written: {source}; check owner and rights")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(error("is in use by another gateway; stop it, or give each its own directory".to_owned()))
        }
        Err(TryLockError::Error(source)) => Err(error(format!("can't be locked: {source}"))),
    }
}
