//! A certificate for trying things out: from an authority of its own, in the data directory, for this machine.
//!
//! Made only when somebody asks for it. Its authority's key isn't encrypted: it is worth nothing elsewhere.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bifrost_security::pki::{
    Folder, KeyAlgorithm, KeySource, Order, PkiError, Profile, Setup, Status, Subject,
};

use crate::config::{CertificateSettings, Config, LoadOptions, host_name};

/// The name of its files.
const NAME: &str = "gateway";

/// Lives below the data directory.
const FOLDER: &str = "development-ca";

/// One that lives no longer than this is renewed at the start.
const A_WEEK: Duration = Duration::from_hours(7 * 24);

/// Where its authority's certificate is: clients that trust it trust the gateway.
pub fn authority_file(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER).join("root.pem")
}

/// Makes one, or takes the one that was made before, and lets the configuration name it: now, and whenever
/// `options` are read again.
pub fn install(config: &mut Config, options: &mut LoadOptions) -> Result<(), PkiError> {
    let files = provide(&config.gateway.data_dir)?;
    let named = [("ca_file", &files.ca_file), ("cert_file", &files.cert_file), ("key_file", &files.key_file)];
    for (key, file) in named {
        let file = file.iter().map(|file| file.display().to_string());
        options.flags.extend(file.map(|file| (format!("security.certificates.{key}"), file)));
    }
    let CertificateSettings { ca_file, cert_file, key_file, .. } = files;
    let certificates = &mut config.security.certificates;
    (certificates.ca_file, certificates.cert_file, certificates.key_file) = (ca_file, cert_file, key_file);
    Ok(())
}

fn provide(data_dir: &Path) -> Result<CertificateSettings, PkiError> {
    let path = data_dir.join(FOLDER);
    let mut folder = match Folder::open(&path) {
        Err(PkiError::NoAuthority(_)) => create(&path)?,
        opened => opened?,
    };
    let current = folder.records().iter().rfind(|record| record.name == NAME);
    match current {
        Some(record) if record.status_now() == Status::Valid && record.remaining() > A_WEEK => {}
        Some(_) => drop(folder.renew(NAME, None, &KeySource::default())?),
        None => drop(folder.issue(&order(), &KeySource::default())?),
    }
    Ok(CertificateSettings {
        ca_file: Some(folder.certificate_file(Profile::Root)),
        cert_file: Some(folder.issued_file(NAME)),
        key_file: Some(folder.issued_key_file(NAME)),
        ..CertificateSettings::default()
    })
}

fn create(path: &Path) -> Result<Folder, PkiError> {
    let name = format!("Bifrost development {}", host_name());
    let name = name.chars().take(50).collect();
    Folder::create(path, &Setup { name, algorithm: KeyAlgorithm::default(), passphrase: None })
}

/// For every name by which this machine knows itself.
fn order() -> Order {
    let host = host_name();
    let names = ["localhost", "127.0.0.1", "::1", host.as_str()];
    let names = names.iter().filter_map(|name| name.parse().ok()).collect();
    Order {
        profile: Profile::Server,
        subject: Subject { common_name: "localhost".to_owned(), names, role: None },
        days: None,
        algorithm: KeyAlgorithm::default(),
        name: Some(NAME.to_owned()),
    }
}
