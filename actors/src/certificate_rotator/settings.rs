//! Which certificates there are, and who renews the gateway's.

use std::{path::PathBuf, time::Duration};

use bifrost_security::tls::ServerIdentity;
use serde::{Deserialize, Serialize};

/// Who renews the gateway's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The folder of `bifrost pki` whose gateway authority has issued it.
    pub folder: PathBuf,
    /// Its name there; absent: the common name in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What the rotator is told.
#[derive(Debug, Clone, Default)]
pub struct RotatorSettings {
    /// What HTTPS shows; none: plain HTTP.
    pub identity: Option<ServerIdentity>,
    /// Who renews it; none: nobody does.
    pub issuer: Option<IssuerSettings>,
    /// How often it is looked whether a renewal is due.
    pub interval: Duration,
}
