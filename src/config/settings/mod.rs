//! What the sections of the configuration may say: shapes, defaults and what can't work.
//!
//! Each section lives beside its owner, in `bifrost-actors` or [`crate::api`]; these are those of the process
//! itself, and those of parts that are still to come.

mod gateway;
mod industrial_security;
mod logging;
mod messaging;
mod security;
mod tls;

pub use bifrost_actors::size::ByteSize;
pub use gateway::{GatewaySection, PerformanceSettings, host_name};
pub use industrial_security::{ComplianceMode, IndustrialSecuritySettings, ProtocolEncryption};
pub use logging::{LogFormat, LoggingSettings};
pub use messaging::MessagingSettings;
pub use security::{
    Algorithms, CertificateSettings, EncryptionLevel, EncryptionSettings, KeyManagementSettings, KeyProvider,
    SecuritySettings,
};
pub use tls::TlsSection;

use std::time::Duration;

/// A key below the section, and what is wrong with its value.
pub(crate) type Flaw = (String, String);

fn flaw(key: impl Into<String>, problem: impl Into<String>) -> Flaw {
    (key.into(), problem.into())
}

/// Those of a section inside this one.
fn below(key: &str, flaws: Vec<Flaw>) -> impl Iterator<Item = Flaw> {
    flaws.into_iter().map(move |(inner, problem)| (format!("{key}.{inner}"), problem))
}

/// Times that must pass.
fn zero_durations<const N: usize>(times: [(&str, Duration); N]) -> Vec<Flaw> {
    let zero = times.into_iter().filter(|(_, time)| time.is_zero());
    zero.map(|(key, _)| flaw(key, "must be more than zero, such as 30s")).collect()
}

/// Numbers that must be at least one.
fn zero_numbers<const N: usize>(numbers: [(&str, usize); N]) -> Vec<Flaw> {
    let zero = numbers.into_iter().filter(|(_, number)| *number == 0);
    zero.map(|(key, _)| flaw(key, "must be at least 1")).collect()
}
