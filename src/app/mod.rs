//! The composition: configuration, gateway and HTTP put together, run, and drained.
//!
//! The only part that knows everything; it decides nothing that one of its parts could decide.

mod certificate;
mod control;
pub mod development;
mod difference;
mod identity;
pub mod logging;
pub mod signals;

use std::{net::TcpListener, os::unix::process::CommandExt as _, process::ExitCode, sync::Arc};

use actix_web::dev::ServerHandle;
use bifrost_actors::{
    audit::AuditSettings,
    certificate_rotator::RotatorSettings,
    gateway::{ApplyError, Gateway, GatewaySettings, StartError},
    supervision::Arbiters,
};
use bifrost_security::{
    audit::{AuditSink as _, Category, Entry, Outcome, Source},
    tls::{ServerError, ServerIdentity},
};
use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

use self::{
    control::Control,
    identity::IdentityError,
    signals::{Signals, Told},
};
use crate::{
    api::{self, ApiSettings, ApiState, ControlError, Readiness},
    config::{Config, LoadOptions, host_name, overlay::OverlayError},
};

/// Why the gateway can't start.
#[derive(Debug, Error)]
pub enum AppError {
    /// Somebody else listens there, or the address isn't this machine's.
    #[error("can't listen on {address}: {source}; set gateway.port or gateway.bind to what is free")]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// HTTPS has nothing to show.
    #[error(
        "HTTPS needs a certificate, and security.certificates names none: make one (bifrost pki init, bifrost pki \
         issue server NAME) or take your own, and name it in cert_file and key_file; or, to try things out, start \
         with --development-certificate"
    )]
    NoCertificate,
    /// HTTPS can't be served with what the configuration names.
    #[error("HTTPS can't be served: {0}")]
    Tls(#[from] ServerError),
    /// The operating system lets no signals through.
    #[error("can't listen for signals: {0}")]
    Signals(std::io::Error),
    /// What was changed at run time can't be read.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The gateway itself can't start.
    #[error(transparent)]
    Gateway(#[from] StartError),
    /// Its devices can't.
    #[error(transparent)]
    Devices(#[from] ApplyError),
    /// Nobody could come in.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What was changed at run time doesn't fit the configuration.
    #[error("{0}; the changes made at run time are in devices.json of gateway.data_dir")]
    Control(#[from] ControlError),
}

/// A running gateway with its HTTP interface.
pub struct App {
    config: Config,
    gateway: Gateway,
    control: Arc<Control>,
    server: ServerHandle,
    signals: Signals,
    url: String,
    identity: Option<ServerIdentity>,
    first_password: Option<Zeroizing<String>>,
}

impl App {
    /// Binds, starts the tree, serves HTTP and applies the devices; must be called inside an actix system.
    /// `options` say where the configuration came from, so that it can be read again.
    pub async fn build(mut config: Config, options: LoadOptions) -> Result<Self, AppError> {
        let signals = Signals::listen().map_err(AppError::Signals)?;
        let identity = certificate::of(&config)?;
        let listener = bind(&config)?;
        let scheme = if identity.is_some() { "https" } else { "http" };
        let url = listener.local_addr().map(|address| format!("{scheme}://{address}")).unwrap_or_default();
        let gateway = Gateway::start(settings(&config, identity.as_ref()), arbiters(&config)).await?;
        let devices = std::mem::take(&mut config.devices);
        let control = Arc::new(Control::new(gateway.clone(), config.clone(), options)?);
        let (authority, first_password) = identity::open(&config)?;
        actix_rt::spawn(identity::watch(Arc::clone(&authority)));
        let readiness = Readiness::default();
        readiness.waits_for("configuration", "the configuration isn't applied yet");
        let state = ApiState::new(
            gateway.clone(),
            Arc::clone(&control) as _,
            readiness.clone(),
            api_settings(&config),
            config.discovery.clone(),
            authority,
            Arc::new(gateway.audit().clone()),
        );
        let state = match &identity {
            Some(identity) => state.over_tls(identity.clone()),
            None => state,
        };
        let listen = |source| AppError::Listen { address: url.clone(), source };
        let server = api::serve(listener, state).map_err(listen)?;
        let handle = server.handle();
        actix_rt::spawn(server);
        let app = Self { config, gateway, control, server: handle, signals, url, identity, first_password };
        app.record_start();
        app.control.apply(devices).await?;
        readiness.done("configuration");
        app.say_hello();
        Ok(app)
    }

    fn record_start(&self) {
        let entry = Entry::new(Source::gateway(), Category::SystemEvent, "start", Outcome::Success);
        let detail =
            json!({ "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "url": self.url });
        self.gateway.audit().tell(entry.with(detail));
    }

    /// The trail's last record; how it went is seen by what follows.
    fn record_stop(&self) {
        let entry = Entry::new(Source::gateway(), Category::SystemEvent, "stop", Outcome::Begun);
        self.gateway.audit().tell(entry);
    }

    fn say_hello(&self) {
        let gateway = &self.config.gateway;
        let (devices, url) = (self.gateway.devices().len(), &self.url);
        tracing::info!(
            url,
            devices,
            version = env!("CARGO_PKG_VERSION"),
            gateway = gateway.id,
            site = gateway.site_id,
            data_dir = %gateway.data_dir.display(),
            "gateway runs"
        );
        certificate::say(self.identity.as_ref());
    }

    /// What HTTPS shows.
    pub fn identity(&self) -> Option<&ServerIdentity> {
        self.identity.as_ref()
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The password that was made for `admin`, because there was no account: to be shown once.
    pub fn take_first_password(&mut self) -> Option<Zeroizing<String>> {
        self.first_password.take()
    }

    /// The gateway within.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Runs until a signal or the tree's failure ends it, reloads on SIGHUP, then drains.
    pub async fn run_until_told(mut self) -> ExitCode {
        let failed = loop {
            tokio::select! {
                told = self.signals.next() => match told {
                    Told::Stop => break false,
                    // Beside: a reload that takes long mustn't hold up a stop.
                    Told::Reload => {
                        certificate::reload(self.identity.as_ref());
                        drop(actix_rt::spawn(Arc::clone(&self.control).reload_and_log()));
                    }
                },
                reason = self.gateway.failed() => {
                    tracing::error!(reason, "the gateway can't go on; drains and ends for its manager to restart");
                    break true;
                }
            }
        };
        let clean = self.drain().await;
        if failed || !clean { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Runs something beside the gateway until a signal, the gateway's failure or `until` ends it; drains.
    pub async fn run_beside(
        mut self,
        beside: impl Future<Output = ()>,
        until: impl Future<Output = ()>,
    ) -> ExitCode {
        let failed = tokio::select! {
            () = self.signals.stop() => false,
            () = until => false,
            () = beside => false,
            _ = self.gateway.failed() => true,
        };
        let clean = self.drain().await;
        if failed || !clean { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Stops polling, then everything else, within the configured limit. A second signal ends the process at
    /// once. Answers whether everything had ended in time.
    pub async fn drain(mut self) -> bool {
        let limit = self.config.gateway.shutdown_timeout;
        tracing::info!(?limit, "stopping; one more signal would end it at once");
        self.record_stop();
        let stop = async {
            let clean = self.gateway.drain(limit).await;
            self.server.stop(true).await;
            clean
        };
        let clean = tokio::select! {
            clean = stop => clean,
            () = self.signals.stop() => {
                tracing::warn!("ended at once, as told by a second signal");
                // What hangs must not keep the process any longer.
                std::process::exit(1);
            }
        };
        tracing::info!(clean, "stopped");
        clean
    }
}

fn bind(config: &Config) -> Result<TcpListener, AppError> {
    let address = (config.gateway.bind, config.gateway.port);
    TcpListener::bind(address)
        .map_err(|source| AppError::Listen { address: format!("{}:{}", address.0, address.1), source })
}

fn settings(config: &Config, identity: Option<&ServerIdentity>) -> GatewaySettings {
    let certificates = &config.security.certificates;
    GatewaySettings {
        gateway_id: config.gateway.id.as_str().into(),
        site_id: config.gateway.site_id.as_str().into(),
        data_dir: config.gateway.data_dir.clone(),
        supervision: config.supervision.clone(),
        limits: config.limits.clone(),
        dead_letters: config.messaging.dead_letters.clone(),
        hostname: host_name().into(),
        brokers: config.messaging.brokers(),
        audit: audit_settings(config),
        certificates: RotatorSettings {
            identity: identity.cloned(),
            issuer: certificates.issuer.clone().filter(|_| certificates.auto_rotate),
            interval: certificates.rotation_interval,
        },
    }
}

/// Who wants every operation on record wants it there before anything happens.
fn audit_settings(config: &Config) -> AuditSettings {
    let audit = config.security.audit.clone();
    let first = audit.record_writes_first || config.industrial_security.audit_all_operations;
    AuditSettings { record_writes_first: first, ..audit }
}

/// REST's settings with those that the configuration names elsewhere.
fn api_settings(config: &Config) -> ApiSettings {
    let performance = &config.gateway.performance;
    ApiSettings {
        max_connections: performance.max_connections,
        client_request_timeout: performance.read_timeout,
        request_timeout: performance.write_timeout,
        record_everything: config.industrial_security.audit_all_operations,
        handshake_timeout: performance.handshake_timeout,
        ..config.api.clone()
    }
}

/// Threads for devices, and one for each broker.
fn arbiters(config: &Config) -> Arbiters {
    Arbiters::start(device_threads(config)).with_brokers(config.messaging.brokers().len())
}

/// One thread per core, or as many as were asked for.
fn device_threads(config: &Config) -> usize {
    match config.gateway.device_threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}

/// Starts the process anew, once, with one heap for all threads, unless somebody has decided that already.
///
/// glibc gives each thread a heap of its own, and what one thread freed no other can use: what reading a large
/// configuration took would stay unused for good. Only its environment can say otherwise. See
/// `docs/decisions/0003-one-heap.md`.
pub fn share_one_heap() {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    let mut arguments = std::env::args_os();
    if let (None, Ok(program), Some(name)) =
        (std::env::var_os(ARENAS), std::env::current_exe(), arguments.next())
    {
        // Returns only when it failed; then memory is all that is lost.
        let _ = std::process::Command::new(program).arg0(name).args(arguments).env(ARENAS, "1").exec();
    }
}

/// Lets the process open as many files as it may: each device takes one, and the usual soft limit is 1024.
pub fn open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is; many devices may need more (ulimit -n)");
    }
}
