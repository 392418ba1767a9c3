//! What HTTPS shows: from the configuration's files, and again from them when the process is told to reload.

use bifrost_security::tls::{ServerIdentity, TlsVersion};

use super::AppError;
use crate::config::Config;

/// The identity that the configuration names; none: plain HTTP.
pub(super) fn of(config: &Config) -> Result<Option<ServerIdentity>, AppError> {
    if config.gateway.insecure_http {
        return Ok(None);
    }
    let settings = config.server_tls().ok_or(AppError::NoCertificate)?;
    Ok(Some(ServerIdentity::load(settings)?))
}

/// What an operator should know of it at the start.
pub(super) fn say(identity: Option<&ServerIdentity>) {
    let Some(identity) = identity else {
        tracing::warn!(
            "HTTP is not encrypted: gateway.insecure_http is set, and this machine alone can connect"
        );
        return;
    };
    let settings = identity.settings();
    tracing::info!(
        fingerprint = identity.fingerprint(),
        not_after = %identity.not_after(),
        client_auth = ?settings.client_auth,
        "HTTPS is served"
    );
    if settings.min_version < TlsVersion::Tls13 {
        tracing::warn!(
            "TLS 1.2 is allowed: set gateway.tls.min_version to \"1.3\" as soon as every client can do that"
        );
    }
}

/// Reads the files again; what is no good is told, and changes nothing.
pub(super) fn reload(identity: Option<&ServerIdentity>) {
    let Some(identity) = identity else { return };
    match identity.reload() {
        Ok(true) => {
            let (fingerprint, not_after) = (identity.fingerprint(), identity.not_after());
            tracing::info!(fingerprint, %not_after, "another certificate is shown from now on");
        }
        Ok(false) => {
            tracing::info!("the certificate is the same; authorities and revocation lists were read again");
        }
        Err(error) => tracing::error!("HTTPS goes on with what it has: {error}"),
    }
}
