//! Reads what `JetStream` answers to a publish. Pure.

use std::borrow::Cow;

use nats::{Message, StatusCode};
use serde::Deserialize;

use crate::broker::Outcome;

/// What an answer means for its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is settled.
    Settled(Outcome),
    /// The server is busy or full: to be sent again, but not at once.
    Later(String),
    /// No stream took it: either none has the subject, or the stream has no leader now.
    NoStream,
    /// No answer of a stream: somebody else replies to what is published.
    Foreign,
}

#[derive(Deserialize)]
struct PubAck<'a> {
    #[serde(borrow, default)]
    stream: Option<Cow<'a, str>>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    error: Option<ApiError>,
}

/// An error of `JetStream`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    /// As in HTTP.
    #[serde(default)]
    pub(super) code: u16,
    /// What it is exactly.
    #[serde(default)]
    pub(super) err_code: u64,
    /// In words.
    #[serde(default)]
    pub(super) description: String,
}

/// Reads an answer.
pub(super) fn read(message: &Message) -> Answer {
    match message.status {
        Some(StatusCode::NO_RESPONDERS) => Answer::NoStream,
        Some(_) => Answer::Foreign,
        None => read_payload(&message.payload),
    }
}

fn read_payload(payload: &[u8]) -> Answer {
    match serde_json::from_slice::<PubAck<'_>>(payload) {
        Ok(PubAck { error: Some(error), .. }) => of_error(&error),
        Ok(PubAck { stream: Some(_), duplicate: true, .. }) => Answer::Settled(Outcome::Duplicate),
        Ok(PubAck { stream: Some(_), .. }) => Answer::Settled(Outcome::Delivered),
        _ => Answer::Foreign,
    }
}

/// Errors of the kind 4xx are about the message, those of 5xx about the server (and 429 is too much at a time).
fn of_error(error: &ApiError) -> Answer {
    let text = format!("{} (error {})", error.description, error.err_code);
    match error.code {
        429 | 500.. => Answer::Later(text),
        _ => Answer::Settled(Outcome::Refused(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let refused = |text: &str| Answer::Settled(Outcome::Refused(text.to_owned()));
        for (payload, expected) in [
            (r#"{"stream":"S","seq":1}"#, Answer::Settled(Outcome::Delivered)),
            (r#"{"stream":"S\u0041","domain":"d","seq":1}"#, Answer::Settled(Outcome::Delivered)),
            (r#"{"stream":"S","seq":1,"duplicate":true}"#, Answer::Settled(Outcome::Duplicate)),
            (
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}"#,
                Answer::Later("maximum bytes exceeded (error 10077)".to_owned()),
            ),
            (
                r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"seq":0}"#,
                refused("message size exceeds maximum allowed (error 10054)"),
            ),
            ("", Answer::Foreign),
            (r#"{"ok":true}"#, Answer::Foreign),
            ("[1]", Answer::Foreign),
        ] {
            assert_eq!(read_payload(payload.as_bytes()), expected, "{payload}");
        }
    }
}
