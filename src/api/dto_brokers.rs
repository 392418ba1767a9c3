//! What REST is asked and answers of what goes to brokers: dead letters and spools.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bifrost_actors::{
    dead_letters::{Letter, What},
    spool::SpoolReport,
};
use bifrost_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schemas;

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LetterQuery {
    /// At most so many entries; absent: `api.page_limit_default`, at most `api.page_limit_max`.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Only those of this session.
    pub session: Option<String>,
}

/// Which dead letters to delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LetterDeletion {
    /// Only those of this session; absent: all.
    pub session: Option<String>,
}

/// What a broker refused for good, or a command that nobody understood.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterRow {
    /// Counts up and never repeats.
    pub id: u64,
    /// The session, by name.
    #[schema(value_type = String)]
    pub session: Arc<str>,
    /// `message` (to the broker) or `command` (from it).
    #[schema(example = "message")]
    pub kind: &'static str,
    /// The topic or subject.
    #[schema(value_type = String)]
    pub topic: Arc<str>,
    /// Why it is dead.
    pub reason: String,
    /// The device it is about; empty when none is known.
    pub device_id: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// How long the payload is.
    pub payload_bytes: u64,
    /// The payload, when it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    pub payload: Option<serde_json::Value>,
    /// The payload, when it isn't, in base64. Lists leave out both when it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

impl From<Letter> for LetterRow {
    fn from(letter: Letter) -> Self {
        let (payload, payload_base64) = shown(letter.payload.as_deref());
        let kind = match &letter.what {
            What::Message(_) => "message",
            What::Command(_) => "command",
        };
        Self {
            id: letter.id,
            session: letter.session,
            kind,
            topic: letter.topic,
            reason: letter.reason,
            device_id: letter.what.device_id().to_owned(),
            timestamp: letter.at,
            payload_bytes: letter.payload_bytes,
            payload,
            payload_base64,
        }
    }
}

/// As JSON, or in base64.
fn shown(payload: Option<&[u8]>) -> (Option<serde_json::Value>, Option<String>) {
    let Some(payload) = payload else { return (None, None) };
    match serde_json::from_slice(payload) {
        Ok(json) => (Some(json), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(payload))),
    }
}

/// One page of dead letters, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterList {
    /// Newest first.
    pub letters: Vec<LetterRow>,
    /// How many are on this page.
    pub count: usize,
    /// How many are kept.
    pub total: u64,
    /// How many made room for newer ones since the gateway started.
    pub made_room: u64,
    /// How many couldn't be kept at all since the gateway started.
    pub lost: u64,
    /// Asks for older ones; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A dead letter that is none any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterReplayed {
    /// Which.
    pub id: u64,
    /// `queued` (a message waits for its broker) or `answered` (a command was carried out, or tried).
    #[schema(example = "queued")]
    pub outcome: &'static str,
    /// What the command was answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    pub answer: Option<serde_json::Value>,
}

/// Dead letters that were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct LettersDeleted {
    /// How many.
    pub deleted: u64,
}

/// What waits for brokers, session by session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpoolList {
    /// By name.
    #[schema(value_type = Vec<schemas::SpoolSchema>)]
    pub spools: Vec<SpoolReport>,
    /// How many.
    pub count: usize,
}
