//! What can be said to the dead letters' actor.

use std::{fmt, sync::Arc};

use actix::{Message, Recipient};
use bifrost_model::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{broker::Outgoing, commands::Protocol, supervision::Port};

/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 1024;

/// What a letter once was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A message to a broker; its payload is the letter's.
    Message(Outgoing),
    /// A request from one.
    Command(Asked),
}

impl What {
    /// The device it is about; empty: none is known.
    pub fn device_id(&self) -> &str {
        match self {
            Self::Message(message) => &message.device,
            Self::Command(asked) => asked.device_id.as_deref().unwrap_or_default(),
        }
    }
}

/// What a request asked for, as far as its topic says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// How its session speaks.
    pub protocol: Protocol,
    /// Of which device.
    pub device_id: Option<String>,
    /// What.
    pub verb: String,
}

/// A letter that isn't kept yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLetter {
    /// The session, by name.
    pub session: Arc<str>,
    /// The topic or subject.
    pub topic: Arc<str>,
    /// Why it is dead.
    pub reason: String,
    /// As it was sent, or came.
    pub payload: Bytes,
    /// What it was.
    pub what: What,
    /// Since when.
    pub at: Timestamp,
}

impl NewLetter {
    /// A message that a session's broker refuses for good.
    pub fn message(session: Arc<str>, reason: &str, mut message: Outgoing) -> Self {
        let (topic, payload) = (Arc::clone(&message.topic), std::mem::take(&mut message.payload));
        Self::new(session, topic, reason, payload, What::Message(message))
    }

    /// A request that can't be understood.
    pub fn command(session: Arc<str>, topic: Arc<str>, reason: &str, payload: Bytes, asked: Asked) -> Self {
        Self::new(session, topic, reason, payload, What::Command(asked))
    }

    fn new(session: Arc<str>, topic: Arc<str>, reason: &str, payload: Bytes, what: What) -> Self {
        let end = reason.floor_char_boundary(MAX_REASON);
        let reason = reason.get(..end).unwrap_or_default().to_owned();
        Self { session, topic, reason, payload, what, at: Timestamp::now() }
    }

    /// About how many bytes it takes in memory.
    pub(super) fn size(&self) -> usize {
        self.payload.len() + self.topic.len() + self.reason.len() + 256
    }
}

/// A letter that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Counts up and never repeats.
    pub id: u64,
    /// The session, by name.
    pub session: Arc<str>,
    /// The topic or subject.
    pub topic: Arc<str>,
    /// Why it is dead.
    pub reason: String,
    /// As it was sent, or came; `None` where it is left out of a list because of its size.
    pub payload: Option<Bytes>,
    /// How long it is.
    pub payload_bytes: u64,
    /// What it was.
    pub what: What,
    /// Since when.
    pub at: Timestamp,
}

/// Keep this. Send it by [`LettersPorts::bury`], which doesn't wait.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Bury(pub NewLetter);

/// Which letters, newest first.
#[derive(Debug, Clone, Default, Message)]
#[rtype(result = "Result<Letters, String>")]
pub struct ListLetters {
    /// Only those with a smaller id.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Only those of this session.
    pub session: Option<String>,
    /// Longer payloads are left out.
    pub max_payload: usize,
}

/// Letters, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters {
    /// Newest first.
    pub letters: Vec<Letter>,
    /// How many are kept, of the session or of all.
    pub total: u64,
    /// How many made room for newer ones, since the gateway started.
    pub made_room: u64,
    /// How many couldn't be kept at all, since the gateway started.
    pub lost: u64,
}

/// One letter, with its payload.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Option<Letter>, String>")]
pub struct GetLetter(pub u64);

/// Which letters to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One.
    One(u64),
    /// Those of one session.
    Session(String),
    /// All.
    All,
}

/// Delete letters; answers how many.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<u64, String>")]
pub struct DeleteLetters(pub Which);

/// Send a message after all, or carry a command out after all; the letter is deleted when that is done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Replayed, ReplayError>")]
pub struct Replay(pub u64);

/// A letter that is none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// The session's spool has taken the message.
    Queued,
    /// The command was answered with this JSON.
    Answered(Bytes),
}

/// Why a letter stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// There is none of this number.
    #[error("there is no dead letter {0}")]
    Unknown(u64),
    /// Somebody else replays it now.
    #[error("dead letter {0} is being replayed")]
    UnderWay(u64),
    /// Nobody could send it.
    #[error("there is no session {0:?} now that could send it")]
    NoSession(Arc<str>),
    /// It isn't taken this time either.
    #[error("{0}")]
    Refused(String),
    /// The store can't be read or written.
    #[error("{0}")]
    Store(String),
}

/// The addresses of the dead letters' actor.
#[derive(Clone)]
pub struct LettersPorts {
    /// Keeps.
    pub bury: Port<Bury>,
    /// Lists.
    pub list: Recipient<ListLetters>,
    /// Shows one.
    pub get: Recipient<GetLetter>,
    /// Deletes.
    pub delete: Recipient<DeleteLetters>,
    /// Replays.
    pub replay: Recipient<Replay>,
}

impl fmt::Debug for LettersPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LettersPorts")
    }
}
