//! `/api/alarms`: what needs somebody's attention, and that somebody has taken note.

use std::{cmp::Reverse, sync::Arc};

use actix_web::web::{Data, Json};
use bifrost_actors::router::{AcknowledgeAlarm, ListAlarms};
use bifrost_model::Alarm;
use bifrost_security::accounts::Permission;

use super::{
    dto::{Acknowledged, AlarmList, AlarmQuery},
    endpoint::Endpoint,
    error::{Kind, Problem},
    paging::{Page, bad_cursor, cursor},
    path::AlarmId,
    query::Query,
    state::{ApiState, rebuilt},
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/api/alarms").get(Permission::EventsRead, list),
        Endpoint::at("/api/alarms/{id}/acknowledge").post(Permission::AlarmsAcknowledge, acknowledge),
    ]
}

/// Lists alarms, newest first; cleared ones as far as they are kept in memory.
#[utoipa::path(
    get, path = "/api/alarms", tag = "alarms", operation_id = "list_alarms", params(AlarmQuery),
    responses(
        (status = 200, description = "One page of alarms", body = AlarmList),
        (status = 503, description = "The router is being rebuilt"),
    )
)]
pub(super) async fn list(
    state: Data<ApiState>,
    query: Query<AlarmQuery>,
) -> Result<Json<AlarmList>, Problem> {
    let page = Page::new(query.0.limit, query.0.cursor.as_deref(), state.settings())?;
    let after = page.after.as_deref().map(|end| position_of(end).ok_or_else(bad_cursor)).transpose()?;
    let ask = ListAlarms { active_only: query.0.active };
    let all = state.router()?.list_alarms.send(ask).await.map_err(|_| rebuilt("the router"))?;
    let total = all.len();
    let (alarms, more) = page.cut(after_position(all, after));
    let next_cursor = alarms.last().filter(|_| more).map(|last| cursor(text_of(&position(last))));
    Ok(Json(AlarmList { count: alarms.len(), alarms, total, next_cursor }))
}

/// Newest first; of the same moment by id. Alarms come and go between pages, their order stays.
type Position = (Reverse<i64>, String);

fn position(alarm: &Alarm) -> Position {
    (Reverse(alarm.timestamp.as_micros()), alarm.alarm_id.clone())
}

fn text_of((Reverse(micros), id): &Position) -> String {
    format!("{micros} {id}")
}

fn position_of(text: &str) -> Option<Position> {
    let (micros, id) = text.split_once(' ')?;
    Some((Reverse(micros.parse().ok()?), id.to_owned()))
}

fn after_position(mut alarms: Vec<Arc<Alarm>>, after: Option<Position>) -> Vec<Arc<Alarm>> {
    alarms.sort_by_cached_key(|alarm| position(alarm));
    if let Some(after) = after {
        alarms.retain(|alarm| position(alarm) > after);
    }
    alarms
}

/// Notes that somebody has seen an alarm; it stays active until its cause is gone.
#[utoipa::path(
    post, path = "/api/alarms/{id}/acknowledge", tag = "alarms", operation_id = "acknowledge_alarm",
    params(("id" = String, Path, description = "The alarm's id, percent-encoded")),
    responses(
        (status = 200, description = "Noted", body = Acknowledged),
        (status = 404, description = "No such alarm"),
        (status = 503, description = "The router is being rebuilt"),
    )
)]
pub(super) async fn acknowledge(state: Data<ApiState>, id: AlarmId) -> Result<Json<Acknowledged>, Problem> {
    let ask = AcknowledgeAlarm(id.0.clone());
    let known = state.router()?.acknowledge.send(ask).await.map_err(|_| rebuilt("the router"))?;
    if !known {
        let detail = format!("there is no alarm {:?}; see GET /api/alarms", id.0);
        return Err(Problem::new(Kind::UnknownAlarm, detail));
    }
    Ok(Json(Acknowledged { alarm_id: id.0, acknowledged: true }))
}

#[cfg(test)]
mod tests {
    use bifrost_model::{AlarmState, Severity, Timestamp};

    use super::*;

    fn alarm(id: &str, micros: i64) -> Arc<Alarm> {
        Arc::new(Alarm {
            alarm_id: id.to_owned(),
            device_id: "".into(),
            alarm_type: "actor_failed",
            severity: Severity::Error,
            state: AlarmState::Active,
            timestamp: Timestamp::from_micros(micros),
            message: String::new(),
            value: None,
            threshold: None,
            acknowledged: false,
        })
    }

    fn ids(alarms: &[Arc<Alarm>]) -> Vec<&str> {
        alarms.iter().map(|alarm| alarm.alarm_id.as_str()).collect()
    }

    #[test]
    fn a_page_goes_on_where_the_last_ended_though_alarms_came_and_went() {
        let first = after_position(vec![alarm("old", 1), alarm("b c", 5), alarm("a", 5)], None);
        assert_eq!(ids(&first), ["a", "b c", "old"]);
        let end = position_of(&text_of(&position(&first[1]))).unwrap();
        let next = after_position(vec![alarm("new", 9), alarm("old", 1), alarm("a", 5)], Some(end));
        assert_eq!(ids(&next), ["old"]);
    }

    #[test]
    fn a_cursor_that_is_no_position_is_none() {
        for text in ["", "17", "x y"] {
            assert!(position_of(text).is_none(), "{text:?}");
        }
    }
}
