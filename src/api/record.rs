//! What of requests gets on record: everything that changes something, before it is done and how it ended;
//! what can't be understood; and, where all operations are to be on record, the rest as well.
//!
//! Follows from what a route's permission is, so that no handler can forget it. What a handler knows better
//! (log-ins, accounts, tokens) it records itself; writes to devices are recorded by the device's actor.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::{self, ServiceRequest},
    http::{Method, StatusCode},
    web::Data,
};
use bifrost_actors::commands::Requester;
use bifrost_security::{
    accounts::{Permission, Principal},
    audit::{AuditSink, Category, Channel, Entry, Outcome, Source},
};
use serde_json::json;

use super::{
    auth::Access,
    error::{Kind, Problem},
    state::ApiState,
};

/// Names a request from its entry on.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Who asks, and in which request.
#[derive(Debug, Clone)]
pub struct Who {
    /// As the audit trail names them.
    pub source: Source,
    /// The request's id.
    pub request_id: Option<String>,
}

impl Who {
    fn of(request: &HttpRequest) -> Self {
        let extensions = request.extensions();
        let address = request.peer_addr().map(|address| address.ip());
        let stranger = Source { account: None, address, channel: Channel::Rest };
        let source = extensions.get::<Principal>().map_or(stranger, Principal::source);
        Self { source, request_id: extensions.get::<RequestId>().map(|id| id.0.clone()) }
    }

    /// As commands carry it.
    pub(super) fn requester(self) -> Requester {
        let Source { account, address, .. } = self.source;
        Requester { account, address, request_id: self.request_id.map(Into::into) }
    }
}

impl FromRequest for Who {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

/// How a route's requests get on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Before it is done, and how it ended.
    Change(Category),
    /// How it ended.
    End,
    /// Only if it can't be understood.
    Error,
}

fn kept(access: Access, method: &Method, everything: bool) -> Kept {
    let Access::Needs(permission) = access else { return Kept::Error };
    let change = match permission {
        Permission::DevicesConfigure | Permission::ConfigReload => Some(Category::Configuration),
        Permission::ActorsOrder | Permission::AlarmsAcknowledge | Permission::SpoolManage => {
            Some(Category::SystemEvent)
        }
        _ => None,
    };
    match change {
        Some(category) if *method != Method::GET && *method != Method::HEAD => Kept::Change(category),
        _ if everything => Kept::End,
        _ => Kept::Error,
    }
}

/// A request of which the trail knows, or may come to know.
pub(super) struct Pending {
    audit: Arc<dyn AuditSink>,
    entry: Entry,
    kept: Kept,
    ended: bool,
}

/// Takes note of a request before it is carried out. What can't be recorded isn't done.
pub(super) async fn begin(access: Access, request: &ServiceRequest) -> Result<Option<Pending>, Problem> {
    let Some(state) = request.app_data::<Data<ApiState>>() else { return Ok(None) };
    let audit = Arc::clone(state.audit());
    let kept = kept(access, request.method(), state.settings().record_everything);
    let Who { source, request_id } = Who::of(request.request());
    let (category, kind) = match kept {
        Kept::Change(category) => (category, "request"),
        Kept::End => (Category::AccessControl, "request"),
        Kept::Error => (Category::RequestError, "request_error"),
    };
    let mut detail = json!({ "method": request.method().as_str() });
    if let Access::Needs(permission) = access {
        detail["permission"] = json!(permission);
    }
    let entry = Entry::new(source, category, kind, Outcome::Begun).on(request.path()).with(detail);
    let entry = Entry { request_id, ..entry };
    if let Kept::Change(_) = kept {
        let recorded = audit.record(entry.clone()).await;
        recorded.map_err(|error| Problem::new(Kind::AuditUnavailable, error.to_string()))?;
    }
    Ok(Some(Pending { audit, entry, kept, ended: false }))
}

impl Pending {
    /// How it ended.
    pub(super) fn end(mut self, status: StatusCode) {
        self.ended = true;
        let unreadable = matches!(status.as_u16(), 400 | 408 | 413 | 415 | 422 | 431);
        if self.kept == Kept::Error && !unreadable {
            return;
        }
        let result = match status.as_u16() {
            0..=399 => Outcome::Success,
            401 | 403 | 429 => Outcome::Refused,
            _ => Outcome::Failure,
        };
        let mut entry = Entry { result, ..self.entry.clone() };
        entry.detail["status"] = json!(status.as_u16());
        self.audit.tell(entry);
    }
}

impl Drop for Pending {
    /// Who asked went before there was an answer: what was begun is carried out all the same, or isn't.
    fn drop(&mut self) {
        if self.ended || self.kept == Kept::Error {
            return;
        }
        let mut entry = Entry { result: Outcome::Failure, ..self.entry.clone() };
        entry.detail["reason"] = json!("who asked didn't wait for the end");
        self.audit.tell(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_recorded_before_it_is_done_and_what_only_looks_is_not() {
        let needs = Access::Needs;
        for (access, method, everything, expected) in [
            (needs(Permission::DevicesConfigure), Method::PUT, false, Kept::Change(Category::Configuration)),
            (needs(Permission::ActorsOrder), Method::POST, false, Kept::Change(Category::SystemEvent)),
            (needs(Permission::SpoolManage), Method::DELETE, true, Kept::Change(Category::SystemEvent)),
            (needs(Permission::SpoolManage), Method::GET, false, Kept::Error),
            (needs(Permission::TagsRead), Method::GET, false, Kept::Error),
            (needs(Permission::TagsRead), Method::GET, true, Kept::End),
            (Access::Public, Method::GET, true, Kept::Error),
        ] {
            assert_eq!(kept(access, &method, everything), expected, "{access:?} {method} {everything}");
        }
    }
}
