//! REST as a client sees it: any status is an answer.

use std::time::Duration;

use serde_json::Value;
use ureq::tls::{TlsConfig, TlsProvider};

/// A status and its JSON; null where there is none.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Sends a request; a body goes with it unless it is null.
#[track_caller]
pub(crate) fn ask(method: &str, url: &str, body: &Value) -> Answer {
    try_ask(method, url, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// The same, as whoever this token says; `None`: as a stranger.
#[track_caller]
pub(crate) fn ask_as(token: Option<&str>, method: &str, url: &str, body: &Value) -> Answer {
    try_ask_as(token, method, url, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// The same, where nobody may be listening.
pub(crate) fn try_ask(method: &str, url: &str, body: &Value) -> Result<Answer, ureq::Error> {
    try_ask_as(Some(super::identity::TOKEN), method, url, body)
}

fn try_ask_as(token: Option<&str>, method: &str, url: &str, body: &Value) -> Result<Answer, ureq::Error> {
    // Whom to believe is what other tests ask; here it is this machine, whatever it shows.
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).disable_verification(true).build();
    let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls);
    let agent: ureq::Agent = config.timeout_global(Some(Duration::from_secs(30))).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = if body.is_null() {
        agent.run(request.body(())?)
    } else {
        agent.run(request.header("content-type", "application/json").body(body.to_string())?)
    }?;
    let text = answer.body_mut().read_to_string()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status: answer.status().as_u16(), body })
}
