//! Who asks, and whether they may: every request is refused unless its method says that it is public, or the
//! one who asks is known and has the permission that the method names.

mod handlers;

use std::future::{Ready, ready};

use actix_web::{
    Error, FromRequest, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{self, ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web::Data,
};
use bifrost_security::{
    accounts::{Permission, Principal},
    audit::{Category, Channel, Entry, Outcome, Source},
    tls::Peer,
};
use tokio::time::Instant;

pub(super) use handlers::*;

use super::{
    error::{Kind, Problem},
    record,
    state::ApiState,
};

/// Who may use a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Strangers too.
    Public,
    /// Everybody who is known.
    Anyone,
    /// Who has this permission.
    Needs(Permission),
}

impl From<Permission> for Access {
    fn from(permission: Permission) -> Self {
        Self::Needs(permission)
    }
}

/// Paths that strangers may ask; each of their methods is [`Access::Public`].
const PUBLIC: [&str; 4] = ["/health", "/readiness", handlers::LOGIN, handlers::REFRESH];
/// Paths that stay open to who has to choose a new password.
const OPEN: [&str; 3] = [handlers::PASSWORD, handlers::LOGOUT, handlers::ME];

/// Finds out who asks, before anybody is asked.
pub(super) async fn identity(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    identify(&request)?;
    next.call(request).await
}

/// A stranger gets no further than the public paths, and learns not even which others
/// there are.
fn identify(request: &ServiceRequest) -> Result<(), Problem> {
    let Some(state) = request.app_data::<Data<ApiState>>() else {
        return Err(Problem::new(Kind::Internal, "the server was built without a state"));
    };
    match principal(state, request.request()) {
        Some(principal) => {
            request.extensions_mut().insert(principal);
            Ok(())
        }
        None if PUBLIC.contains(&request.path()) => Ok(()),
        None => {
            let address = request.peer_addr().map(|address| address.ip());
            let source = Source { account: None, address, channel: Channel::Rest };
            refused(state, source, request.method().as_str(), request.path(), "unauthenticated");
            Err(stranger())
        }
    }
}

/// Says nothing of what was wrong with what was shown.
fn stranger() -> Problem {
    let detail = "show a token with the header authorization: Bearer …; POST /api/auth/login gives one";
    Problem::new(Kind::Unauthenticated, detail)
}

fn refused(state: &ApiState, source: Source, method: &str, path: &str, why: &str) {
    let entry = Entry::new(source, Category::AccessControl, "refusal", Outcome::Refused).on(path);
    state.audit().tell(entry.with(serde_json::json!({"method": method, "reason": why})));
}

/// By a bearer token, or else by the certificate of the connection. A token that doesn't hold isn't made good
/// by a certificate.
fn principal(state: &ApiState, request: &HttpRequest) -> Option<Principal> {
    let authority = state.authority();
    if state.has_revoked(request.conn_data::<Peer>()) {
        return None;
    }
    let found = match bearer(request) {
        Shown::Token(token) => authority.of_bearer(&token, Instant::now().into_std()),
        Shown::Nothing => request.conn_data::<Peer>().and_then(|peer| authority.of_peer(peer)),
        Shown::Unfit => None,
    };
    let address = request.peer_addr().map(|address| address.ip());
    found.map(|principal| Principal { address, ..principal })
}

enum Shown {
    Token(String),
    Nothing,
    Unfit,
}

/// What a browser's WebSocket can send in place of a header.
const SUBPROTOCOL: &str = "bifrost.bearer.";

fn bearer(request: &HttpRequest) -> Shown {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    if let Some(shown) = headers.next() {
        let token = shown.to_str().ok().and_then(|text| text.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = token.filter(|_| headers.next().is_none());
        return token.map_or(Shown::Unfit, |(_, token)| Shown::Token(token.trim().to_owned()));
    }
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let token = offered.find_map(|protocol| protocol.trim().strip_prefix(SUBPROTOCOL));
    token.filter(|_| request.path() == "/ws").map_or(Shown::Nothing, |token| Shown::Token(token.to_owned()))
}

/// Lets through who may use this method.
pub(super) async fn guard(
    access: Access,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    check(access, &request)?;
    let pending = record::begin(access, &request).await?;
    let answer = next.call(request).await;
    if let Some(pending) = pending {
        pending.end(match &answer {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        });
    }
    answer
}

fn check(access: Access, request: &ServiceRequest) -> Result<(), Problem> {
    if access == Access::Public {
        return Ok(());
    }
    let principal = request.extensions().get::<Principal>().cloned().ok_or_else(stranger)?;
    let problem = match access {
        _ if principal.must_change && !OPEN.contains(&request.path()) => {
            let detail = format!("choose a new password first: POST {}", handlers::PASSWORD);
            Problem::new(Kind::PasswordChangeDue, detail)
        }
        Access::Needs(permission) if !principal.may(permission) => {
            Problem::new(Kind::PermissionMissing, format!("this needs the permission {permission}"))
        }
        _ => return Ok(()),
    };
    if let Some(state) = request.app_data::<Data<ApiState>>() {
        let (method, path) = (request.method().as_str(), request.path());
        refused(state, principal.source(), method, path, &problem.detail);
    }
    Err(problem)
}

/// Who asks, for handlers.
pub(super) struct Caller(pub(super) Principal);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(request.extensions().get::<Principal>().cloned().map(Self).ok_or_else(stranger))
    }
}
