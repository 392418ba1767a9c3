//! Every error as problem details (RFC 9457), with a type that programs can rely on.
//!
//! Handlers return [`Problem`]; [`super::middleware`] adds where and in which request it happened, and turns
//! whatever else answers with an error status into one.

use std::{fmt, ops::Deref};

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{StatusCode, header},
};
use serde::Serialize;
use utoipa::ToSchema;

pub use super::kind::Kind;

/// The media type of every error.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// One key and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyProblem {
    /// The device it belongs to, where several are spoken of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Where, as `tags[3].address`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl KeyProblem {
    /// Of a key that needs no device to be found.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { device_id: None, key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(device) = &self.device_id {
            write!(f, "{device}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// Why a request isn't answered as asked: [`Details`], kept small to travel in a `Result`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Details>);

/// Problem details (RFC 9457): the body of every error, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Details {
    /// What went wrong, as programs see it: `urn:bifrost:problem:…`, or `about:blank` for a bare status.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The same for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, and what to do.
    pub detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The request, as in the header `x-request-id` and in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Everything that is wrong, key by key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<KeyProblem>,
    /// Where malformed JSON broke off, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Where in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The methods that the path has, for the header `Allow`.
    #[serde(skip)]
    #[schema(ignore)]
    pub allow: Option<String>,
    /// When to come again, in seconds, for the header `Retry-After`.
    #[serde(skip)]
    #[schema(ignore)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of this kind, with what went wrong this time.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, slug, title) = (kind.status(), kind.slug(), kind.title());
        Self::build(status, format!("urn:bifrost:problem:{slug}"), title.to_owned(), detail.into())
    }

    /// A bare status that something else answered with.
    pub fn of_status(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self::build(status, "about:blank".to_owned(), title, detail.into())
    }

    fn build(status: StatusCode, type_uri: String, title: String, detail: String) -> Self {
        let (instance, request_id, line, column, allow) = (None, None, None, None, None);
        let (status, errors) = (status.as_u16(), Vec::new());
        let details = Details {
            type_uri,
            title,
            status,
            detail,
            instance,
            request_id,
            errors,
            line,
            column,
            allow,
            retry_after: None,
        };
        Self(Box::new(details))
    }

    /// Invalid keys, with a detail that names the first.
    pub fn of_keys(kind: Kind, errors: Vec<KeyProblem>) -> Self {
        let detail = match errors.as_slice() {
            [] => "invalid".to_owned(),
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more, see errors)", rest.len()),
        };
        Self::new(kind, detail).with_errors(errors)
    }

    /// No device of this id.
    pub fn unknown_device(id: &str) -> Self {
        Self::new(Kind::UnknownDevice, format!("no device has the id {id:?}; see GET /api/devices"))
    }

    /// No dead letter of this id.
    pub fn unknown_letter(id: impl fmt::Display) -> Self {
        let detail = format!("there is no dead letter {id}; see GET /api/dead-letters");
        Self::new(Kind::UnknownLetter, detail)
    }

    /// With everything that is wrong, key by key.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<KeyProblem>) -> Self {
        self.0.errors = errors;
        self
    }

    /// With the methods that the path has.
    #[must_use]
    pub fn allowing(mut self, methods: String) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// With the time after which to come again.
    #[must_use]
    pub fn after(mut self, time: std::time::Duration) -> Self {
        self.0.retry_after = Some(time.as_secs().max(1));
        self
    }

    /// With where malformed JSON broke off, both from 1.
    #[must_use]
    pub fn at_position(mut self, line: usize, column: usize) -> Self {
        (self.0.line, self.0.column) = (Some(line), Some(column));
        self
    }

    /// With the request it belongs to.
    #[must_use]
    pub fn in_request(mut self, path: &str, request_id: &str) -> Self {
        self.0.instance = Some(path.to_owned());
        self.0.request_id = Some(request_id.to_owned());
        self
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut builder = HttpResponse::build(self.status());
        builder.insert_header((header::CONTENT_TYPE, CONTENT_TYPE));
        if let Some(id) = &self.request_id {
            builder.insert_header((super::middleware::REQUEST_ID, id.as_str()));
        }
        if let Some(allow) = &self.allow {
            builder.insert_header((header::ALLOW, allow.as_str()));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            builder.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            builder.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.status() == StatusCode::UPGRADE_REQUIRED {
            builder.insert_header((header::UPGRADE, "websocket"));
        }
        let mut response = builder.body(serde_json::to_vec(&self.0).unwrap_or_default());
        super::middleware::secure(response.headers_mut());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_and_why() {
        let errors = vec![KeyProblem::new("id", "is empty"), KeyProblem::new("tags[0].address", "too large")];
        let problem = Problem::of_keys(Kind::InvalidSettings, errors).in_request("/api/devices", "abc");
        assert_eq!(
            serde_json::to_value(&*problem).unwrap(),
            serde_json::json!({
                "type": "urn:bifrost:problem:invalid-settings", "title": "The settings can't work", "status": 422,
                "detail": "id: is empty (and 1 more, see errors)", "instance": "/api/devices", "request_id": "abc",
                "errors": [{"key": "id", "reason": "is empty"}, {"key": "tags[0].address", "reason": "too large"}]
            })
        );
    }

    #[test]
    fn a_bare_status_becomes_a_problem_without_a_type_of_its_own() {
        let problem = Problem::of_status(StatusCode::NOT_ACCEPTABLE, "no");
        assert_eq!((problem.type_uri.as_str(), problem.title.as_str()), ("about:blank", "Not Acceptable"));
    }

    #[test]
    fn the_answer_carries_type_allow_and_protection() {
        let problem = Problem::new(Kind::MethodNotAllowed, "no").allowing("GET, HEAD".to_owned());
        let response = problem.error_response();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("content-type").as_deref(), Some("application/problem+json"));
        assert_eq!(header("allow").as_deref(), Some("GET, HEAD"));
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
    }
}
