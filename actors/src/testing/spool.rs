//! A spool under a plant's tree, with topics and events of its own and no broker.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::plant::Plant;
use crate::{
    broker::{
        Dialect, DownsampleSettings, Encoder, FilterSettings, Identity, Outgoing, Routes, SpoolPorts, Texts,
    },
    spool::{self, ReportSpool, SpoolDesk, SpoolReport, SpoolSettings},
    supervision::{Placement, Slot},
};

/// A message that is refused for this reason makes the spool panic.
pub const FATAL: &str = "scripted panic of the spool";

type Buried = Arc<Mutex<Vec<(Arc<Outgoing>, String)>>>;

/// A spool under test.
#[derive(Clone)]
pub struct SpoolUnderTest {
    /// Its path in the tree.
    pub path: String,
    ports: Slot<SpoolPorts>,
    desk: Slot<SpoolDesk>,
    buried: Buried,
}

impl Plant {
    /// Adds a spool that keeps its files in this folder. Topics are `t/{device_id}` for scans, `e/…` for
    /// events and `a/…` for alarms.
    pub async fn spool_in(&self, folder: &Path, settings: SpoolSettings, mailbox: usize) -> SpoolUnderTest {
        let (ports, desk, buried) = (Slot::empty(), Slot::empty(), Buried::default());
        let grave = Arc::clone(&buried);
        let shared = self.shared();
        let made_of = spool::Parts {
            session: "broker".into(),
            settings: Arc::new(settings),
            folder: folder.to_owned(),
            mailbox,
            ports: ports.clone(),
            desk: desk.clone(),
            router: shared.router.clone(),
            encoder: Arc::new(encoder),
            bury: Arc::new(move |message, reason| {
                assert_ne!(reason, FATAL, "as the test wants it");
                grave.lock().unwrap_or_else(PoisonError::into_inner).push((message, reason));
            }),
            diagnose: None,
            events: shared.events.clone(),
            metrics: Arc::clone(&shared.metrics),
            legacy: Arc::default(),
        };
        let added = self.universe.add("/", spool::spec(made_of, Placement::Home)).await;
        let path = added.unwrap_or_else(|error| panic!("spool: {error}"));
        SpoolUnderTest { path, ports, desk, buried }
    }
}

fn encoder() -> Encoder {
    let identity = Identity { gateway_id: "gw".into(), site_id: "site".into(), hostname: "host".into() };
    let texts = Texts {
        telemetry: "t/{device_id}",
        commands: "c/{device_id}",
        alarms: "a/{device_id}/{alarm_level}",
        events: "e/{device_id}/{event_type}",
        diagnostics: "d/{device_id}/{metric_name}",
    };
    let routes = Arc::new(Routes::new(Dialect::Mqtt, &identity, &texts));
    Encoder::new(identity, routes, &FilterSettings::default(), &DownsampleSettings::default(), true)
}

impl SpoolUnderTest {
    /// The living incarnation's addresses for its session.
    pub fn ports(&self) -> Option<SpoolPorts> {
        self.ports.get()
    }

    /// Those for everybody else.
    pub fn desk(&self) -> Option<SpoolDesk> {
        self.desk.get()
    }

    /// What it says of itself.
    pub async fn report(&self) -> SpoolReport {
        let desk = self.desk().unwrap_or_else(|| panic!("there is no spool now"));
        desk.report.send(ReportSpool).await.unwrap_or_else(|error| panic!("the spool: {error}"))
    }

    /// What went to the dead letters.
    pub fn buried(&self) -> Vec<(Arc<Outgoing>, String)> {
        self.buried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
