//! What the handlers share.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bifrost_actors::{
    gateway::{DeviceEntry, Gateway},
    plc::DevicePorts,
    router::RouterPorts,
};
use bifrost_security::{
    accounts::Authority,
    audit::AuditSink,
    tls::{Peer, ServerIdentity},
};
use tokio::sync::{Mutex, Semaphore};

use super::{
    control::ConfigControl,
    discover::{self, DiscoverySettings},
    error::{Kind, Problem},
    readiness::Readiness,
    settings::ApiSettings,
};

/// What the handlers share; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    gateway: Gateway,
    control: Arc<dyn ConfigControl>,
    readiness: Readiness,
    settings: Arc<ApiSettings>,
    discovery: Arc<DiscoverySettings>,
    /// What HTTPS shows; none: plain HTTP.
    identity: Option<ServerIdentity>,
    /// One change of the configuration at a time: who looks and then changes must not be overtaken.
    pub(super) changing: Arc<Mutex<()>>,
    /// One discovery at a time: two would share neither their bounds nor the network's patience.
    pub(super) discovering: Arc<Mutex<()>>,
    /// Places for WebSocket clients.
    pub(super) websocket_places: Arc<Semaphore>,
    authority: Arc<Authority>,
    audit: Arc<dyn AuditSink>,
    /// Passwords that are checked at a time: each takes memory and a core.
    pub(super) checking: Arc<Semaphore>,
    started: Instant,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl ApiState {
    /// The running gateway, who keeps its configuration, and what it waits for.
    pub fn new(
        gateway: Gateway,
        control: Arc<dyn ConfigControl>,
        readiness: Readiness,
        settings: ApiSettings,
        discovery: DiscoverySettings,
        authority: Arc<Authority>,
        audit: Arc<dyn AuditSink>,
    ) -> Self {
        Self {
            gateway,
            control,
            readiness,
            websocket_places: Arc::new(Semaphore::new(settings.websocket_max_clients)),
            settings: Arc::new(settings),
            discovery: Arc::new(discovery),
            identity: None,
            changing: Arc::default(),
            discovering: Arc::default(),
            authority,
            audit,
            checking: Arc::new(Semaphore::new(2)),
            started: Instant::now(),
        }
    }

    /// Served over HTTPS, with this certificate.
    #[must_use]
    pub fn over_tls(mut self, identity: ServerIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    pub(super) fn identity(&self) -> Option<&ServerIdentity> {
        self.identity.as_ref()
    }

    /// Whether the connection's certificate was revoked since its handshake: then it is good for nothing any more.
    pub(super) fn has_revoked(&self, peer: Option<&Peer>) -> bool {
        self.identity.as_ref().zip(peer).is_some_and(|(identity, peer)| identity.has_revoked(peer))
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(super) fn control(&self) -> Arc<dyn ConfigControl> {
        Arc::clone(&self.control)
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    pub(super) fn settings(&self) -> &ApiSettings {
        &self.settings
    }

    pub(super) fn discovery(&self) -> &DiscoverySettings {
        &self.discovery
    }

    /// Who may come in.
    pub(super) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Who takes note.
    pub(super) fn audit(&self) -> &Arc<dyn AuditSink> {
        &self.audit
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The device of this id, or 404.
    pub(super) fn device(&self, id: &str) -> Result<Arc<DeviceEntry>, Problem> {
        self.gateway.device(id).ok_or_else(|| Problem::unknown_device(id))
    }

    /// The router, or 503 while it is being rebuilt.
    pub(super) fn router(&self) -> Result<RouterPorts, Problem> {
        self.gateway.router().ok_or_else(|| rebuilt("the router"))
    }

    /// The bounds of every request.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            max_body: usize::try_from(self.settings.max_body.0).unwrap_or(usize::MAX),
            body_time: self.settings.client_request_timeout,
            answer_time: self.settings.request_timeout,
            discovery_time: self.settings.request_timeout + self.discovery.deadline,
            identity: self.identity.clone(),
        }
    }
}

/// The bounds of every request.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Largest body, in bytes.
    pub(super) max_body: usize,
    /// How long a body may take to arrive.
    pub(super) body_time: Duration,
    /// How long an answer may take to be made …
    pub(super) answer_time: Duration,
    /// … and that of discovery, which keeps a deadline of its own.
    pub(super) discovery_time: Duration,
    /// Who this is, over HTTPS.
    pub(super) identity: Option<ServerIdentity>,
}

impl Bounds {
    /// How long an answer at this path may take.
    pub(super) fn answer_time(&self, path: &str) -> Duration {
        if path == discover::PATH { self.discovery_time } else { self.answer_time }
    }
}

/// The device's actor, or 503 while it is being rebuilt.
pub(super) fn ports(device: &DeviceEntry) -> Result<DevicePorts, Problem> {
    device.ports.get().ok_or_else(|| rebuilt(&format!("the actor of device {:?}", device.settings.id)))
}

/// Somebody isn't there now and comes back.
pub(super) fn rebuilt(who: &str) -> Problem {
    Problem::new(
        Kind::NotReady,
        format!("{who} is stopped or being rebuilt; ask again, and see GET /api/actors"),
    )
}
