//! `/metrics`: what Prometheus collects.

use actix_web::{HttpResponse, http::header, web::Data};
use bifrost_security::accounts::Permission;
use prometheus::{TEXT_FORMAT, TextEncoder};

use super::{
    endpoint::Endpoint,
    error::{Kind, Problem},
    state::ApiState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::at("/metrics").get(Permission::MetricsRead, metrics)]
}

/// Shows all metrics in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "get_metrics",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(state: Data<ApiState>) -> Result<HttpResponse, Problem> {
    state.gateway().refresh_gauges().await;
    let families = state.gateway().metrics().registry.gather();
    let text = TextEncoder::new()
        .encode_to_string(&families)
        .map_err(|error| Problem::new(Kind::Internal, format!("the metrics can't be written: {error}")))?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT_FORMAT)).body(text))
}
