//! `/health` and `/readiness`: whether the process lives, and whether it does its work.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json},
};

use super::{
    auth::Access,
    dto::{Health, ReadinessAnswer},
    endpoint::Endpoint,
    state::ApiState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/health").get(Access::Public, health),
        Endpoint::at("/readiness").get(Access::Public, readiness),
    ]
}

/// Answers as long as the process lives; says nothing of devices.
#[utoipa::path(
    get, path = "/health", tag = "operation", operation_id = "get_health",
    responses((status = 200, description = "Alive", body = Health))
)]
pub(super) async fn health(state: Data<ApiState>) -> Json<Health> {
    let uptime_seconds = state.uptime().as_secs();
    Json(Health { status: "ok", uptime_seconds, version: env!("CARGO_PKG_VERSION") })
}

/// Tells whether the configuration is applied and the core is running; says nothing of devices, which may be
/// off for good reasons.
#[utoipa::path(
    get, path = "/readiness", tag = "operation", operation_id = "get_readiness",
    responses(
        (status = 200, description = "Ready", body = ReadinessAnswer),
        (status = 503, description = "Not ready, with the reasons", body = ReadinessAnswer),
    )
)]
pub(super) async fn readiness(state: Data<ApiState>) -> HttpResponse {
    let mut reasons = state.readiness().reasons();
    if state.gateway().router().is_none() {
        reasons.push("the router is stopped or being rebuilt".to_owned());
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).json(ReadinessAnswer { ready, reasons })
}
