//! Answers what arrives through a broker: reads the payload, goes the common path, writes the reply.
//!
//! What can't be understood is answered as `rejected` and put into the dead letters with the reason. What is
//! too much at a time is refused, not queued. What a session's filter keeps back can't be asked for by it either:
//! it is answered like what isn't there.

use std::{future::ready, sync::Arc, time::Duration};

use bifrost_model::{CommandResult, CommandStatus, Event, Severity, Tag, Timestamp, check_id};
use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::{sync::Semaphore, time::timeout};

use super::{Commands, Order, Origin, Protocol, ReadError, event};
use crate::{
    broker::{Answering, CommandSettings, Reply, Request, Selection, TOO_MANY},
    dead_letters::{Asked, Bury, NewLetter},
    router::LastTag,
};

/// Largest answer to a read that is told as an event.
const MAX_EVENT: usize = 8 * 1024;
/// Largest payload of a request, in bytes.
const MAX_PAYLOAD: usize = 64 << 10;
/// Longest time that a read may take.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// What may be reached through a session, by its name; `None`: there is no such session (any more).
pub(crate) type FindSelection = Box<dyn Fn(&str) -> Option<Arc<Selection>> + Send + Sync>;

/// Tags to read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReadOrder {
    tag_ids: Option<Vec<String>>,
    cached: bool,
}

/// Why a request isn't carried out.
enum Refusal {
    /// Nobody understands it: a dead letter.
    NotUnderstood(String),
    /// It is understood, and not allowed.
    NotNow(String),
    /// It is too much.
    TooMany(String),
}

impl Commands {
    /// Answers the requests of sessions of one kind. A command is handed to its device before the call
    /// returns, so that commands are carried out in the order of the calls, not of the answers.
    pub fn answering(&self, protocol: Protocol, settings: CommandSettings) -> Answering {
        self.answer_as(protocol, settings, true)
    }

    /// The same for requests that lie in the dead letters already.
    pub(crate) fn answering_again(&self, protocol: Protocol) -> Answering {
        self.answer_as(protocol, CommandSettings::default(), false)
    }

    fn answer_as(&self, protocol: Protocol, settings: CommandSettings, bury: bool) -> Answering {
        let (commands, places) = (self.clone(), Arc::new(Semaphore::new(settings.max_pending)));
        Arc::new(move |request| {
            let origin = Origin::Session(protocol, Arc::clone(&request.session));
            let place = Arc::clone(&places).try_acquire_owned();
            let asked = match &place {
                Ok(_) => commands.ask(&request, &settings, &origin),
                Err(_) => Err(Refusal::TooMany(format!(
                    "{} requests wait for an answer already; try again later",
                    settings.max_pending
                ))),
            };
            let answer: BoxFuture<'static, Reply> = match asked {
                Ok(answer) => Box::pin(async move {
                    let _place = place;
                    answer.await
                }),
                Err(refusal) => Box::pin(ready(commands.refuse(&request, protocol, &origin, &refusal, bury))),
            };
            if request.verb != "read" || request.wants_reply {
                return answer;
            }
            // Nobody named a place for the answer: it is among the device's events.
            let commands = commands.clone();
            answer.inspect(move |reply| commands.tell_read(&request, reply)).boxed()
        })
    }

    /// Does what is asked, as far as that must be done in order; the rest is the answer's.
    fn ask(
        &self,
        request: &Request,
        settings: &CommandSettings,
        origin: &Origin,
    ) -> Result<BoxFuture<'static, Reply>, Refusal> {
        let Some(device_id) = request.device_id.as_deref() else {
            return Err(Refusal::NotUnderstood("the topic names no device".to_owned()));
        };
        if request.payload.len() > MAX_PAYLOAD {
            let length = request.payload.len();
            let reason = format!("the payload has {length} bytes; at most {MAX_PAYLOAD} are taken");
            return Err(Refusal::NotUnderstood(reason));
        }
        let Some(selection) = (self.0.sessions)(&request.session) else {
            return Err(Refusal::NotNow(format!("there is no session {:?} any more", request.session)));
        };
        let allowed = settings.enabled && (settings.write || request.verb != "write");
        match request.verb.as_str() {
            "write" | "read" if !allowed => Err(Refusal::NotNow(
                "the configuration of this broker (commands) doesn't allow it".to_owned(),
            )),
            "write" => self.ask_to_write(&selection, device_id, &request.payload, origin),
            "read" => self.ask_to_read(&selection, device_id, &request.payload),
            other => {
                Err(Refusal::NotUnderstood(format!("{other:?} is no command; there are write and read")))
            }
        }
    }

    fn ask_to_write(
        &self,
        selection: &Selection,
        device_id: &str,
        payload: &Bytes,
        origin: &Origin,
    ) -> Result<BoxFuture<'static, Reply>, Refusal> {
        let order: Order = parse(payload)?;
        if let Some(Err(error)) = order.command_id.as_deref().map(check_id) {
            return Err(Refusal::NotUnderstood(format!("command_id {error}")));
        }
        let unknown = |error: crate::router::Unknown| Refusal::NotUnderstood(error.to_string());
        let handed = self.write_within(Some(selection), device_id, order, origin.clone()).map_err(unknown)?;
        Ok(handed.result().map(|result| reply(&result, result.error.clone())).boxed())
    }

    fn ask_to_read(
        &self,
        selection: &Arc<Selection>,
        device_id: &str,
        payload: &Bytes,
    ) -> Result<BoxFuture<'static, Reply>, Refusal> {
        let blank = payload.iter().all(u8::is_ascii_whitespace);
        let order: ReadOrder = if blank { ReadOrder::default() } else { parse(payload)? };
        let read = self.read_within(Some(selection), device_id, order.tag_ids, order.cached);
        let device_id = device_id.to_owned();
        Ok(Box::pin(async move {
            match timeout(READ_LIMIT, read).await {
                Ok(Ok(tags)) => tags_read(&device_id, &tags),
                Ok(Err(error)) => not_read(&device_id, status(&error), &error.to_string()),
                Err(_) => not_read(&device_id, "failed", &format!("no answer within {READ_LIMIT:?}")),
            }
        }))
    }

    /// Answers what isn't carried out, tells of it, and keeps what nobody understood.
    fn refuse(
        &self,
        request: &Request,
        protocol: Protocol,
        origin: &Origin,
        refusal: &Refusal,
        bury: bool,
    ) -> Reply {
        let (Refusal::NotUnderstood(reason) | Refusal::NotNow(reason) | Refusal::TooMany(reason)) = refusal;
        let (command_id, tag_id) = names(&request.payload);
        let id = command_id.as_deref().unwrap_or_default().into();
        let result = CommandResult::not_ok(id, CommandStatus::Rejected, reason.clone());
        let device = request.device_id.as_deref().unwrap_or_default();
        if request.verb != "read" && !self.is_kept_back(&request.session, device) {
            self.0.events.record(event(device, tag_id.as_deref(), None, origin, &result));
        }
        if bury && matches!(refusal, Refusal::NotUnderstood(_)) {
            self.bury(request, protocol, reason);
        }
        let mut answer = json!({ "status": "rejected", "error": reason, "timestamp": result.timestamp });
        if let Some(id) = command_id {
            answer["command_id"] = id.into();
        }
        let too_many = matches!(refusal, Refusal::TooMany(_));
        reply(&answer, if too_many { Some(TOO_MANY.to_owned()) } else { result.error })
    }

    /// A read's answer as an event. Events are kept in memory, so a large one only says what to do.
    fn tell_read(&self, request: &Request, reply: &Reply) {
        let device = request.device_id.as_deref().unwrap_or_default();
        if self.is_kept_back(&request.session, device) {
            return;
        }
        let bytes = reply.payload.len();
        let data = if bytes > MAX_EVENT {
            let error = format!("the answer has {bytes} bytes; name fewer tags, or a response topic");
            json!({ "status": "rejected", "error": error, "timestamp": Timestamp::now() })
        } else {
            serde_json::from_slice(&reply.payload).unwrap_or_default()
        };
        let read = Event::new(device, "read_result", Severity::Info, "tags were read for a broker's client");
        self.0.events.record(read.with(data));
    }

    /// Whether a device is there, but not for this session: what is asked through it mustn't be heard by those
    /// whose device it is, who'd take it for an answer of theirs.
    fn is_kept_back(&self, session: &str, device_id: &str) -> bool {
        let selection = (self.0.sessions)(session);
        self.target(None, device_id).is_ok() && self.target(selection.as_deref(), device_id).is_err()
    }

    fn bury(&self, request: &Request, protocol: Protocol, reason: &str) {
        let Some(letters) = self.0.letters.get() else { return };
        let asked = Asked { protocol, device_id: request.device_id.clone(), verb: request.verb.clone() };
        let (session, topic) = (Arc::clone(&request.session), Arc::clone(&request.topic));
        // Beyond the bound it is of no use but to be looked at.
        let payload = Bytes::copy_from_slice(request.payload.get(..MAX_PAYLOAD).unwrap_or(&request.payload));
        let letter = NewLetter::command(session, topic, reason, payload, asked);
        // Full: counted at the mailbox; the sender has its answer all the same.
        let _ = letters.bury.try_send(Bury(letter));
    }
}

/// An object of one shape. Refuses keys that come twice: which of them is meant isn't known; and arrays, of
/// which serde would take the elements for the keys.
fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Refusal> {
    if payload.trim_ascii().is_empty() {
        return Err(Refusal::NotUnderstood("the payload is empty; a JSON object is needed".to_owned()));
    }
    if !payload.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::NotUnderstood("the payload is no JSON object".to_owned()));
    }
    serde_json::from_slice(payload).map_err(|error| Refusal::NotUnderstood(error.to_string()))
}

/// The id and the tag that a request names, as far as it can be read.
fn names(payload: &[u8]) -> (Option<String>, Option<String>) {
    if payload.len() > MAX_PAYLOAD {
        return (None, None);
    }
    let json: Json = serde_json::from_slice(payload).unwrap_or_default();
    let name =
        |key| json.get(key).and_then(Json::as_str).filter(|id| check_id(id).is_ok()).map(str::to_owned);
    (name("command_id"), name("tag_id"))
}

fn reply(answer: &impl Serialize, error: Option<String>) -> Reply {
    Reply { payload: serde_json::to_vec(answer).unwrap_or_default().into(), error }
}

/// The reply to a read.
#[derive(Serialize)]
struct TagsRead<'a> {
    device_id: &'a str,
    status: &'static str,
    tags: Vec<Tag<'a>>,
    count: usize,
    timestamp: Timestamp,
}

fn tags_read(device_id: &str, tags: &[LastTag]) -> Reply {
    let tags: Vec<_> = tags.iter().filter_map(LastTag::tag).collect();
    let count = tags.len();
    reply(&TagsRead { device_id, status: "ok", tags, count, timestamp: Timestamp::now() }, None)
}

fn not_read(device_id: &str, status: &str, error: &str) -> Reply {
    let answer = json!({
        "device_id": device_id, "status": status, "error": error, "timestamp": Timestamp::now()
    });
    reply(&answer, Some(error.to_owned()))
}

/// What can't be asked for is rejected, what didn't succeed failed.
fn status(error: &ReadError) -> &'static str {
    match error {
        ReadError::Unknown(_) | ReadError::UnknownTags { .. } => "rejected",
        ReadError::Away(_) | ReadError::Device(_) => "failed",
    }
}
