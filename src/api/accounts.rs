//! `/api/accounts`, `/api/tokens` and `/api/auth/sessions`: who may come in, and who is in.
//!
//! Nobody grants more than they hold. Every change is recorded before it is made, and how it ended.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json},
};
use bifrost_model::Timestamp;
use bifrost_security::{
    accounts::{
        Account, Book, CertificateMatch, ChangeError, NewToken, Permission, Permissions, Principal, Proof,
        Roles, Scope, Secret, StoreError, Token, Update, Use,
    },
    audit::{Category, Entry, Outcome},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    auth::{Access, Caller},
    body::{Body, RequestBody},
    endpoint::Endpoint,
    error::{KeyProblem, Kind, Problem},
    path::segments_after,
    record::Who,
    state::ApiState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let manage = Permission::AccountsManage;
    vec![
        Endpoint::at("/api/accounts").get(manage, accounts).post(manage, create),
        Endpoint::at("/api/accounts/{name}").put(manage, update).delete(manage, remove),
        Endpoint::at("/api/tokens").get(manage, tokens).post(manage, issue),
        Endpoint::at("/api/tokens/{id}").delete(manage, revoke),
        Endpoint::at("/api/auth/sessions").get(Access::Anyone, sessions),
        Endpoint::at("/api/auth/sessions/{id}").delete(Access::Anyone, end_session),
    ]
}

/// An account as it is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountRequest {
    /// What it is called; left out where the path says so.
    #[serde(default)]
    name: Option<String>,
    /// What it may do.
    #[serde(default)]
    role: Option<String>,
    /// A password, which must be changed at the first log-in; without one it comes in by certificate alone.
    #[serde(default, deserialize_with = "secret")]
    #[schema(value_type = Option<String>)]
    password: Option<Zeroizing<String>>,
    /// Whether it is never locked.
    #[serde(default)]
    essential: Option<bool>,
    /// Whether it is kept out for now.
    #[serde(default)]
    disabled: Option<bool>,
    /// Client certificates that stand for it: `{"common_name":…}` or `{"fingerprint":…}`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    certificates: Option<Vec<CertificateMatch>>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.map(Zeroizing::new))
}

/// A token as it is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// What it is for.
    name: String,
    /// What it may do: a role …
    #[serde(default)]
    role: Option<String>,
    /// … or these permissions.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    permissions: Option<Permissions>,
    /// How many seconds it holds; absent: until it is revoked.
    #[serde(default)]
    expires_in: Option<u64>,
}

impl RequestBody for AccountRequest {}
impl RequestBody for TokenRequest {}

/// An account, without what is kept of its password.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountRow {
    name: String,
    role: String,
    essential: bool,
    disabled: bool,
    must_change_password: bool,
    #[schema(value_type = Vec<Object>)]
    certificates: Vec<CertificateMatch>,
    #[schema(value_type = String)]
    created: Timestamp,
}

impl From<&Account> for AccountRow {
    fn from(account: &Account) -> Self {
        Self {
            name: account.name.to_string(),
            role: account.role.to_string(),
            essential: account.essential,
            disabled: account.disabled,
            must_change_password: account.must_change,
            certificates: account.certificates.clone(),
            created: account.created,
        }
    }
}

/// All accounts.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountList {
    accounts: Vec<AccountRow>,
    count: usize,
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenRow {
    id: String,
    name: String,
    #[schema(value_type = Object)]
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[schema(value_type = String)]
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    revoked: Option<Timestamp>,
    /// The token itself, once: when it is issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl TokenRow {
    fn of(token: &Token, secret: Option<&Secret>) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            scope: token.scope.clone(),
            owner: token.owner.as_ref().map(ToString::to_string),
            created: token.created,
            expires: token.expires,
            revoked: token.revoked,
            token: secret.map(|secret| secret.reveal().to_owned()),
        }
    }
}

/// All tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<TokenRow>,
    count: usize,
}

/// A session that goes on.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionRow {
    id: String,
    account: String,
    #[schema(value_type = Option<String>)]
    address: Option<std::net::IpAddr>,
    #[schema(value_type = String)]
    since: Timestamp,
    /// Seconds that it can still last.
    lasts: u64,
    /// Whether it is the one that asks.
    own: bool,
}

/// Sessions that go on, the oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionList {
    sessions: Vec<SessionRow>,
    count: usize,
}

/// Lists accounts.
#[utoipa::path(
    get, path = "/api/accounts", tag = "identity", operation_id = "list_accounts",
    responses((status = 200, description = "All of them", body = AccountList))
)]
pub(super) async fn accounts(state: Data<ApiState>) -> Json<AccountList> {
    let accounts: Vec<_> = state.authority().book().accounts().iter().map(AccountRow::from).collect();
    Json(AccountList { count: accounts.len(), accounts })
}

/// Adds an account.
#[utoipa::path(
    post, path = "/api/accounts", tag = "identity", operation_id = "create_account", request_body = AccountRequest,
    responses(
        (status = 201, description = "Added", body = AccountRow),
        (status = 403, description = "A role that may more than you"),
        (status = 409, description = "There is one of that name"),
        (status = 503, description = "It can't be recorded"),
    )
)]
pub(super) async fn create(
    state: Data<ApiState>,
    caller: Caller,
    who: Who,
    body: Body<AccountRequest>,
) -> Result<HttpResponse, Problem> {
    let (name, role) = (needed("name", body.0.name.clone())?, needed("role", body.0.role.clone())?);
    may_grant(&state, &caller.0, &Scope::Role(role.as_str().into()))?;
    let password = hashed(&state, &name, body.0.password).await?;
    let account = Account {
        password,
        must_change: true,
        essential: body.0.essential.unwrap_or_default(),
        disabled: body.0.disabled.unwrap_or_default(),
        certificates: body.0.certificates.unwrap_or_default(),
        ..Account::new(&name, &role)
    };
    let row = AccountRow::from(&account);
    let entry = entry(&who, "account_add", &name).with(json!({"role": role}));
    changing(&state, entry, move |book, roles| book.add(account, roles)).await?;
    Ok(HttpResponse::Created().json(row))
}

/// Changes an account: what is left out stays. What takes something from it ends its sessions.
#[utoipa::path(
    put, path = "/api/accounts/{name}", tag = "identity", operation_id = "update_account",
    params(("name" = String, Path, description = "The account, percent-encoded")), request_body = AccountRequest,
    responses(
        (status = 200, description = "Changed", body = AccountRow),
        (status = 403, description = "It may, or would, more than you"),
        (status = 404, description = "No such account"),
        (status = 409, description = "Nobody could manage accounts any more"),
        (status = 503, description = "It can't be recorded"),
    )
)]
pub(super) async fn update(
    state: Data<ApiState>,
    request: HttpRequest,
    caller: Caller,
    who: Who,
    body: Body<AccountRequest>,
) -> Result<Json<AccountRow>, Problem> {
    let name = named(&request, "/api/accounts/")?;
    may_touch(&state, &caller.0, &name)?;
    if let Some(role) = &body.0.role {
        may_grant(&state, &caller.0, &Scope::Role(role.as_str().into()))?;
    }
    let AccountRequest { role, password, essential, disabled, certificates, .. } = body.0;
    let detail = json!({
        "role": role, "password": password.is_some(), "essential": essential, "disabled": disabled,
        "certificates": certificates,
    });
    let password = hashed(&state, &name, password).await?.map(|hash| (hash, true));
    let role = role.map(Into::into);
    let change = Update { role, password, essential, disabled, certificates };
    let (of, entry) = (name.clone(), entry(&who, "account_change", &name).with(detail));
    changing(&state, entry, move |book, roles| book.update(&of, change, roles)).await?;
    let book = state.authority().book();
    book.account(&name).map(|account| Json(account.into())).ok_or_else(|| gone(&name))
}

/// Removes an account, and the tokens that it issued.
#[utoipa::path(
    delete, path = "/api/accounts/{name}", tag = "identity", operation_id = "remove_account",
    params(("name" = String, Path, description = "The account, percent-encoded")),
    responses(
        (status = 204, description = "Removed; its sessions have ended"),
        (status = 403, description = "It may more than you"),
        (status = 404, description = "No such account"),
        (status = 409, description = "Nobody could manage accounts any more"),
        (status = 503, description = "It can't be recorded"),
    )
)]
pub(super) async fn remove(
    state: Data<ApiState>,
    request: HttpRequest,
    caller: Caller,
    who: Who,
) -> Result<HttpResponse, Problem> {
    let name = named(&request, "/api/accounts/")?;
    may_touch(&state, &caller.0, &name)?;
    let entry = entry(&who, "account_remove", &name);
    changing(&state, entry, move |book, roles| book.remove(&name, roles)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lists tokens, revoked and expired ones too.
#[utoipa::path(
    get, path = "/api/tokens", tag = "identity", operation_id = "list_tokens",
    responses((status = 200, description = "All of them", body = TokenList))
)]
pub(super) async fn tokens(state: Data<ApiState>) -> Json<TokenList> {
    let tokens: Vec<_> =
        state.authority().book().tokens().iter().map(|token| TokenRow::of(token, None)).collect();
    Json(TokenList { count: tokens.len(), tokens })
}

/// Issues a token; it is shown this once.
#[utoipa::path(
    post, path = "/api/tokens", tag = "identity", operation_id = "issue_token", request_body = TokenRequest,
    responses(
        (status = 201, description = "Issued", body = TokenRow),
        (status = 403, description = "It would may more than you, or a token asks for one"),
        (status = 503, description = "It can't be recorded"),
    )
)]
pub(super) async fn issue(
    state: Data<ApiState>,
    caller: Caller,
    who: Who,
    body: Body<TokenRequest>,
) -> Result<HttpResponse, Problem> {
    let Some(owner) = caller.0.account().cloned() else {
        return Err(Problem::new(Kind::PermissionMissing, "a token issues no tokens; log in"));
    };
    let TokenRequest { name, role, permissions, expires_in } = body.0;
    let scope = match (role, permissions) {
        (Some(role), None) => Scope::Role(role.into()),
        (None, Some(permissions)) => Scope::Permissions(permissions),
        _ => return Err(unfit("role", "give either role or permissions")),
    };
    may_grant(&state, &caller.0, &scope)?;
    let expires = expires_in.map(|seconds| {
        let lasts = i64::try_from(Duration::from_secs(seconds).as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(Timestamp::now().as_micros().saturating_add(lasts))
    });
    let secret =
        Secret::generate(Use::Token).map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let new = NewToken { name: name.clone(), scope: scope.clone(), owner: Some(owner), expires };
    let entry = entry(&who, "token_issue", &name).with(json!({"scope": scope, "expires": expires}));
    let secret = Arc::new(secret);
    let known = Arc::clone(&secret);
    let token = changing(&state, entry, move |book, roles| book.issue(new, &known, roles)).await?;
    Ok(HttpResponse::Created().json(TokenRow::of(&token, Some(&secret))))
}

/// Ends a token for good.
#[utoipa::path(
    delete, path = "/api/tokens/{id}", tag = "identity", operation_id = "revoke_token",
    params(("id" = String, Path, description = "As listed")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "No such token"),
        (status = 503, description = "It can't be recorded"),
    )
)]
pub(super) async fn revoke(
    state: Data<ApiState>,
    request: HttpRequest,
    who: Who,
) -> Result<HttpResponse, Problem> {
    let id = named(&request, "/api/tokens/")?;
    let entry = entry(&who, "token_revoke", &id);
    changing(&state, entry, move |book, _| book.revoke(&id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lists the sessions that go on: one's own, or with `accounts:manage` everybody's.
#[utoipa::path(
    get, path = "/api/auth/sessions", tag = "identity", operation_id = "list_sessions",
    responses((status = 200, description = "The oldest first", body = SessionList))
)]
pub(super) async fn sessions(state: Data<ApiState>, caller: Caller) -> Json<SessionList> {
    let (who, now) = (&caller.0, Instant::now().into_std());
    let listed = state.authority().sessions().list(now).into_iter();
    let still = |id: &Arc<str>| state.authority().still(&Proof::Session(Arc::clone(id)), now).is_some();
    let seen = listed.filter(|session| may_see(who, &session.holder.account) && still(&session.id));
    let sessions: Vec<_> = seen
        .map(|session| SessionRow {
            own: matches!(&who.proof, Proof::Session(id) if *id == session.id),
            id: session.id.to_string(),
            account: session.holder.account.to_string(),
            address: session.holder.address,
            since: session.since,
            lasts: session.left.as_secs(),
        })
        .collect();
    Json(SessionList { count: sessions.len(), sessions })
}

/// Ends a session: one's own, or with `accounts:manage` anybody's.
#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}", tag = "identity", operation_id = "end_session",
    params(("id" = String, Path, description = "As listed")),
    responses(
        (status = 204, description = "Ended, and with it its live feeds"),
        (status = 404, description = "No such session"),
    )
)]
pub(super) async fn end_session(
    state: Data<ApiState>,
    request: HttpRequest,
    caller: Caller,
    who: Who,
) -> Result<HttpResponse, Problem> {
    let id = named(&request, "/api/auth/sessions/")?;
    let sessions = state.authority().sessions();
    let found = sessions.list(Instant::now().into_std()).into_iter().find(|session| *session.id == *id);
    let Some(session) = found.filter(|session| may_see(&caller.0, &session.holder.account)) else {
        return Err(Problem::new(Kind::UnknownIdentity, format!("there is no session {id:?}")));
    };
    sessions.end(&id);
    let entry = entry(&who, "session_end", &session.holder.account).with(json!({"session": id}));
    state.audit().tell(Entry { result: Outcome::Success, ..entry });
    Ok(HttpResponse::NoContent().finish())
}

fn may_see(who: &Principal, account: &str) -> bool {
    who.may(Permission::AccountsManage) || who.account().is_some_and(|own| **own == *account)
}

/// Nobody grants what they don't hold.
fn may_grant(state: &ApiState, who: &Principal, scope: &Scope) -> Result<(), Problem> {
    let beyond = scope.permissions(state.authority().roles()).beyond(who.permissions);
    if beyond.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = beyond.iter().map(Permission::name).collect();
    let detail = format!("that would grant what you don't hold: {}", names.join(", "));
    Err(Problem::new(Kind::PermissionMissing, detail))
}

/// Nobody changes who may more than they do.
fn may_touch(state: &ApiState, who: &Principal, name: &str) -> Result<(), Problem> {
    let book = state.authority().book();
    let account = book.account(name).ok_or_else(|| gone(name))?;
    may_grant(state, who, &Scope::Role(Arc::clone(&account.role)))
}

fn gone(name: &str) -> Problem {
    Problem::new(Kind::UnknownIdentity, format!("there is no account {name:?}"))
}

fn named(request: &HttpRequest, prefix: &str) -> Result<String, Problem> {
    segments_after(request, prefix).map(|names| names.into_iter().next().unwrap_or_default())
}

fn needed(key: &str, value: Option<String>) -> Result<String, Problem> {
    value.ok_or_else(|| unfit(key, "is missing"))
}

fn unfit(key: &str, reason: &str) -> Problem {
    Problem::of_keys(Kind::InvalidBody, vec![KeyProblem::new(key, reason)])
}

fn entry(who: &Who, kind: &str, object: &str) -> Entry {
    let entry = Entry::new(who.source.clone(), Category::AccessControl, kind, Outcome::Begun).on(object);
    Entry { request_id: who.request_id.clone(), ..entry }
}

async fn hashed(
    state: &ApiState,
    name: &str,
    password: Option<Zeroizing<String>>,
) -> Result<Option<bifrost_security::accounts::Hash>, Problem> {
    let Some(password) = password else { return Ok(None) };
    let (authority, name) = (Arc::clone(state.authority()), name.to_owned());
    let hash = super::auth::hashing(state, move || authority.hash(&name, &password)).await?;
    hash.map(Some).map_err(|error| unfit("password", &error.to_string()))
}

/// Records that a change is about to be made, makes it, and records how that ended.
async fn changing<T: Send + 'static>(
    state: &ApiState,
    entry: Entry,
    change: impl FnOnce(&mut Book, &Roles) -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, Problem> {
    let recorded = state.audit().record(entry.clone()).await;
    recorded.map_err(|error| Problem::new(Kind::AuditUnavailable, error.to_string()))?;
    let (authority, audit) = (Arc::clone(state.authority()), Arc::clone(state.audit()));
    // To its end, also when nobody waits for it.
    let made = actix_web::rt::task::spawn_blocking(move || {
        let made = authority.change(change);
        let result = if made.is_ok() { Outcome::Success } else { Outcome::Failure };
        let mut entry = Entry { result, ..entry };
        if let (Err(error), Value::Object(detail)) = (&made, &mut entry.detail) {
            detail.insert("error".to_owned(), json!(error.to_string()));
        }
        audit.tell(entry);
        made
    });
    let made = made.await.map_err(|_| Problem::new(Kind::Internal, "the change was cut off; see the log"))?;
    made.map_err(|error| not_made(&error))
}

fn not_made(error: &StoreError) -> Problem {
    let text = error.to_string();
    let StoreError::Change(change) = error else { return Problem::new(Kind::NotReady, text) };
    match change {
        ChangeError::UnknownAccount(_) | ChangeError::UnknownToken(_) => {
            Problem::new(Kind::UnknownIdentity, text)
        }
        ChangeError::AccountExists(_) | ChangeError::LastManager(_) | ChangeError::CertificateTaken(_) => {
            Problem::new(Kind::IdentityConflict, text)
        }
        ChangeError::BadName(_) => unfit("name", &text),
        ChangeError::UnknownRole { .. } => unfit("role", &text),
        ChangeError::ExpiresInThePast => unfit("expires_in", &text),
        ChangeError::Password(_) => unfit("password", &text),
        ChangeError::TooMany | ChangeError::NoRandomness(_) => Problem::new(Kind::NotReady, text),
    }
}
