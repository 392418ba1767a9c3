//! The configuration while the gateway runs: read again, and changed device by device.

use bifrost_actors::{
    gateway::{ApplyError, Changes, Gateway},
    plc::DeviceSettings,
};
use futures_util::future::LocalBoxFuture;
use tokio::sync::Mutex;

use crate::{
    api::{ConfigControl, ControlError, KeyProblem, ReloadReport},
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

#[derive(Clone)]
struct State {
    config: Config,
    overlay: Overlay,
}

impl Control {
    /// Reads what was changed at run time before.
    pub(super) fn new(gateway: Gateway, config: Config, options: LoadOptions) -> Result<Self, OverlayError> {
        let (overlay, damaged) = Overlay::load(&config.gateway.data_dir)?;
        if let Some(damaged) = damaged {
            tracing::error!("{damaged}");
        }
        for (id, change) in &overlay.devices {
            let what = if change.is_some() { "changed" } else { "removed" };
            tracing::info!(device = id, "{what} at run time; wins over the configuration file");
        }
        Ok(Self { gateway, options, state: Mutex::new(State { config, overlay }) })
    }

    /// Applies the configured devices with what was changed at run time.
    pub(super) async fn apply_all(&self) -> Result<(), ControlError> {
        let state = self.state.lock().await;
        let devices = state.overlay.merge(&state.config.devices);
        self.gateway.apply(devices).await.map_err(refused)?;
        Ok(())
    }

    /// What SIGHUP does: an invalid file changes nothing, and is told.
    pub(super) async fn reload_and_log(&self) {
        match self.reload(false).await {
            Ok(report) => tracing::info!(
                changes = %serde_json::to_string(&report.changes).unwrap_or_default(),
                restart_needed = report.restart_needed.join(", "),
                "configuration reloaded"
            ),
            Err(error) => tracing::error!("nothing was changed: {error}"),
        }
    }

    async fn read_again(&self, dry_run: bool) -> Result<ReloadReport, ControlError> {
        let config = Config::load(&self.options).map_err(|problems| ControlError::Invalid(keys(problems)))?;
        let mut state = self.state.lock().await;
        let restart_needed = Config::restart_needed(&state.config, &config);
        let devices = state.overlay.merge(&config.devices);
        if dry_run {
            return Ok(ReloadReport { applied: false, changes: self.gateway.plan(&devices), restart_needed });
        }
        tracing::info!(
            plan = %serde_json::to_string(&self.gateway.plan(&devices)).unwrap_or_default(),
            "reloading the configuration"
        );
        let changes = self.gateway.apply(devices).await.map_err(refused)?;
        // What needs a restart stays as it was, and is told again at the next reload.
        state.config.devices = config.devices;
        Ok(ReloadReport { applied: true, changes, restart_needed })
    }

    /// Carries a change of the overlay out, and keeps it: kept first, since what can't be kept isn't done.
    async fn change(&self, change: impl FnOnce(&mut State)) -> Result<Changes, ControlError> {
        let mut state = self.state.lock().await;
        let mut wanted = state.clone();
        change(&mut wanted);
        let devices = wanted.overlay.merge(&wanted.config.devices);
        self.gateway.check(&devices).map_err(refused)?;
        let data_dir = &wanted.config.gateway.data_dir;
        wanted.overlay.save(data_dir).map_err(|error| ControlError::NotKept(error.to_string()))?;
        let changes = self.gateway.apply(devices).await.map_err(refused)?;
        *state = wanted;
        Ok(changes)
    }
}

impl ConfigControl for Control {
    fn reload(&self, dry_run: bool) -> LocalBoxFuture<'_, Result<ReloadReport, ControlError>> {
        Box::pin(self.read_again(dry_run))
    }

    fn put_device(&self, device: DeviceSettings) -> LocalBoxFuture<'_, Result<Changes, ControlError>> {
        Box::pin(self.change(|state| state.overlay.put(device)))
    }

    fn remove_device(&self, id: String) -> LocalBoxFuture<'_, Result<Changes, ControlError>> {
        Box::pin(async move {
            if self.gateway.device(&id).is_none() {
                return Err(ControlError::UnknownDevice(id));
            }
            self.change(move |state| state.overlay.remove(&id, &state.config.devices)).await
        })
    }
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
    problems.into_iter().map(|problem| KeyProblem::new(problem.key.clone(), problem.to_string())).collect()
}
