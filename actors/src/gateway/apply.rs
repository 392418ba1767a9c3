//! How devices come, change and go: the difference first, then only the actors concerned.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Gateway,
    changes::Changes,
    devices::{DeviceEntry, Links},
    handle::{ApplyError, Begun, DEVICES, LINKS},
    stored::StoredSettings,
};
use crate::{
    link::{self, LinkSettings},
    plc::{self, CompiledDevice, DeviceSettings, SettingsProblem},
    router::{ForgetDevice, RegisterDevice},
    supervision::{Placement, Remove, Slot, TreeError, encode_name},
};

/// A device that could run.
struct Prepared {
    /// Its settings without tags.
    head: DeviceSettings,
    stored: StoredSettings,
    device: CompiledDevice,
}

impl Prepared {
    /// Compiles and puts away; what a large plant's settings took is free again device by device.
    fn new(settings: DeviceSettings) -> Result<Self, Vec<SettingsProblem>> {
        let device = plc::compile(&settings)?;
        let stored = StoredSettings::new(&settings);
        Ok(Self { head: DeviceSettings { tags: Vec::new(), ..settings }, stored, device })
    }
}

impl Gateway {
    /// What applying this list would do.
    pub fn plan(&self, devices: Vec<DeviceSettings>) -> Result<Changes, ApplyError> {
        let devices = prepare_all(devices)?;
        let mut changes = self.compare(&devices);
        let ended: HashSet<_> = changes.ended().collect();
        let began = changes.began();
        let (kept, old): (Vec<_>, Vec<_>) =
            self.devices().into_iter().partition(|entry| !ended.contains(&entry.settings.id));
        let kept: BTreeSet<_> = kept.iter().map(|entry| entry.link_path.clone()).collect();
        let new = devices.iter().filter(|device| began.contains(&device.head.id));
        let links = old.iter().map(|entry| entry.link_path.clone());
        let links = links.chain(new.map(|device| link_path(&device.device.link)));
        let paths: BTreeSet<_> = links
            .filter(|path| !kept.contains(path))
            .chain(ended.iter().chain(&began).map(|id| device_path(id)))
            .collect();
        drop((ended, began));
        changes.actors = paths.into_iter().collect();
        Ok(changes)
    }

    fn compare(&self, devices: &[Prepared]) -> Changes {
        let wanted = devices.iter().map(|device| (&device.head.id, &device.stored));
        Changes::between(&self.0.registry.stored(), wanted)
    }

    /// Whether a device could run beside the others: what [`Self::put_device`] would refuse.
    pub fn check_device(&self, settings: &DeviceSettings) -> Result<(), ApplyError> {
        self.prepare_beside(settings.clone()).map(drop)
    }

    fn prepare_beside(&self, settings: DeviceSettings) -> Result<Prepared, ApplyError> {
        let id = settings.id.clone();
        let invalid = |problems: Vec<SettingsProblem>| {
            ApplyError::Invalid(problems.into_iter().map(|problem| (id.clone(), problem)).collect())
        };
        let prepared = Prepared::new(settings).map_err(invalid)?;
        let wanted = &prepared.device.link;
        let differs = |entry: &Arc<DeviceEntry>| {
            let link = &entry.device.link;
            entry.settings.id != id && link.target == wanted.target && link != wanted
        };
        match self.devices().into_iter().find(differs) {
            None => Ok(prepared),
            Some(other) => Err(invalid(vec![SettingsProblem {
                key: "address".to_owned(),
                problem: shared_link_problem(&other.settings.id),
            }])),
        }
    }

    /// Makes the devices that run those of the list: only the actors concerned are touched. When any settings
    /// can't work, nothing is changed. Must not be dropped half-way: run it where nobody gives it up.
    pub async fn apply(&self, devices: Vec<DeviceSettings>) -> Result<Changes, ApplyError> {
        let mut links = self.0.links.lock().await;
        let devices = prepare_all(devices)?;
        let mut changes = self.compare(&devices);
        let mut touched = BTreeSet::new();
        for id in changes.ended() {
            self.end_device(id, &mut links, &mut touched).await?;
        }
        let mut begun = Vec::new();
        for device in devices {
            if self.0.registry.get(&device.head.id).is_none() {
                begun.push(self.start_device(device, &mut links, &mut touched).await);
            }
        }
        wait_for(begun).await;
        changes.actors = touched.into_iter().collect();
        Ok(changes)
    }

    /// Adds a device, or changes it.
    pub async fn put_device(&self, settings: DeviceSettings) -> Result<Changes, ApplyError> {
        let mut links = self.0.links.lock().await;
        let device = self.prepare_beside(settings)?;
        let id = &device.head.id;
        let running = self.0.registry.get(id).map(|entry| (id.clone(), entry.stored.clone()));
        let running = running.into_iter().collect();
        let mut changes = Changes::between(&running, std::iter::once((id, &device.stored)));
        let mut touched = BTreeSet::new();
        if !changes.is_empty() {
            self.end_device(id, &mut links, &mut touched).await?;
            let begun = self.start_device(device, &mut links, &mut touched).await;
            wait_for(vec![begun]).await;
        }
        changes.actors = touched.into_iter().collect();
        changes.unchanged = self.0.registry.all().len() - changes.began().len();
        Ok(changes)
    }

    /// Removes a device.
    pub async fn remove_device(&self, id: &str) -> Result<Changes, ApplyError> {
        let mut links = self.0.links.lock().await;
        if self.0.registry.get(id).is_none() {
            return Err(ApplyError::UnknownDevice(id.to_owned()));
        }
        let mut touched = BTreeSet::new();
        self.end_device(id, &mut links, &mut touched).await?;
        Ok(Changes {
            removed: vec![id.to_owned()],
            unchanged: self.0.registry.all().len(),
            actors: touched.into_iter().collect(),
            ..Changes::default()
        })
    }

    async fn end_device(
        &self,
        id: &str,
        links: &mut Links,
        touched: &mut BTreeSet<String>,
    ) -> Result<(), TreeError> {
        let Some(entry) = self.0.registry.remove(id) else { return Ok(()) };
        self.remove(&entry.path).await?;
        touched.insert(entry.path.clone());
        if links.release(&entry.device.link) {
            self.remove(&entry.link_path).await?;
            touched.insert(entry.link_path.clone());
        }
        if let Some(router) = self.router() {
            let _ = router.forget.send(ForgetDevice(Arc::clone(entry.tags.device_id()))).await;
        }
        self.0.shared.metrics.forget_device(id);
        Ok(())
    }

    async fn remove(&self, path: &str) -> Result<(), TreeError> {
        self.0.tree.send(Remove(path.to_owned())).await.map_err(|_| TreeError::Gone)?
    }

    async fn start_device(
        &self,
        prepared: Prepared,
        links: &mut Links,
        touched: &mut BTreeSet<String>,
    ) -> Begun {
        let Prepared { head: settings, stored, device } = prepared;
        let (line, worker, is_new) = links.acquire(&device.link, self.0.settings.limits.link_queue);
        let placement = Placement::Worker(worker);
        let link_path = link_path(&device.link);
        let path = device_path(&settings.id);
        let shared = self.0.shared.clone();
        let phases: Vec<_> = device.groups.iter().map(|_| shared.phases.next()).collect();
        let settings = Arc::new(settings);
        let device = Arc::new(device);
        let address = Slot::empty();
        let entry = DeviceEntry {
            settings: Arc::clone(&settings),
            stored,
            tags: Arc::clone(&device.tags),
            device: Arc::clone(&device),
            ports: address.clone(),
            path: path.clone(),
            link_path: link_path.clone(),
        };
        self.0.registry.insert(Arc::new(entry));
        if let Some(router) = self.router() {
            let _ = router.register.send(RegisterDevice(Arc::clone(&device.tags))).await;
        }
        if is_new {
            drop(tokio::spawn(self.begin(LINKS, link::spec(Arc::clone(&line), placement))));
            touched.insert(link_path);
        }
        let parts = plc::Parts {
            settings,
            device,
            line,
            address,
            shared,
            driver: Arc::new(plc::modbus),
            phases: phases.into(),
        };
        touched.insert(path);
        self.begin(DEVICES, plc::spec(parts, placement))
    }
}

fn device_path(id: &str) -> String {
    format!("{DEVICES}/{}", encode_name(id))
}

/// Who asks for a device right after it was added should find its actor there; but one that starts slowly
/// holds nobody up for long.
async fn wait_for(begun: Vec<Begun>) {
    let all = futures_util::future::join_all(begun);
    let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
}

/// Prepares every device, or answers every problem of all.
fn prepare_all(devices: Vec<DeviceSettings>) -> Result<Vec<Prepared>, ApplyError> {
    let mut prepared: Vec<Prepared> = Vec::with_capacity(devices.len());
    let mut problems = Vec::new();
    let mut ids = HashSet::new();
    let mut links: BTreeMap<String, (String, LinkSettings)> = BTreeMap::new();
    for settings in devices {
        let id = settings.id.clone();
        let mut add = |key: &str, problem: String| {
            problems.push((id.clone(), SettingsProblem { key: key.to_owned(), problem }));
        };
        if !ids.insert(id.clone()) {
            add("id", "another device has this id; ids must differ".to_owned());
        }
        match Prepared::new(settings) {
            Ok(device) => {
                let link = &device.device.link;
                let entry = links.entry(link.target.to_string());
                let (first, known) = entry.or_insert_with(|| (id.clone(), link.clone()));
                if known != link {
                    add("address", shared_link_problem(first));
                }
                prepared.push(device);
            }
            Err(found) => problems.extend(found.into_iter().map(|problem| (id.clone(), problem))),
        }
    }
    if problems.is_empty() { Ok(prepared) } else { Err(ApplyError::Invalid(problems)) }
}

fn link_path(link: &LinkSettings) -> String {
    format!("{LINKS}/{}", encode_name(&link.target.to_string()))
}

fn shared_link_problem(first: &str) -> String {
    format!(
        "is the connection of device {first:?} too, but connect_timeout, pause_after_connect, \
         pause_between_requests or tls differ; give both the same"
    )
}
