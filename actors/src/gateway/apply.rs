//! How devices come, change and go: the difference first, then only the actors concerned.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    Gateway,
    changes::Changes,
    devices::{DeviceEntry, Links},
    handle::{ApplyError, DEVICES, LINKS},
    stored::StoredSettings,
};
use crate::{
    link::{self, LinkSettings},
    plc::{self, CompiledDevice, DeviceSettings, SettingsProblem},
    router::{ForgetDevice, RegisterDevice},
    supervision::{Placement, Remove, Slot, TreeError, encode_name},
};

impl Gateway {
    /// What applying this list would do.
    pub fn plan(&self, devices: &[DeviceSettings]) -> Result<Changes, ApplyError> {
        let compiled = compile_all(devices)?;
        let mut changes = Changes::between(&self.0.registry.stored(), devices);
        let ended: HashSet<_> = changes.ended().collect();
        let stays = |entry: &Arc<DeviceEntry>| !ended.contains(&entry.settings.id);
        let kept: BTreeSet<_> =
            self.devices().iter().filter(|entry| stays(entry)).map(|entry| entry.link_path.clone()).collect();
        let old =
            self.devices().into_iter().filter(|entry| !stays(entry)).map(|entry| entry.link_path.clone());
        let began = changes.began();
        let new = devices.iter().zip(&compiled).filter(|(settings, _)| began.contains(&settings.id));
        let new = new.map(|(_, device)| link_path(&device.link));
        let links = old.chain(new).filter(|path| !kept.contains(path));
        let paths: BTreeSet<_> = links.chain(ended.iter().chain(&began).map(|id| device_path(id))).collect();
        drop((ended, began));
        changes.actors = paths.into_iter().collect();
        Ok(changes)
    }

    /// Whether a device could run beside the others: what [`Self::put_device`] would refuse.
    pub fn check_device(&self, settings: &DeviceSettings) -> Result<(), ApplyError> {
        self.compile_beside(settings).map(drop)
    }

    fn compile_beside(&self, settings: &DeviceSettings) -> Result<CompiledDevice, ApplyError> {
        let invalid = |problems: Vec<SettingsProblem>| {
            ApplyError::Invalid(problems.into_iter().map(|problem| (settings.id.clone(), problem)).collect())
        };
        let device = plc::compile(settings).map_err(invalid)?;
        let differs = |entry: &Arc<DeviceEntry>| {
            let link = &entry.device.link;
            entry.settings.id != settings.id && link.target == device.link.target && *link != device.link
        };
        match self.devices().into_iter().find(differs) {
            None => Ok(device),
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
        let compiled = compile_all(&devices)?;
        let mut changes = Changes::between(&self.0.registry.stored(), &devices);
        let mut touched = BTreeSet::new();
        for id in changes.ended() {
            self.end_device(id, &mut links, &mut touched).await?;
        }
        for (settings, device) in devices.into_iter().zip(compiled) {
            if self.0.registry.get(&settings.id).is_none() {
                self.start_device(settings, device, &mut links, &mut touched).await?;
            }
        }
        changes.actors = touched.into_iter().collect();
        Ok(changes)
    }

    /// Adds a device, or changes it.
    pub async fn put_device(&self, settings: DeviceSettings) -> Result<Changes, ApplyError> {
        let mut links = self.0.links.lock().await;
        let device = self.compile_beside(&settings)?;
        let running =
            self.0.registry.get(&settings.id).map(|entry| (settings.id.clone(), entry.stored.clone()));
        let mut changes = Changes::between(&running.into_iter().collect(), std::slice::from_ref(&settings));
        let mut touched = BTreeSet::new();
        if !changes.is_empty() {
            self.end_device(&settings.id, &mut links, &mut touched).await?;
            self.start_device(settings, device, &mut links, &mut touched).await?;
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
        settings: DeviceSettings,
        device: CompiledDevice,
        links: &mut Links,
        touched: &mut BTreeSet<String>,
    ) -> Result<(), TreeError> {
        let (line, worker, is_new) = links.acquire(&device.link, self.0.settings.limits.link_queue);
        let placement = Placement::Worker(worker);
        let link_path = link_path(&device.link);
        let path = device_path(&settings.id);
        let shared = self.0.shared.clone();
        let phases: Vec<_> = device.groups.iter().map(|_| shared.phases.next()).collect();
        let stored = StoredSettings::new(&settings);
        // The tags live on in what was compiled of them.
        let settings = Arc::new(DeviceSettings { tags: Vec::new(), ..settings });
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
            self.begin(LINKS, link::spec(Arc::clone(&line), placement));
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
        self.begin(DEVICES, plc::spec(parts, placement));
        touched.insert(path);
        Ok(())
    }
}

fn device_path(id: &str) -> String {
    format!("{DEVICES}/{}", encode_name(id))
}

/// Compiles every device, or answers every problem of all.
fn compile_all(devices: &[DeviceSettings]) -> Result<Vec<CompiledDevice>, ApplyError> {
    let mut compiled = Vec::with_capacity(devices.len());
    let mut problems = Vec::new();
    let mut ids = HashSet::new();
    let mut links: BTreeMap<String, (&str, LinkSettings)> = BTreeMap::new();
    for settings in devices {
        let mut add = |key: &str, problem: String| {
            problems.push((settings.id.clone(), SettingsProblem { key: key.to_owned(), problem }));
        };
        if !ids.insert(&settings.id) {
            add("id", "another device has this id; ids must differ".to_owned());
        }
        match plc::compile(settings) {
            Ok(device) => {
                let target = device.link.target.to_string();
                let (first, link) = links.entry(target).or_insert((&settings.id, device.link.clone()));
                if *link != device.link {
                    add("address", shared_link_problem(first));
                }
                compiled.push(device);
            }
            Err(found) => problems.extend(found.into_iter().map(|problem| (settings.id.clone(), problem))),
        }
    }
    if problems.is_empty() { Ok(compiled) } else { Err(ApplyError::Invalid(problems)) }
}

fn link_path(link: &LinkSettings) -> String {
    format!("{LINKS}/{}", encode_name(&link.target.to_string()))
}

fn shared_link_problem(first: &str) -> String {
    format!(
        "is the connection of device {first:?} too, but connect_timeout, pause_after_connect or \
         pause_between_requests differ; give both the same"
    )
}
