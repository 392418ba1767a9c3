//! The configuration: one `Config` that composes every part's settings.
//!
//! Defaults < file < environment < flags, merged by figment, read once, checked, then frozen. Every problem
//! is reported, with its file, line and key. Devices that were changed at run time are laid over the file's
//! by [`overlay`]. Knows what may be written, never what is done with it.

mod decode;
mod devices;
mod environment;
mod key;
mod layers;
mod load;
pub mod overlay;
mod problem;
mod restart;
mod settings;
mod source;
mod tag_file;
#[cfg(test)]
mod tests;
mod unavailable;

use bifrost_actors::{gateway::LimitSettings, plc::DeviceSettings, supervision::SupervisionSettings};
use bifrost_security::tls::{
    ClientAuth, ClientError, FileError, ServerError, ServerIdentity, ServerSettings,
};
use serde::{Deserialize, Serialize};

use crate::api::{ApiSettings, DiscoverySettings};

pub use devices::check_devices;
pub use environment::process_environment;
pub use load::LoadOptions;
pub use problem::Problem;
pub use settings::*;

/// Everything a user may say, with its defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who this is, where it listens, where it keeps its state.
    pub gateway: GatewaySection,
    /// What is polled; tags of a `tags_file` are among each device's tags.
    pub devices: Vec<DeviceSettings>,
    /// How what fails is rebuilt.
    pub supervision: SupervisionSettings,
    /// Bounds of mailboxes, queues and stores.
    pub limits: LimitSettings,
    /// Bounds of REST and of the live feed.
    pub api: ApiSettings,
    /// Where devices may be searched for.
    pub discovery: DiscoverySettings,
    /// What is logged, and how.
    pub logging: LoggingSettings,
    /// Encryption, certificates, keys, the first account.
    pub security: SecuritySettings,
    /// Brokers.
    pub messaging: MessagingSettings,
    /// What a plant asks for beyond a secure connection.
    pub industrial_security: IndustrialSecuritySettings,
}

impl Config {
    /// How many tags all devices have.
    pub fn tag_count(&self) -> usize {
        self.devices.iter().map(|device| device.tags.len()).sum()
    }

    /// Files named by the configuration that can't be used: those that connections to brokers and devices need,
    /// and those of HTTPS.
    pub fn unreadable_files(&self) -> Vec<Problem> {
        let flaws = self.messaging.unreadable_files().into_iter();
        let of_brokers = flaws.map(|(key, problem)| Problem::of(format!("messaging.{key}"), problem));
        let of_devices = self.devices.iter().enumerate().filter_map(|(n, device)| {
            let problem = match device.tls.as_ref()?.client().check().err()? {
                ClientError::File(FileError { key, path, problem }) => {
                    Problem::of(format!("devices[{n}].tls.{key}"), format!("{} {problem}", path.display()))
                }
                other => Problem::of(format!("devices[{n}].tls"), other.to_string()),
            };
            Some(problem)
        });
        of_brokers.chain(of_devices).chain(self.unusable_identity()).collect()
    }

    fn unusable_identity(&self) -> Option<Problem> {
        let settings = self.server_tls()?;
        let error = ServerIdentity::load(settings.clone()).err()?;
        let key = match &error {
            ServerError::File(error) if error.path == settings.key => "security.certificates.key_file",
            ServerError::File(error) if error.path == settings.certificate => {
                "security.certificates.cert_file"
            }
            ServerError::File(error) if self.gateway.tls.crl_file.as_ref() == Some(&error.path) => {
                "gateway.tls.crl_file"
            }
            ServerError::File(error) if self.gateway.tls.client_ca_file.as_ref() == Some(&error.path) => {
                "gateway.tls.client_ca_file"
            }
            ServerError::File(_) => "security.certificates.ca_file",
            _ => "gateway.tls",
        };
        Some(Problem::of(key, error.to_string()))
    }

    /// What the HTTPS listener is told; nothing: plain HTTP is asked for, or no certificate is named.
    pub fn server_tls(&self) -> Option<ServerSettings> {
        let (certificates, tls) = (&self.security.certificates, &self.gateway.tls);
        if self.gateway.insecure_http {
            return None;
        }
        Some(ServerSettings {
            certificate: certificates.cert_file.clone()?,
            key: certificates.key_file.clone()?,
            authorities: certificates.ca_file.clone(),
            min_version: tls.min_version,
            cipher_suites: tls.cipher_suites.clone(),
            client_auth: tls.client_auth,
            client_authorities: tls.client_ca_file.clone().or_else(|| certificates.ca_file.clone()),
            revocation_lists: tls.crl_file.clone(),
        })
    }

    /// Every value outside the devices that can't work.
    fn problems(&self) -> Vec<Problem> {
        let supervision = self.supervision.validate().into_iter();
        let supervision = supervision.map(|bad| (bad.key, bad.problem.to_owned())).collect();
        let sections: [(&str, Vec<(String, String)>); 8] = [
            ("gateway", self.gateway.flaws()),
            ("supervision", supervision),
            ("limits", owned(self.limits.validate())),
            ("api", owned(self.api.validate())),
            ("discovery", owned(self.discovery.validate())),
            ("logging", self.logging.flaws()),
            ("security", self.security.flaws()),
            ("messaging", self.messaging.flaws()),
        ];
        let problems = sections.into_iter().flat_map(|(section, flaws)| {
            flaws.into_iter().map(move |(key, problem)| Problem::of(format!("{section}.{key}"), problem))
        });
        problems.chain(self.nobody_to_trust()).collect()
    }

    /// Clients' certificates that nobody can check.
    fn nobody_to_trust(&self) -> Option<Problem> {
        let tls = &self.gateway.tls;
        let has_none = tls.client_ca_file.is_none() && self.security.certificates.ca_file.is_none();
        (tls.client_auth != ClientAuth::None && has_none).then(|| {
            let reason = "is missing: client_auth asks for certificates, and nothing says which authority they must \
                          come from; name its file here or in security.certificates.ca_file";
            Problem::of("gateway.tls.client_ca_file", reason)
        })
    }
}

fn owned(flaws: Vec<(&'static str, &'static str)>) -> Vec<(String, String)> {
    flaws.into_iter().map(|(key, problem)| (key.to_owned(), problem.to_owned())).collect()
}
