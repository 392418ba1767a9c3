//! Renews the gateway's certificate from its own authority, and puts it where HTTPS reads it. Blocks.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use bifrost_model::Timestamp;
use bifrost_security::{
    pki::{Folder, KeySource},
    tls::{CertificateFacts, ServerSettings, certificate_facts},
};

use super::settings::IssuerSettings;

/// Whether two thirds of its life are over.
pub(super) fn is_due(facts: &CertificateFacts, now: Timestamp) -> bool {
    let life = facts.not_after.as_micros() - facts.not_before.as_micros();
    now.as_micros() - facts.not_before.as_micros() >= life / 3 * 2
}

/// What HTTPS shows, if its time has come.
pub(super) fn due(settings: &ServerSettings, now: Timestamp) -> Option<CertificateFacts> {
    let shown = certificate_facts(&settings.certificate).ok()?.into_iter().next()?;
    is_due(&shown, now).then_some(shown)
}

/// Renews it; answers the new one. What is read meanwhile may be half the old and half the new pair, which
/// doesn't fit and is looked at again.
pub(super) fn renew(
    issuer: &IssuerSettings,
    settings: &ServerSettings,
    shown: &CertificateFacts,
) -> Result<CertificateFacts, String> {
    let name = issuer.name.as_ref().or(shown.common_name.as_ref());
    let name = name.ok_or("the certificate has no common name; give security.certificates.issuer.name")?;
    let mut folder = Folder::open(&issuer.folder).map_err(|error| error.to_string())?;
    let fresh = folder.renew(name, None, &KeySource::default()).map_err(|error| error.to_string())?;
    let key = fresh.key.ok_or("its key wasn't made in the folder; renew it by hand")?;
    replace(&key, &settings.key, 0o600)?;
    replace(&fresh.certificate, &settings.certificate, 0o644)?;
    let facts = certificate_facts(&settings.certificate).map_err(|error| error.to_string())?;
    facts.into_iter().next().ok_or_else(|| "the renewed file holds no certificate".to_owned())
}

/// Puts a copy in the other's place, whole or not at all.
fn replace(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    if same(from, to) {
        return Ok(());
    }
    let at = |error: std::io::Error| format!("{}: {error}", to.display());
    let content =
        zeroize::Zeroizing::new(fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?);
    let new = to.with_extension("new");
    let _ = fs::remove_file(&new);
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new);
    open.and_then(|mut file| file.write_all(&content).and_then(|()| file.sync_all())).map_err(at)?;
    fs::rename(&new, to).map_err(at)
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
