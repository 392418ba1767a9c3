//! The demo's PLCs, and the configuration of a gateway that reads them.

use std::{net::SocketAddr, path::Path};

use bifrost_simulator::{Endpoint, Listener, Preset, PresetKind, Simulator, SimulatorError};
use serde_json::{Value, json};

/// Simulated machines, each on a port of its own.
pub(super) struct Plant {
    pub(super) simulator: Simulator,
    machines: Vec<Preset>,
}

impl Plant {
    /// Starts so many machines on free ports of loopback.
    pub(super) fn start(count: u16) -> Result<Self, SimulatorError> {
        let kinds = PresetKind::ALL;
        let machines: Vec<_> = (0..usize::from(count))
            .map(|index| {
                let kind = kinds[index % kinds.len()];
                let name = format!("{}-{}", kind.as_str().replace('_', "-"), index / kinds.len() + 1);
                kind.build(&name)
            })
            .collect();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = machines.iter().map(|machine| Listener {
            endpoint: Endpoint::Tcp(loopback),
            settings: machine.settings.clone(),
        });
        Ok(Self { simulator: Simulator::start(listeners.collect())?, machines })
    }

    /// A configuration as an operator would write it; JSON is YAML.
    pub(super) fn configuration(&self, port: u16, data_dir: &Path) -> String {
        let plcs = self.simulator.plcs().iter().zip(&self.machines);
        let devices: Vec<_> = plcs
            .map(|(plc, machine)| {
                json!({
                    "id": plc.name(),
                    "protocol": "modbus-tcp",
                    "address": plc.endpoint().address().map(|address| address.to_string()),
                    "poll_interval": "500ms",
                    "tags": machine.points.iter().map(tag).collect::<Vec<_>>(),
                })
            })
            .collect();
        let configuration = json!({
            "gateway": {
                "id": "demo",
                "site_id": "demo-plant",
                "data_dir": data_dir,
                "port": port,
            },
            "discovery": { "allowed_ranges": ["127.0.0.0/8"] },
            "devices": devices,
        });
        format!("{configuration:#}")
    }
}

fn tag(point: &bifrost_simulator::Point) -> Value {
    serde_json::to_value(point).unwrap_or_default()
}
