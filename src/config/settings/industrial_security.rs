//! `industrial_security`: what a plant asks for beyond a secure connection.
//!
//! Only read: nothing uses it in this version.

use serde::{Deserialize, Serialize};

/// The section `industrial_security`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndustrialSecuritySettings {
    /// Whether values are encrypted on their way to brokers.
    pub encrypt_tag_data: bool,
    /// Whether devices must show a certificate.
    pub require_device_certs: bool,
    /// Whether every operation is written to the audit trail.
    pub audit_all_operations: bool,
    /// Which protocols must be encrypted.
    pub protocol_encryption: ProtocolEncryption,
    /// Which standard is reported against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compliance_mode: Option<ComplianceMode>,
}

/// The section `industrial_security.protocol_encryption`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtocolEncryption {
    /// Modbus.
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
