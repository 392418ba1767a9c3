//! The devices that exist, and the links they share.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use bifrost_drivers::modbus::{Framing, Point};
use bifrost_model::DeviceTags;

use super::stored::StoredSettings;
use crate::{
    commands::Target,
    link::{LinkLine, LinkSettings, LinkTarget},
    metrics::Metrics,
    plc::{CompiledDevice, DevicePorts, DeviceSettings},
    supervision::Slot,
};

/// A device that exists, whether it can be reached or not.
#[derive(Debug)]
pub struct DeviceEntry {
    /// As configured, without tags: those are in `tags` and, whole, in `stored`.
    pub settings: Arc<DeviceSettings>,
    /// Everything that was configured.
    pub stored: StoredSettings,
    /// What the indices of its tags mean.
    pub tags: Arc<DeviceTags>,
    /// Compiled.
    pub device: Arc<CompiledDevice>,
    /// Its actor's addresses; empty while it is being rebuilt.
    pub ports: Slot<DevicePorts>,
    /// Its actor's path.
    pub path: String,
    /// Its connection's actor's path.
    pub link_path: String,
}

impl DeviceEntry {
    /// Everything that was configured, tags too.
    pub fn full_settings(&self) -> DeviceSettings {
        self.stored.load().unwrap_or_else(|| (*self.settings).clone())
    }

    /// Where each tag is.
    pub fn points(&self) -> &[Point] {
        &self.device.points
    }
}

/// A link and how many devices use it.
pub(super) struct LinkEntry {
    pub(super) line: Arc<LinkLine>,
    pub(super) users: usize,
    pub(super) worker: usize,
}

/// All devices by id; cheap to read from any thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry(Arc<RwLock<BTreeMap<String, Arc<DeviceEntry>>>>);

impl Registry {
    pub(super) fn get(&self, id: &str) -> Option<Arc<DeviceEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Finds devices for commands.
    pub(super) fn finder(self) -> impl Fn(&str) -> Option<Target> + Send + Sync {
        move |id| {
            let entry = self.get(id)?;
            let (tags, ports) = (Arc::clone(&entry.tags), entry.ports.clone());
            Some(Target { tags, ports, timeout: entry.settings.timeout })
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<DeviceEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn stored(&self) -> BTreeMap<String, StoredSettings> {
        let devices = self.0.read().unwrap_or_else(PoisonError::into_inner);
        devices.iter().map(|(id, entry)| (id.clone(), entry.stored.clone())).collect()
    }

    pub(super) fn insert(&self, entry: Arc<DeviceEntry>) {
        let id = entry.settings.id.clone();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
    }

    pub(super) fn remove(&self, id: &str) -> Option<Arc<DeviceEntry>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id)
    }
}

/// Links by target, and how busy each worker thread is.
pub(super) struct Links {
    by_target: BTreeMap<String, LinkEntry>,
    load: Vec<usize>,
    metrics: Arc<Metrics>,
}

impl Links {
    pub(super) fn new(workers: usize, metrics: Arc<Metrics>) -> Self {
        Self { by_target: BTreeMap::new(), load: vec![0; workers.max(1)], metrics }
    }

    /// Takes a link into use, making it on the least busy thread if there is none; answers whether it is new.
    pub(super) fn acquire(&mut self, settings: &LinkSettings, queue: usize) -> (Arc<LinkLine>, usize, bool) {
        let name = settings.target.to_string();
        if let Some(link) = self.by_target.get_mut(&name) {
            link.users += 1;
            return (Arc::clone(&link.line), link.worker, false);
        }
        let worker = (0..self.load.len()).min_by_key(|worker| self.load[*worker]).unwrap_or(0);
        self.load[worker] += 1;
        let protocol = match (&settings.target, settings.target.framing()) {
            (LinkTarget::Tls { .. }, _) => "modbus-tls",
            (_, Framing::Tcp) => "modbus-tcp",
            (_, Framing::Rtu) => "modbus-rtu",
        };
        let opened = self.metrics.connections.with_label_values(&[protocol]);
        let line = LinkLine::new(settings.clone(), queue, opened);
        self.by_target.insert(name, LinkEntry { line: Arc::clone(&line), users: 1, worker });
        (line, worker, true)
    }

    /// Gives a link up; answers whether nobody uses it any more.
    pub(super) fn release(&mut self, settings: &LinkSettings) -> bool {
        let name = settings.target.to_string();
        let Some(link) = self.by_target.get_mut(&name) else { return false };
        link.users -= 1;
        if link.users > 0 {
            return false;
        }
        self.load[link.worker] -= 1;
        self.by_target.remove(&name);
        true
    }
}
