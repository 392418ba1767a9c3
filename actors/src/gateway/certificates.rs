//! Which certificates brokers and devices need, as the settings name them.

use std::path::Path;

use super::{
    brokers::{BrokerKind, BrokerSettings},
    devices::Registry,
};
use crate::{broker::TlsSettings, certificate_rotator::Use};

/// All of them now: devices come and go.
pub(super) fn uses(brokers: &[BrokerSettings], registry: &Registry) -> Vec<Use> {
    let of_tls = |name: &str, tls: &TlsSettings| {
        Use::of(name, tls.cert_file.as_deref().map(Path::new), tls.ca_file.as_deref().map(Path::new))
    };
    let of_brokers = brokers.iter().flat_map(|broker| match &broker.kind {
        BrokerKind::Mqtt(settings) => of_tls(&format!("mqtt:{}", broker.name), &settings.tls),
        BrokerKind::Nats(settings) => of_tls(&format!("nats:{}", broker.name), &settings.tls),
    });
    let mut uses: Vec<_> = of_brokers.collect();
    for entry in registry.all() {
        if let Some(tls) = &entry.settings.tls {
            let name = format!("device:{}", entry.settings.id);
            uses.extend(Use::of(&name, tls.cert_file.as_deref(), tls.ca_file.as_deref()));
        }
    }
    uses
}
