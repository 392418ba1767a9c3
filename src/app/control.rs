//! The configuration while the gateway runs: read again, and changed device by device.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bifrost_actors::{
    gateway::{ApplyError, Changes, Gateway},
    plc::DeviceSettings,
};
use bifrost_model::{Event, Severity};
use bifrost_security::audit::{AuditSink as _, Category, Entry, Outcome, Source};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::difference::difference;
use crate::{
    api::{ConfigControl, ControlError, KeyProblem, ReloadReport, Who},
    config::{
        Config, LoadOptions, Problem,
        overlay::{Overlay, OverlayError},
    },
};

/// Holds what was configured and what was changed since. Changes go one after the other.
pub(super) struct Control {
    gateway: Gateway,
    options: LoadOptions,
    state: Mutex<State>,
}

struct State {
    /// What was configured, without devices: those run, and nobody needs them twice.
    config: Config,
    /// Which devices the file has.
    in_file: HashSet<String>,
    overlay: Overlay,
}

impl Control {
    /// Reads what was changed at run time before. `config` holds no devices.
    pub(super) fn new(gateway: Gateway, config: Config, options: LoadOptions) -> Result<Self, OverlayError> {
        let (overlay, damaged) = Overlay::load(&config.gateway.data_dir)?;
        if let Some(damaged) = damaged {
            let event = Event::new("", "runtime_changes_damaged", Severity::Error, damaged.to_string());
            gateway.events().record(event);
        }
        for (id, change) in &overlay.devices {
            let what = if change.is_some() { "changed" } else { "removed" };
            tracing::info!(device = id, "{what} at run time; wins over the configuration file");
        }
        let state = State { config, in_file: HashSet::new(), overlay };
        Ok(Self { gateway, options, state: Mutex::new(state) })
    }

    /// Applies the file's devices with what was changed at run time.
    pub(super) async fn apply(&self, devices: Vec<DeviceSettings>) -> Result<Changes, ControlError> {
        let mut state = self.state.lock().await;
        let in_file = devices.iter().map(|device| device.id.clone()).collect();
        let devices = state.overlay.merge(devices);
        check_policy(&state.config, &devices)?;
        let changes = self.gateway.apply(devices).await.map_err(refused)?;
        state.in_file = in_file;
        Ok(changes)
    }

    /// What SIGHUP does: an invalid file changes nothing, and is told.
    pub(super) async fn reload_and_log(self: Arc<Self>) {
        let who = Who { source: Source::gateway(), request_id: None };
        match self.reload(false, who).await {
            Ok(report) => tracing::info!(
                changes = %serde_json::to_string(&report.changes).unwrap_or_default(),
                restart_needed = report.restart_needed.join(", "),
                "configuration reloaded"
            ),
            Err(error) => tracing::error!("nothing was changed: {error}"),
        }
    }

    async fn read_again(&self, dry_run: bool, who: Who) -> Result<ReloadReport, ControlError> {
        let options = self.options.clone();
        let read = actix_rt::task::spawn_blocking(move || Config::load(&options)).await;
        let read = read.map_err(|error| ControlError::Unavailable(error.to_string()))?;
        let mut config = read.map_err(|problems| ControlError::Invalid(keys(problems)))?;
        let devices = std::mem::take(&mut config.devices);
        let (restart_needed, plan) = {
            let state = self.state.lock().await;
            let merged = state.overlay.merge(devices.clone());
            (Config::restart_needed(&state.config, &config), self.gateway.plan(merged).map_err(refused)?)
        };
        if dry_run {
            return Ok(ReloadReport { applied: false, changes: plan, restart_needed });
        }
        tracing::info!(plan = %serde_json::to_string(&plan).unwrap_or_default(), "reloading the configuration");
        let overridden: Vec<_> = self.state.lock().await.overlay.devices.keys().cloned().collect();
        if !overridden.is_empty() {
            tracing::warn!(
                devices = overridden.join(", "),
                "changed at run time: these win over the configuration file (devices.json of data_dir)"
            );
        }
        let before = self.running(plan.changed.iter().map(|change| change.id.as_str()));
        let changes = self.apply(devices).await?;
        self.record(&who, "config_reload", "", &before, &changes, &restart_needed);
        // What needs a restart stays as it was, and is told again at the next reload.
        Ok(ReloadReport { applied: true, changes, restart_needed })
    }

    async fn put(&self, device: DeviceSettings, who: Who) -> Result<Changes, ControlError> {
        let mut state = self.state.lock().await;
        self.gateway.check_device(&device).map_err(refused)?;
        check_policy(&state.config, std::slice::from_ref(&device))?;
        let running = self.gateway.device(&device.id).map(|entry| entry.full_settings());
        if running.as_ref() != Some(&device) {
            // What is as it was stays the configuration file's.
            state.keep(|overlay, _| overlay.put(device.clone()))?;
        }
        let id = device.id.clone();
        let before = self.running([id.as_str()]);
        let changes = self.gateway.put_device(device).await.map_err(refused)?;
        self.tell(&id, &changes);
        self.record(&who, "device_change", &id, &before, &changes, &[]);
        Ok(changes)
    }

    async fn remove(&self, id: String, who: Who) -> Result<Changes, ControlError> {
        let mut state = self.state.lock().await;
        if self.gateway.device(&id).is_none() {
            return Err(ControlError::UnknownDevice(id));
        }
        state.keep(|overlay, in_file| overlay.remove(&id, in_file.contains(&id)))?;
        let before = self.running([id.as_str()]);
        let changes = self.gateway.remove_device(&id).await.map_err(refused)?;
        self.tell(&id, &changes);
        self.record(&who, "device_change", &id, &before, &changes, &[]);
        Ok(changes)
    }

    /// How these devices are configured now.
    fn running<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Value> {
        let settings = |id: &str| {
            let settings = self.gateway.device(id)?.full_settings();
            Some((id.to_owned(), serde_json::to_value(settings).ok()?))
        };
        ids.into_iter().filter_map(settings).collect()
    }

    /// Puts on record what a change changed.
    fn record(
        &self,
        who: &Who,
        kind: &str,
        object: &str,
        before: &BTreeMap<String, Value>,
        changes: &Changes,
        restart_needed: &[String],
    ) {
        let ids = changes.added.iter().chain(&changes.removed).map(String::as_str);
        let ids: Vec<_> = ids.chain(before.keys().map(String::as_str)).collect();
        let after = self.running(ids);
        let as_value = |devices: &BTreeMap<String, Value>| serde_json::to_value(devices).unwrap_or_default();
        let detail = json!({
            "added": changes.added, "removed": changes.removed, "restart_needed": restart_needed,
            "difference": difference(&as_value(before), &as_value(&after)),
        });
        let entry = Entry::new(who.source.clone(), Category::Configuration, kind, Outcome::Success);
        let entry = entry.on(object).with(detail);
        self.gateway.audit().tell(Entry { request_id: who.request_id.clone(), ..entry });
    }

    /// Leaves a trace of what was changed by REST.
    fn tell(&self, id: &str, changes: &Changes) {
        if changes.is_empty() {
            return;
        }
        let (event, message) = match (changes.added.is_empty(), changes.removed.is_empty()) {
            (false, _) => ("device_added", "device added by REST"),
            (_, false) => ("device_removed", "device removed by REST"),
            _ => ("device_changed", "device changed by REST"),
        };
        let data = serde_json::to_value(changes).unwrap_or_default();
        self.gateway.events().record(Event::new(id, event, Severity::Info, message).with(data));
    }
}

impl State {
    /// Changes the overlay and keeps it, before it is carried out: what can't be kept isn't done.
    fn keep(&mut self, change: impl FnOnce(&mut Overlay, &HashSet<String>)) -> Result<(), ControlError> {
        let mut overlay = self.overlay.clone();
        change(&mut overlay, &self.in_file);
        let data_dir = &self.config.gateway.data_dir;
        overlay.save(data_dir).map_err(|error| ControlError::NotKept(error.to_string()))?;
        self.overlay = overlay;
        Ok(())
    }
}

impl ConfigControl for Control {
    fn reload(&self, dry_run: bool, who: Who) -> LocalBoxFuture<'_, Result<ReloadReport, ControlError>> {
        Box::pin(self.read_again(dry_run, who))
    }

    fn put_device(
        &self,
        device: DeviceSettings,
        who: Who,
    ) -> LocalBoxFuture<'_, Result<Changes, ControlError>> {
        Box::pin(self.put(device, who))
    }

    fn remove_device(&self, id: String, who: Who) -> LocalBoxFuture<'_, Result<Changes, ControlError>> {
        Box::pin(self.remove(id, who))
    }
}

/// What `industrial_security` forbids isn't let in by REST either, nor by what was changed before it was asked
/// for.
fn check_policy(config: &Config, devices: &[DeviceSettings]) -> Result<(), ControlError> {
    let refused: Vec<_> = devices
        .iter()
        .filter_map(|device| {
            let (key, reason) = config.industrial_security.refusal(device)?;
            Some(KeyProblem { device_id: Some(device.id.clone()), key: key.to_owned(), reason })
        })
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(ControlError::Invalid(refused)) }
}

fn refused(error: ApplyError) -> ControlError {
    match error {
        ApplyError::Invalid(problems) => ControlError::Invalid(
            problems
                .into_iter()
                .map(|(device, problem)| KeyProblem {
                    device_id: Some(device),
                    key: problem.key,
                    reason: problem.problem,
                })
                .collect(),
        ),
        ApplyError::UnknownDevice(id) => ControlError::UnknownDevice(id),
        ApplyError::Tree(error) => ControlError::Unavailable(error.to_string()),
    }
}

fn keys(problems: Vec<Problem>) -> Vec<KeyProblem> {
    problems.into_iter().map(|problem| KeyProblem::new(problem.key.clone(), place(&problem))).collect()
}

/// The reason with file and line; the key is told beside it.
fn place(problem: &Problem) -> String {
    let file = problem.file.as_ref().map(|file| file.display().to_string());
    let line = problem.line.map(|line| format!("line {line}"));
    let place: Vec<_> = [file, line].into_iter().flatten().collect();
    if place.is_empty() {
        problem.reason.clone()
    } else {
        format!("{} ({})", problem.reason, place.join(", "))
    }
}
