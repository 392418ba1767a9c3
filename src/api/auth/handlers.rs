//! `/api/auth`: log in, go on, log out, and who one is.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json},
};
use bifrost_security::{
    accounts::{LoginError, Pass, Permissions, Principal, Proof, SessionError, Update},
    audit::{AuditError, Category, Channel, Entry, Outcome, Source},
};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    super::{
        body::{Body, RequestBody},
        endpoint::Endpoint,
        error::{KeyProblem, Kind, Problem},
        state::ApiState,
    },
    Access, Caller,
};

pub(super) const LOGIN: &str = "/api/auth/login";
pub(super) const REFRESH: &str = "/api/auth/refresh";
pub(super) const LOGOUT: &str = "/api/auth/logout";
pub(super) const ME: &str = "/api/auth/me";
pub(super) const PASSWORD: &str = "/api/auth/password";

pub(in super::super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at(LOGIN).post(Access::Public, login),
        Endpoint::at(REFRESH).post(Access::Public, refresh),
        Endpoint::at(LOGOUT).post(Access::Anyone, logout),
        Endpoint::at(ME).get(Access::Anyone, me),
        Endpoint::at(PASSWORD).post(Access::Anyone, password),
    ]
}

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct LoginRequest {
    /// The account.
    username: String,
    /// Its password.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String)]
    password: Zeroizing<String>,
}

/// What a session is continued with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RefreshRequest {
    /// From the answer before; used once.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String)]
    refresh_token: Zeroizing<String>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct PasswordRequest {
    /// The one until now.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String)]
    current: Zeroizing<String>,
    /// The one from now on.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String)]
    new: Zeroizing<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl RequestBody for LoginRequest {}
impl RequestBody for RefreshRequest {}
impl RequestBody for PasswordRequest {}

/// What who logged in is given.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct LoginAnswer {
    /// For the header `Authorization: Bearer …`
    token: String,
    /// For `POST /api/auth/refresh`, once.
    refresh_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds that `token` holds.
    expires_in: u64,
    /// The account.
    username: String,
    /// Its role.
    role: Option<String>,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    permissions: Permissions,
    /// Whether a new password is due before anything else.
    must_change_password: bool,
}

impl LoginAnswer {
    fn new(pass: &Pass, who: &Principal) -> Self {
        Self {
            token: pass.access.reveal().to_owned(),
            refresh_token: pass.refresh.reveal().to_owned(),
            token_type: "Bearer",
            expires_in: pass.expires_in.as_secs(),
            username: who.name.to_string(),
            role: who.role.as_ref().map(ToString::to_string),
            permissions: who.permissions,
            must_change_password: who.must_change,
        }
    }
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Me {
    /// The account, or `token:…`
    name: String,
    /// The role, unless a token names its permissions itself.
    role: Option<String>,
    /// What they may do.
    #[schema(value_type = Vec<String>)]
    permissions: Permissions,
    /// Whether a new password is due before anything else.
    must_change_password: bool,
}

/// Logs in by name and password.
#[utoipa::path(
    post, path = "/api/auth/login", tag = "identity", operation_id = "login", request_body = LoginRequest,
    responses(
        (status = 200, description = "Logged in", body = LoginAnswer),
        (status = 401, description = "Name and password don't fit, or were tried too often"),
        (status = 429, description = "Too many log-ins from this address have failed"),
        (status = 503, description = "Too many sessions, or it can't be recorded"),
    )
)]
pub(in super::super) async fn login(
    state: Data<ApiState>,
    request: HttpRequest,
    body: Body<LoginRequest>,
) -> Result<Json<LoginAnswer>, Problem> {
    let address = request.peer_addr().map(|address| address.ip());
    let LoginRequest { username, password } = body.0;
    let (name, authority) = (username.clone(), Arc::clone(state.authority()));
    let now = Instant::now().into_std();
    let tried = hashing(&state, move || authority.log_in(&name, &password, address, now)).await?;
    let source = |account| Source { account, address, channel: Channel::Rest };
    let entry = |account, outcome| {
        Entry::new(source(account), Category::AccessControl, "login", outcome)
            .on(username.chars().take(64).collect::<String>())
    };
    match tried {
        Ok((pass, who)) => {
            let recorded = state.audit().record(entry(Some(Arc::clone(&who.name)), Outcome::Success)).await;
            if let Err(error) = recorded {
                state.authority().sessions().end(&pass.id);
                return Err(unrecorded(&error));
            }
            Ok(Json(LoginAnswer::new(&pass, &who)))
        }
        Err(error) => {
            let locked = matches!(error, LoginError::Wrong { locked: true });
            state.audit().tell(entry(None, Outcome::Refused).with(serde_json::json!({"locked": locked})));
            Err(not_in(&error))
        }
    }
}

/// Passwords are checked on threads of their own, a few at a time.
pub(in super::super) async fn hashing<T: Send + 'static>(
    state: &ApiState,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let gone = || Problem::new(Kind::Internal, "the password couldn't be checked; see the log");
    let _turn = state.checking.acquire().await.map_err(|_| gone())?;
    actix_web::web::block(work).await.map_err(|_| gone())
}

fn unrecorded(error: &AuditError) -> Problem {
    Problem::new(Kind::AuditUnavailable, error.to_string())
}

fn not_in(error: &LoginError) -> Problem {
    match error {
        LoginError::Wrong { .. } => Problem::new(Kind::Unauthenticated, error.to_string()),
        LoginError::TooMany(wait) => Problem::new(Kind::TooManyAttempts, error.to_string()).after(*wait),
        LoginError::Session(error) => no_session(error),
    }
}

fn no_session(error: &SessionError) -> Problem {
    let kind = match error {
        SessionError::TooMany => Kind::NotReady,
        SessionError::Ended => Kind::Unauthenticated,
        SessionError::NoRandomness(_) => Kind::Internal,
    };
    Problem::new(kind, error.to_string())
}

/// Goes on with a session: a new token, and a new one to go on with.
///
/// A token that comes a second time ends the session.
#[utoipa::path(
    post, path = "/api/auth/refresh", tag = "identity", operation_id = "refresh_session",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "It goes on", body = LoginAnswer),
        (status = 401, description = "The session has ended"),
    )
)]
pub(in super::super) async fn refresh(
    state: Data<ApiState>,
    body: Body<RefreshRequest>,
) -> Result<Json<LoginAnswer>, Problem> {
    let renewed = state.authority().renew(&body.0.refresh_token, Instant::now().into_std());
    let (pass, who) = renewed.map_err(|error| no_session(&error))?;
    Ok(Json(LoginAnswer::new(&pass, &who)))
}

/// Ends the session that asks.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "identity", operation_id = "logout",
    responses((status = 204, description = "Ended; of a token or certificate there was none"))
)]
pub(in super::super) async fn logout(state: Data<ApiState>, caller: Caller) -> HttpResponse {
    if let Proof::Session(id) = &caller.0.proof {
        state.authority().sessions().end(id);
        let source = caller.0.source();
        state.audit().tell(Entry::new(source, Category::AccessControl, "logout", Outcome::Success));
    }
    HttpResponse::NoContent().finish()
}

/// Shows who asks, and what they may do.
#[utoipa::path(
    get, path = "/api/auth/me", tag = "identity", operation_id = "get_me",
    responses((status = 200, description = "Who asks", body = Me))
)]
pub(in super::super) async fn me(caller: Caller) -> Json<Me> {
    let Principal { name, role, permissions, must_change, .. } = caller.0;
    let role = role.as_ref().map(ToString::to_string);
    Json(Me { name: name.to_string(), role, permissions, must_change_password: must_change })
}

/// Changes the password of who asks, and ends all of their sessions.
#[utoipa::path(
    post, path = "/api/auth/password", tag = "identity", operation_id = "change_password",
    request_body = PasswordRequest,
    responses(
        (status = 204, description = "Changed; log in again"),
        (status = 400, description = "A password that isn't taken, or the current one is wrong"),
        (status = 403, description = "A token has no password"),
        (status = 503, description = "It can't be recorded"),
    )
)]
pub(in super::super) async fn password(
    state: Data<ApiState>,
    caller: Caller,
    body: Body<PasswordRequest>,
) -> Result<HttpResponse, Problem> {
    let Some(name) = caller.0.account().cloned() else {
        return Err(Problem::new(Kind::PermissionMissing, "a token has no password; log in"));
    };
    let entry = Entry::new(caller.0.source(), Category::AccessControl, "password_change", Outcome::Success);
    state.audit().record(entry.on(&*name)).await.map_err(|error| unrecorded(&error))?;
    let authority = Arc::clone(state.authority());
    let changed = hashing(&state, move || {
        if !authority.is_password(&name, &body.0.current) {
            return Err(("current", "isn't the current password".to_owned()));
        }
        let hash = authority.hash(&name, &body.0.new).map_err(|error| ("new", error.to_string()))?;
        let update = Update { password: Some((hash, false)), ..Update::default() };
        let kept = authority.change(|book, roles| book.update(&name, update, roles));
        kept.map_err(|error| ("", error.to_string()))
    });
    changed.await?.map_err(|(key, reason)| match key {
        "" => Problem::new(Kind::Internal, reason),
        key => Problem::of_keys(Kind::InvalidBody, vec![KeyProblem::new(key, reason)]),
    })?;
    Ok(HttpResponse::NoContent().finish())
}
