//! `/api/security`: how the gateway is secured, and until when.

use actix_web::web::{Data, Json};
use bifrost_actors::certificate_rotator::CertificateRow;
use bifrost_security::{accounts::Permission, audit::AuditSink as _, tls::ServerIdentity};
use serde::Serialize;
use utoipa::ToSchema;

use super::{endpoint::Endpoint, schemas, state::ApiState};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/api/security/certificates").get(Permission::SecurityRead, certificates),
        Endpoint::at("/api/security/status").get(Permission::SecurityRead, status),
    ]
}

/// All certificates that the gateway uses.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateList {
    /// Those that end first come first.
    #[schema(value_type = Vec<schemas::CertificateSchema>)]
    certificates: Vec<CertificateRow>,
    /// How many there are.
    count: usize,
}

/// Lists the certificates that the gateway shows and trusts, those that end first first.
#[utoipa::path(
    get, path = "/api/security/certificates", tag = "security", operation_id = "list_certificates",
    responses((status = 200, description = "All of them", body = CertificateList))
)]
pub(super) async fn certificates(state: Data<ApiState>) -> Json<CertificateList> {
    let mut certificates = state.gateway().certificates();
    certificates.sort_by_key(|row| row.days_left);
    Json(CertificateList { count: certificates.len(), certificates })
}

/// How the gateway is secured now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SecurityStatus {
    /// Whether REST and the live feed are encrypted.
    https: bool,
    /// The oldest version of TLS that is spoken: `1.2` or `1.3`; absent: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_version: Option<&'static str>,
    /// Whether clients show certificates: `none`, `optional` or `required`.
    client_auth: String,
    /// How many accounts there are.
    accounts: usize,
    /// Whether what is done can be recorded.
    audit_writable: bool,
    /// What is less safe than it could be, each with its key.
    findings: Vec<String>,
}

/// Shows how the gateway is secured, and what is less safe than it could be.
#[utoipa::path(
    get, path = "/api/security/status", tag = "security", operation_id = "get_security_status",
    responses((status = 200, description = "As it is now", body = SecurityStatus))
)]
pub(super) async fn status(state: Data<ApiState>) -> Json<SecurityStatus> {
    let tls = state.identity().map(ServerIdentity::settings);
    let client_auth = tls.map(|tls| tls.client_auth).unwrap_or_default();
    let old = tls.is_some_and(|tls| tls.min_version != bifrost_security::tls::TlsVersion::Tls13);
    let min_version = tls.map(|_| if old { "1.2" } else { "1.3" });
    let plain = state.gateway().devices().iter().filter(|entry| entry.settings.tls.is_none()).count();
    let audit_writable = state.gateway().audit().is_writable().is_ok();
    let findings = [
        (tls.is_none(), "gateway.insecure_http: requests and tokens travel in the clear".to_owned()),
        (old, "gateway.tls.min_version: TLS 1.2 is allowed".to_owned()),
        (plain > 0, format!("devices: {plain} are spoken to without encryption")),
        (!audit_writable, "security.audit: nothing can be recorded".to_owned()),
    ];
    Json(SecurityStatus {
        https: tls.is_some(),
        min_version,
        client_auth: serde_json::to_value(client_auth)
            .ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default(),
        accounts: state.authority().book().accounts().len(),
        audit_writable,
        findings: findings.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect(),
    })
}
