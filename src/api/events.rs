//! `/api/events`: what happened, newest first.

use actix_web::web::{Data, Json};
use bifrost_actors::router::ListEvents;
use bifrost_security::accounts::Permission;

use super::{
    dto::{EventList, EventQuery},
    endpoint::Endpoint,
    error::Problem,
    paging::{Page, cursor},
    query::Query,
    state::{ApiState, rebuilt},
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::at("/api/events").get(Permission::EventsRead, list)]
}

/// Lists what happened, newest first, as far as it is kept in memory.
#[utoipa::path(
    get, path = "/api/events", tag = "events", operation_id = "list_events", params(EventQuery),
    responses(
        (status = 200, description = "One page of events", body = EventList),
        (status = 503, description = "The router is being rebuilt"),
    )
)]
pub(super) async fn list(
    state: Data<ApiState>,
    query: Query<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let EventQuery { limit, cursor: after, device_id } = query.0;
    let page = Page::new(limit, after.as_deref(), state.settings())?;
    // One more than the page holds tells whether there is another.
    let ask = ListEvents { before: page.after_number()?, limit: page.limit + 1, device_id };
    let listed = state.router()?.list_events.send(ask).await.map_err(|_| rebuilt("the router"))?;
    let (events, more) = page.cut(listed);
    let next_cursor = events.last().filter(|_| more).map(|last| cursor(last.number.to_string()));
    let events: Vec<_> = events.into_iter().map(|numbered| numbered.item).collect();
    Ok(Json(EventList { count: events.len(), events, next_cursor }))
}
