//! The gateway as a whole: what stops when, and what happens when something doesn't.

use std::{path::Path, time::Duration};

use bifrost_actors::{
    dead_letters::DeadLetterSettings,
    gateway::{Gateway, GatewaySettings, LimitSettings},
    supervision::{Arbiters, ChildState, SupervisionSettings},
    testing::{Probe, adopt, device_settings, in_virtual_time},
};
use tokio::time::Instant;

use crate::ms;

async fn gateway(folder: &Path) -> Gateway {
    let settings = GatewaySettings {
        audit: bifrost_actors::audit::AuditSettings::default(),
        certificates: bifrost_actors::certificate_rotator::RotatorSettings::default(),
        gateway_id: "gw-1".into(),
        site_id: "plant-a".into(),
        hostname: "host".into(),
        brokers: Vec::new(),
        data_dir: folder.to_owned(),
        supervision: SupervisionSettings::default(),
        limits: LimitSettings::default(),
        dead_letters: DeadLetterSettings::default(),
    };
    Gateway::start(settings, Arbiters::start(0)).await.unwrap()
}

#[test]
fn draining_stops_polling_first_and_the_store_of_numbers_last() {
    in_virtual_time(async {
        let folder = tempfile::tempdir().unwrap();
        let gateway = gateway(folder.path()).await;
        gateway.apply(vec![device_settings("press-1", ms(1000), 1)]).await.unwrap();
        let probe = Probe::new("client");
        adopt(&gateway, "client", &probe).await.unwrap();
        assert!(gateway.drain(Duration::from_secs(10)).await);
        assert_eq!(probe.living(), 0);
        let mut since = Vec::new();
        for path in ["devices/press-1", "links", "clients", "commands", "dead_letters", "router", "sequence"]
        {
            let node = gateway.tree(path, false).await.unwrap();
            assert_eq!(node.state, ChildState::Stopped, "{path}");
            since.push(node.since);
        }
        assert!(since.is_sorted(), "{since:?}");
    });
}

#[test]
fn draining_ends_in_time_although_an_actor_refuses_to_stop() {
    in_virtual_time(async {
        let folder = tempfile::tempdir().unwrap();
        let gateway = gateway(folder.path()).await;
        let probe = Probe::stubborn("client");
        adopt(&gateway, "client", &probe).await.unwrap();
        let asked = Instant::now();
        assert!(!gateway.drain(ms(500)).await, "it hasn't ended within the limit");
        assert!(asked.elapsed() <= ms(510), "{:?}", asked.elapsed());
        assert_eq!(gateway.tree("router", false).await.unwrap().state, ChildState::Stopped);
        let asked = Instant::now();
        assert!(gateway.drain(Duration::from_secs(10)).await, "it was dropped meanwhile");
        assert!(asked.elapsed() < ms(2500), "{:?}", asked.elapsed());
        assert_eq!(probe.living(), 0);
    });
}

#[test]
fn a_gateway_whose_core_fails_beyond_all_budgets_says_that_it_has_failed() {
    in_virtual_time(async {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("sequence");
        std::fs::create_dir(&blocked).unwrap();
        let gateway = gateway(folder.path()).await;
        let reason = tokio::time::timeout(Duration::from_hours(1), gateway.failed()).await.unwrap();
        assert!(reason.contains("sequence"), "{reason}");
        assert!(reason.contains(&*blocked.to_string_lossy()), "the reason names what to look at: {reason}");
    });
}

#[test]
fn one_data_directory_serves_one_gateway() {
    in_virtual_time(async {
        let folder = tempfile::tempdir().unwrap();
        let first = gateway(folder.path()).await;
        let settings = first.settings().clone();
        let second = Gateway::start(settings, Arbiters::start(0)).await;
        assert!(second.err().unwrap().to_string().contains("another gateway"));
        assert!(first.drain(Duration::from_secs(10)).await);
    });
}
