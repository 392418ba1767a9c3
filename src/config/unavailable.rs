//! What the configuration may say and this version can't do. A later version removes rows.

use bifrost_actors::plc::Protocol;

use super::{Config, KeyManagementSettings, Problem};

const OFF: &str = "is not part of this version; set it to false or remove it";
const REMOVE: &str = "is not part of this version; remove it";

/// Whether this version speaks a protocol.
pub(super) fn is_available(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::ModbusTcp | Protocol::ModbusRtu | Protocol::ModbusTls)
}

/// What to say of one that it doesn't speak.
pub(super) fn protocol_reason(protocol: Protocol) -> String {
    format!(
        "{} is not part of this version; use modbus-tcp, modbus-tls or modbus-rtu, or remove the device",
        protocol.as_str()
    )
}

impl Config {
    /// Keys that ask for what this version can't do. None is ever ignored in silence: whoever runs the
    /// gateway is told that it would do less than was asked of it. [`Config::load`] reports these too, unless
    /// only the syntax is asked about.
    pub fn unavailable(&self) -> Vec<Problem> {
        let mut problems = self.devices();
        problems.extend(self.security());
        problems.extend(self.messaging());
        problems.extend(self.industrial_security());
        problems
    }

    fn devices(&self) -> Vec<Problem> {
        let devices = self.devices.iter().enumerate().filter(|(_, device)| !is_available(device.protocol));
        let problem = |(n, device): (usize, &bifrost_actors::plc::DeviceSettings)| {
            Problem::of(format!("devices[{n}].protocol"), protocol_reason(device.protocol))
        };
        let unavailable = devices.map(problem);
        let exposed = self.devices.iter().enumerate().filter_map(|(n, device)| {
            let (key, reason) = self.industrial_security.refusal(device)?;
            Some(Problem::of(format!("devices[{n}].{key}"), reason))
        });
        unavailable.chain(exposed).collect()
    }

    fn security(&self) -> Vec<Problem> {
        let security = &self.security;
        let keys = KeyManagementSettings::default();
        let rows = [
            ("encryption.enabled", security.encryption.enabled, OFF),
            (
                "certificates.auto_rotate",
                security.certificates.auto_rotate && security.certificates.issuer.is_none(),
                "needs somebody who renews: name the folder of bifrost pki in security.certificates.issuer.folder",
            ),
            ("key_management.provider", security.key_management.provider != keys.provider, REMOVE),
            ("key_management.vault_address", security.key_management.vault_address.is_some(), REMOVE),
            ("key_management.key_rotation_enabled", security.key_management.key_rotation_enabled, OFF),
            ("key_management.backup_encryption", security.key_management.backup_encryption, OFF),
            (
                "key_management.key_rotation_interval",
                security.key_management.key_rotation_interval != keys.key_rotation_interval,
                REMOVE,
            ),
        ];
        asked_for("security", rows)
    }

    fn messaging(&self) -> Vec<Problem> {
        let mqtt = self.messaging.mqtt().map(|(key, _, broker)| (key, broker.enabled, broker.encrypt));
        let nats = self.messaging.nats().map(|(key, _, cluster)| (key, cluster.enabled, cluster.encrypt));
        let asked = mqtt.chain(nats).filter(|(_, enabled, encrypt)| *enabled && *encrypt == Some(true));
        asked.map(|(key, ..)| Problem::of(format!("messaging.{key}.encrypt"), OFF)).collect()
    }

    fn industrial_security(&self) -> Vec<Problem> {
        let asked = &self.industrial_security;
        let protocols = &asked.protocol_encryption;
        let rows = [
            ("encrypt_tag_data", asked.encrypt_tag_data, OFF),
            ("protocol_encryption.opcua", protocols.opcua, OFF),
            ("protocol_encryption.ethernetip", protocols.ethernetip, OFF),
            ("compliance_mode", asked.compliance_mode.is_some(), REMOVE),
        ];
        asked_for("industrial_security", rows)
    }
}

fn asked_for<const N: usize>(section: &str, rows: [(&str, bool, &str); N]) -> Vec<Problem> {
    let asked = rows.into_iter().filter(|(_, asked, _)| *asked);
    asked.map(|(key, _, reason)| Problem::of(format!("{section}.{key}"), reason)).collect()
}
