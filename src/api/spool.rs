//! `/api/spool`: what waits for brokers, since when, and what was dropped.

use actix_web::web::{Data, Json};
use bifrost_security::accounts::Permission;

use super::{dto_brokers::SpoolList, endpoint::Endpoint, state::ApiState};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::at("/api/spool").get(Permission::SpoolRead, list)]
}

/// Shows for each broker's session what waits, what was dropped, and which scans aren't acknowledged yet.
#[utoipa::path(
    get, path = "/api/spool", tag = "brokers", operation_id = "list_spools",
    responses((status = 200, description = "All sessions; one that is being rebuilt is left out", body = SpoolList))
)]
pub(super) async fn list(state: Data<ApiState>) -> Json<SpoolList> {
    let spools = state.gateway().spools().await;
    Json(SpoolList { count: spools.len(), spools })
}
