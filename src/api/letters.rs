//! `/api/dead-letters`: what brokers refused for good and commands that nobody understood; looked at, sent
//! after all, or deleted.

use actix_web::web::{Data, Json};
use bifrost_actors::dead_letters::{
    DeleteLetters, GetLetter, LettersPorts, ListLetters, Replay, ReplayError, Replayed, Which,
};
use bifrost_security::accounts::Permission;

use super::{
    dto_brokers::{LetterDeletion, LetterList, LetterQuery, LetterReplayed, LetterRow, LettersDeleted},
    endpoint::Endpoint,
    error::{Kind, Problem},
    paging::{Page, cursor},
    path::LetterId,
    query::Query,
    state::{ApiState, rebuilt},
};

/// Longer payloads are left out of lists.
const MAX_LISTED_PAYLOAD: usize = 4096;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/api/dead-letters")
            .get(Permission::SpoolRead, list)
            .delete(Permission::SpoolManage, delete_all),
        Endpoint::at("/api/dead-letters/{id}")
            .get(Permission::SpoolRead, show)
            .delete(Permission::SpoolManage, delete),
        Endpoint::at("/api/dead-letters/{id}/replay").post(Permission::SpoolManage, replay),
    ]
}

fn ports(state: &ApiState) -> Result<LettersPorts, Problem> {
    state.gateway().dead_letters().ok_or_else(away)
}

fn away() -> Problem {
    rebuilt("the store of dead letters")
}

/// The disk doesn't do what it should.
fn unreadable(reason: impl Into<String>) -> Problem {
    Problem::new(Kind::NotReady, reason)
}

/// Lists dead letters, newest first. Payloads of more than 4 KiB are left out.
#[utoipa::path(
    get, path = "/api/dead-letters", tag = "brokers", operation_id = "list_dead_letters", params(LetterQuery),
    responses(
        (status = 200, description = "One page of dead letters", body = LetterList),
        (status = 503, description = "Their store can't be read, or is being rebuilt"),
    )
)]
pub(super) async fn list(
    state: Data<ApiState>,
    query: Query<LetterQuery>,
) -> Result<Json<LetterList>, Problem> {
    let LetterQuery { limit, cursor: after, session } = query.0;
    let page = Page::new(limit, after.as_deref(), state.settings())?;
    // One more than the page holds tells whether there is another.
    let (before, limit) = (page.after_number()?, page.limit + 1);
    let ask = ListLetters { before, limit, session, max_payload: MAX_LISTED_PAYLOAD };
    let listed = ports(&state)?.list.send(ask).await.map_err(|_| away())?.map_err(unreadable)?;
    let (letters, more) = page.cut(listed.letters);
    let next_cursor = letters.last().filter(|_| more).map(|last| cursor(last.id.to_string()));
    let letters: Vec<LetterRow> = letters.into_iter().map(LetterRow::from).collect();
    let (total, made_room, lost) = (listed.total, listed.made_room, listed.lost);
    Ok(Json(LetterList { count: letters.len(), letters, total, made_room, lost, next_cursor }))
}

/// Shows one dead letter with its whole payload.
#[utoipa::path(
    get, path = "/api/dead-letters/{id}", tag = "brokers", operation_id = "get_dead_letter",
    params(("id" = u64, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "The letter", body = LetterRow),
        (status = 404, description = "No such letter"),
        (status = 503, description = "Their store can't be read, or is being rebuilt"),
    )
)]
pub(super) async fn show(state: Data<ApiState>, id: LetterId) -> Result<Json<LetterRow>, Problem> {
    let found = ports(&state)?.get.send(GetLetter(id.0)).await.map_err(|_| away())?.map_err(unreadable)?;
    found.map(|letter| Json(letter.into())).ok_or_else(|| Problem::unknown_letter(id.0))
}

/// Sends a message after all, or has a command carried out after all.
///
/// The letter is deleted once the session's spool has taken the message, or the command was answered; what is
/// refused again stays.
#[utoipa::path(
    post, path = "/api/dead-letters/{id}/replay", tag = "brokers", operation_id = "replay_dead_letter",
    params(("id" = u64, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "It is a dead letter no more", body = LetterReplayed),
        (status = 404, description = "No such letter"),
        (status = 409, description = "It is refused again, or being replayed"),
        (status = 503, description = "Its session isn't there, or the store can't be read"),
    )
)]
pub(super) async fn replay(state: Data<ApiState>, id: LetterId) -> Result<Json<LetterReplayed>, Problem> {
    let replayed = ports(&state)?.replay.send(Replay(id.0)).await.map_err(|_| away())?;
    let (outcome, answer) = match replayed.map_err(|error| stays(&error))? {
        Replayed::Queued => ("queued", None),
        Replayed::Answered(answer) => ("answered", serde_json::from_slice(&answer).ok()),
    };
    Ok(Json(LetterReplayed { id: id.0, outcome, answer }))
}

fn stays(error: &ReplayError) -> Problem {
    let kind = match error {
        ReplayError::Unknown(id) => return Problem::unknown_letter(id),
        ReplayError::UnderWay(_) | ReplayError::Refused(_) => Kind::ReplayRefused,
        ReplayError::NoSession(_) | ReplayError::Store(_) => Kind::NotReady,
    };
    Problem::new(kind, error.to_string())
}

/// Deletes one dead letter.
#[utoipa::path(
    delete, path = "/api/dead-letters/{id}", tag = "brokers", operation_id = "delete_dead_letter",
    params(("id" = u64, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "It is gone", body = LettersDeleted),
        (status = 404, description = "No such letter"),
        (status = 503, description = "Their store can't be written, or is being rebuilt"),
    )
)]
pub(super) async fn delete(state: Data<ApiState>, id: LetterId) -> Result<Json<LettersDeleted>, Problem> {
    match delete_these(&state, Which::One(id.0)).await? {
        0 => Err(Problem::unknown_letter(id.0)),
        deleted => Ok(Json(LettersDeleted { deleted })),
    }
}

/// Deletes all dead letters, or those of one session.
#[utoipa::path(
    delete, path = "/api/dead-letters", tag = "brokers", operation_id = "delete_dead_letters",
    params(LetterDeletion),
    responses(
        (status = 200, description = "They are gone", body = LettersDeleted),
        (status = 503, description = "Their store can't be written, or is being rebuilt"),
    )
)]
pub(super) async fn delete_all(
    state: Data<ApiState>,
    query: Query<LetterDeletion>,
) -> Result<Json<LettersDeleted>, Problem> {
    let which = query.0.session.map_or(Which::All, Which::Session);
    delete_these(&state, which).await.map(|deleted| Json(LettersDeleted { deleted }))
}

async fn delete_these(state: &ApiState, which: Which) -> Result<u64, Problem> {
    let deleted = ports(state)?.delete.send(DeleteLetters(which)).await;
    deleted.map_err(|_| away())?.map_err(unreadable)
}
