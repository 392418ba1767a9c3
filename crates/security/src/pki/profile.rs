//! What a certificate is for, and what follows from it: who signs it, what it may do, how long it lives.

use std::{fmt, str::FromStr};

use openssl::{
    error::ErrorStack,
    x509::{
        X509Extension,
        extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage},
    },
};

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// The anchor of trust; signs the two authorities below.
    Root,
    /// Signs certificates of servers, clients and signers.
    GatewayCa,
    /// Signs certificates of devices.
    DeviceCa,
    /// A TLS server: the gateway, a broker.
    Server,
    /// A TLS client: an operator, a program, the gateway at a broker.
    Client,
    /// A device, or whoever talks to one, with a role of Modbus/TCP Security: server and client at once.
    Device,
    /// Signs data; no part of TLS.
    Signing,
}

impl Profile {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Root,
        Self::GatewayCa,
        Self::DeviceCa,
        Self::Server,
        Self::Client,
        Self::Device,
        Self::Signing,
    ];

    /// As commands, the index and file names write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::GatewayCa => "gateway-ca",
            Self::DeviceCa => "device-ca",
            Self::Server => "server",
            Self::Client => "client",
            Self::Device => "device",
            Self::Signing => "signing",
        }
    }

    /// Who signs it; the root signs itself.
    #[must_use]
    pub const fn issuer(self) -> Self {
        match self {
            Self::Root | Self::GatewayCa | Self::DeviceCa => Self::Root,
            Self::Server | Self::Client | Self::Signing => Self::GatewayCa,
            Self::Device => Self::DeviceCa,
        }
    }

    /// Whether it signs others.
    pub const fn is_authority(self) -> bool {
        matches!(self, Self::Root | Self::GatewayCa | Self::DeviceCa)
    }

    /// How long it lives, in days, unless somebody says otherwise.
    pub const fn days(self) -> u32 {
        match self {
            Self::Root => 7300,
            Self::GatewayCa | Self::DeviceCa => 3650,
            // As long as Mozilla's recommendations allow a server.
            Self::Server => 90,
            Self::Client | Self::Signing => 365,
            Self::Device => 730,
        }
    }

    /// How long a revocation list of this authority is valid, in days. The root's key is seldom at hand.
    pub const fn crl_days(self) -> u32 {
        if matches!(self, Self::Root) { 365 } else { 30 }
    }

    /// What it may do, as extensions (RFC 5280, 4.2.1.3, 4.2.1.9 and 4.2.1.12).
    pub(super) fn extensions(self) -> Result<Vec<X509Extension>, ErrorStack> {
        let mut basic = BasicConstraints::new();
        let mut usage = KeyUsage::new();
        let (basic, usage) = (basic.critical(), usage.critical());
        let (basic, usage) = match self {
            Self::Root => (basic.ca().pathlen(1), usage.key_cert_sign().crl_sign()),
            Self::GatewayCa | Self::DeviceCa => (basic.ca().pathlen(0), usage.key_cert_sign().crl_sign()),
            Self::Server | Self::Client | Self::Device | Self::Signing => (basic, usage.digital_signature()),
        };
        let mut extended = ExtendedKeyUsage::new();
        let extended = match self {
            Self::Root | Self::GatewayCa | Self::DeviceCa => None,
            Self::Server => Some(extended.server_auth()),
            Self::Client => Some(extended.client_auth()),
            Self::Device => Some(extended.server_auth().client_auth()),
            Self::Signing => Some(extended.code_signing()),
        };
        let mut extensions = vec![basic.build()?, usage.build()?];
        extensions.extend(extended.map(|extended| extended.build()).transpose()?);
        Ok(extensions)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|profile| profile.as_str() == text);
        found.ok_or_else(|| format!("write one of {}", names()))
    }
}

impl serde::Serialize for Profile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Profile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
