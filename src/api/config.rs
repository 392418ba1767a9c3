//! `/api/config`: reading the configuration anew; and how any change of it is carried out.

use std::future::Future;

use actix_web::web::{Data, Json};
use bifrost_security::accounts::Permission;

use super::{
    control::{ControlError, ReloadReport},
    dto::ReloadQuery,
    endpoint::Endpoint,
    error::{Kind, Problem},
    query::Query,
    record::Who,
    state::ApiState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::at("/api/config/reload").post(Permission::ConfigReload, reload)]
}

/// Reads the configuration anew and applies it: only the actors concerned restart.
///
/// An invalid configuration changes nothing. `dry_run=true` shows what would be done.
#[utoipa::path(
    post, path = "/api/config/reload", tag = "config", operation_id = "reload_config", params(ReloadQuery),
    responses(
        (status = 200, description = "What was done, or would be", body = ReloadReport),
        (status = 422, description = "Everything that is wrong with it, key by key"),
        (status = 503, description = "It can't be applied now"),
    )
)]
pub(super) async fn reload(
    state: Data<ApiState>,
    query: Query<ReloadQuery>,
    who: Who,
) -> Result<Json<ReloadReport>, Problem> {
    let (control, shared) = (state.control(), state.clone());
    let report = carry_out(async move {
        let _alone = shared.changing.lock().await;
        control.reload(query.0.dry_run, who).await.map_err(refused)
    });
    report.await.map(Json)
}

/// Runs a change to its end, also when the client doesn't wait for it: half a change helps nobody.
pub(super) async fn carry_out<T: 'static>(
    change: impl Future<Output = Result<T, Problem>> + 'static,
) -> Result<T, Problem> {
    let ended = actix_web::rt::spawn(change).await;
    ended.unwrap_or_else(|_| Err(Problem::new(Kind::Internal, "the change was cut off; see the log")))
}

/// Why the configuration stays as it is.
pub(super) fn refused(error: ControlError) -> Problem {
    match error {
        ControlError::Invalid(errors) => Problem::of_keys(Kind::InvalidSettings, errors),
        ControlError::UnknownDevice(id) => Problem::unknown_device(&id),
        ControlError::Unavailable(reason) => Problem::new(Kind::NotReady, reason),
        ControlError::NotKept(reason) => Problem::new(Kind::Internal, reason),
    }
}
