//! `/api/audit`: who did what, newest first, as it stands in the trail.

use actix_web::web::{Data, Json, block};
use bifrost_model::Timestamp;
use bifrost_security::{
    accounts::Permission,
    audit::{Category, Outcome, Query as Wanted, Record, find},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    endpoint::Endpoint,
    error::{Kind, Problem},
    paging::{Page, cursor},
    query::Query,
    schemas,
    state::ApiState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::at("/api/audit").get(Permission::AuditRead, list)]
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// At most so many entries; absent: `api.page_limit_default`, at most `api.page_limit_max`.
    pub(super) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
    /// Only of this category.
    #[param(value_type = Option<String>, example = "access_control")]
    pub(super) category: Option<Category>,
    /// Only with this result.
    #[param(value_type = Option<String>, example = "refused")]
    pub(super) result: Option<Outcome>,
    /// Only of this type.
    #[serde(rename = "type")]
    #[param(rename = "type", example = "login")]
    pub(super) kind: Option<String>,
    /// Only by this account, or `token:…`
    pub(super) account: Option<String>,
    /// Only from then on (RFC 3339).
    #[param(value_type = Option<String>)]
    pub(super) from: Option<Timestamp>,
    /// Only before then.
    #[param(value_type = Option<String>)]
    pub(super) to: Option<Timestamp>,
}

/// One page of records, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditList {
    /// The records.
    #[schema(value_type = Vec<schemas::AuditRecordSchema>)]
    pub(super) records: Vec<Record>,
    /// How many of them there are.
    pub(super) count: usize,
    /// For the next page; absent: this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// Lists who did what, newest first, as far as it is kept.
#[utoipa::path(
    get, path = "/api/audit", tag = "audit", operation_id = "list_audit_records", params(AuditQuery),
    responses(
        (status = 200, description = "One page of records", body = AuditList),
        (status = 503, description = "The trail can't be read"),
    )
)]
pub(super) async fn list(
    state: Data<ApiState>,
    query: Query<AuditQuery>,
) -> Result<Json<AuditList>, Problem> {
    let AuditQuery { limit, cursor: after, category, result, kind, account, from, to } = query.0;
    let page = Page::new(limit, after.as_deref(), state.settings())?;
    // One more than the page holds tells whether there is another.
    let (before, limit) = (page.after_number()?, page.limit + 1);
    let wanted = Wanted { before, limit, category, result, kind, account, from, to };
    let folder = state.gateway().settings().audit_folder();
    let unreadable = |reason: String| Problem::new(Kind::AuditUnavailable, reason);
    let found = block(move || find(&folder, &wanted)).await.map_err(|error| unreadable(error.to_string()))?;
    let (records, more) = page.cut(found.map_err(|error| unreadable(error.to_string()))?);
    let next_cursor = records.last().filter(|_| more).map(|last| cursor(last.seq.to_string()));
    Ok(Json(AuditList { count: records.len(), records, next_cursor }))
}
