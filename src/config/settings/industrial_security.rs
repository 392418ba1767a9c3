//! `industrial_security`: what a plant asks for beyond a secure connection.
//!
//! What it says of devices is decided here: no device that it refuses is ever spoken to.

use bifrost_actors::plc::{DeviceSettings, Plaintext, Protocol};
use serde::{Deserialize, Serialize};

/// The section `industrial_security`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndustrialSecuritySettings {
    /// Whether values are encrypted on their way to brokers.
    pub encrypt_tag_data: bool,
    /// Whether devices must show a certificate; those on a serial line can't, and needn't.
    pub require_device_certs: bool,
    /// Whether every operation is written to the audit trail.
    pub audit_all_operations: bool,
    /// Which protocols must be encrypted.
    pub protocol_encryption: ProtocolEncryption,
    /// Which standard is reported against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compliance_mode: Option<ComplianceMode>,
}

impl IndustrialSecuritySettings {
    /// Why a device mustn't be spoken to as its settings have it: the key, and what to do.
    pub fn refusal(&self, device: &DeviceSettings) -> Option<(&'static str, String)> {
        let serial = device.address.starts_with('/');
        let plain = matches!(device.protocol, Protocol::ModbusTcp | Protocol::ModbusRtu) && !serial;
        if !plain {
            return None;
        }
        let protocol = device.protocol.as_str();
        if self.require_device_certs {
            let reason = format!(
                "{protocol} shows no certificate, which industrial_security.require_device_certs asks for; use \
                 modbus-tls"
            );
            return Some(("protocol", reason));
        }
        if self.protocol_encryption.modbus && device.plaintext != Some(Plaintext::Allowed) {
            let reason = format!(
                "{protocol} isn't encrypted, which industrial_security.protocol_encryption.modbus asks for; use \
                 modbus-tls, or make an exception of this device with plaintext: allowed"
            );
            return Some(("protocol", reason));
        }
        None
    }
}

/// The section `industrial_security.protocol_encryption`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtocolEncryption {
    /// Modbus over a network; a device's `plaintext: allowed` is an exception.
    pub modbus: bool,
    /// OPC UA.
    pub opcua: bool,
    /// EtherNet/IP.
    pub ethernetip: bool,
}

/// A standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComplianceMode {
    /// IEC 62443.
    #[serde(rename = "iec62443")]
    Iec62443,
    /// NERC CIP.
    #[serde(rename = "nerc-cip")]
    NercCip,
    /// NIST SP 800-82.
    #[serde(rename = "nist")]
    Nist,
}
