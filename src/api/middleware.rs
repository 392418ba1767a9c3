//! What every request passes: who may ask, how long an answer may take, and the form of what goes wrong.
//!
//! Knows no resource.

use std::{panic::AssertUnwindSafe, time::Instant};

use actix_web::{
    Error, HttpMessage as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt as _;

use super::{
    error::{Kind, Problem},
    hosts,
    record::RequestId,
    state::Bounds,
};

/// Names a request: in answers, problems and logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const PROTECTION: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// Headers that keep browsers from making more of an answer than it is; what is set already stays.
pub(super) fn secure(headers: &mut HeaderMap) {
    for (name, value) in PROTECTION {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// Who asked for what, and since when.
struct Asked {
    method: Method,
    path: String,
    id: String,
    since: Instant,
}

impl Asked {
    fn of(request: &ServiceRequest) -> Self {
        let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let id = id
            .filter(|id| is_id(id))
            .map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned);
        Self { method: request.method().clone(), path: request.path().to_owned(), id, since: Instant::now() }
    }

    fn log(&self, status: StatusCode, detail: &str) {
        let (method, path, id) = (self.method.as_str(), self.path.as_str(), self.id.as_str());
        let (status, took) = (status.as_u16(), self.since.elapsed());
        if status >= 500 {
            tracing::warn!(method, path, id, status, ?took, detail, "request failed");
        } else {
            tracing::debug!(method, path, id, status, ?took, detail, "request answered");
        }
    }
}

/// Only what can do no harm in a log line or a header is taken from the client.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

/// Wraps every request and every answer.
pub(super) async fn envelope(
    bounds: Data<Bounds>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let asked = Asked::of(&request);
    request.extensions_mut().insert(RequestId(asked.id.clone()));
    let mut response = match answer(&bounds, request, next).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(problem) => return Err(fail(&asked, problem).into()),
    };
    if let Some(problem) = problem_of(&response) {
        let problem = fail(&asked, problem);
        return Ok(response.into_response(actix_web::ResponseError::error_response(&problem)));
    }
    asked.log(response.status(), "");
    secure(response.headers_mut());
    if let Ok(id) = HeaderValue::from_str(&asked.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

fn fail(asked: &Asked, problem: Problem) -> Problem {
    let problem = problem.in_request(&asked.path, &asked.id);
    asked.log(actix_web::ResponseError::status_code(&problem), &problem.detail);
    problem
}

/// The answer of whoever is asked, within its time; a panic ends this request and nothing else.
async fn answer<B: MessageBody + 'static>(
    bounds: &Bounds,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Problem> {
    hosts::check(request.head(), bounds.identity.as_ref())?;
    let limit = bounds.answer_time(request.path());
    let answer = AssertUnwindSafe(next.call(request)).catch_unwind();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(Ok(response))) => Ok(response),
        Ok(Ok(Err(error))) => Err(of_error(&error)),
        Ok(Err(_panic)) => Err(Problem::new(Kind::Internal, "the request's handler panicked; see the log")),
        Err(_) => {
            let detail = format!("no answer within {limit:?}; the key is gateway.performance.write_timeout");
            Err(Problem::new(Kind::RequestTimeout, detail))
        }
    }
}

fn of_error(error: &Error) -> Problem {
    let other = || Problem::of_status(error.as_response_error().status_code(), error.to_string());
    error.as_error::<Problem>().cloned().unwrap_or_else(other)
}

/// What an answer with an error status says, unless it is JSON that a handler chose to give.
fn problem_of(response: &ServiceResponse) -> Option<Problem> {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if let Some(error) = response.response().error() {
        return Some(of_error(error));
    }
    if status.as_u16() < 400 || content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/json"))
    {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => Problem::new(Kind::UnknownPath, "the paths are listed at /api/openapi.json"),
        StatusCode::METHOD_NOT_ALLOWED => method_not_allowed(response.headers()),
        _ => Problem::of_status(status, "the request can't be answered"),
    })
}

fn method_not_allowed(headers: &HeaderMap) -> Problem {
    let methods = headers.get_all(header::ALLOW).filter_map(|value| value.to_str().ok());
    let methods = methods.collect::<Vec<_>>().join(", ");
    Problem::new(Kind::MethodNotAllowed, format!("possible here: {methods}")).allowing(methods)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::{
        App, HttpResponse,
        middleware::from_fn,
        test::{TestRequest, init_service},
        web,
    };
    use serde_json::Value;

    use super::*;

    async fn panics() -> HttpResponse {
        panic!("boom")
    }

    async fn never_answers() -> HttpResponse {
        std::future::pending().await
    }

    async fn fails() -> Result<HttpResponse, Error> {
        Err(actix_web::error::ErrorNotAcceptable("nothing that you accept"))
    }

    async fn ask(path: &str, host: &str) -> (u16, HeaderMap, Value) {
        let bounds = Bounds {
            max_body: 1024,
            body_time: Duration::from_secs(1),
            answer_time: Duration::from_millis(50),
            discovery_time: Duration::from_secs(1),
            identity: None,
        };
        let app = App::new()
            .app_data(Data::new(bounds))
            .route("/panics", web::get().to(panics))
            .route("/never", web::get().to(never_answers))
            .route("/fails", web::get().to(fails))
            .service(web::resource("/fine").route(web::get().to(HttpResponse::Ok)))
            .wrap(from_fn(envelope));
        let app = init_service(app).await;
        let request = TestRequest::with_uri(path).insert_header((header::HOST, host));
        let response = match actix_web::dev::Service::call(&app, request.to_request()).await {
            Ok(response) => response,
            Err(error) => {
                let response = error.error_response();
                ServiceResponse::new(TestRequest::default().to_http_request(), response)
            }
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap_or_default();
        (status, headers, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[actix_web::test]
    async fn every_failure_is_a_problem_that_names_its_request() {
        for (path, host, status, slug) in [
            ("/panics", "localhost", 500, "urn:bifrost:problem:internal"),
            ("/never", "localhost", 504, "urn:bifrost:problem:request-timeout"),
            ("/fails", "localhost", 406, "about:blank"),
            ("/nowhere", "localhost", 404, "urn:bifrost:problem:unknown-path"),
            ("/fine", "evil.example", 403, "urn:bifrost:problem:foreign-host"),
        ] {
            let (answered, headers, problem) = ask(path, host).await;
            assert_eq!((answered, problem["type"].as_str()), (status, Some(slug)), "{path}: {problem}");
            assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/problem+json");
            assert_eq!(headers.get(header::X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
            assert_eq!(
                (problem["instance"].as_str(), problem["status"].as_u64()),
                (Some(path), Some(status.into()))
            );
            assert_eq!(headers.get(REQUEST_ID).unwrap(), problem["request_id"].as_str().unwrap());
        }
    }

    #[actix_web::test]
    async fn what_goes_well_is_protected_and_named() {
        let (status, headers, _) = ask("/fine", "127.0.0.1:8080").await;
        assert_eq!(
            (status, headers.get(header::CACHE_CONTROL).unwrap().to_str().unwrap()),
            (200, "no-store")
        );
        assert!(headers.contains_key(REQUEST_ID));
    }

    #[test]
    fn only_harmless_request_ids_are_taken_over() {
        for (id, harmless) in [("a-1_b.c:d", true), ("", false), ("a b", false), ("a\"", false), ("ä", false)]
        {
            assert_eq!(is_id(id), harmless, "{id:?}");
        }
        assert!(!is_id(&"a".repeat(65)));
    }

    #[test]
    fn protection_leaves_alone_what_is_set() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        secure(&mut headers);
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "max-age=60");
        assert_eq!(headers.get(header::X_FRAME_OPTIONS).unwrap(), "DENY");
    }
}
