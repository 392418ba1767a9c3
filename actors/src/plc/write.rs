//! The way of a write through a device's actor: accepted, noted, its turn, the driver, its result.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use actix::{ActorFutureExt, Handler, ResponseActFuture, WrapFuture};
use bifrost_drivers::{Driver, WriteError};
use bifrost_model::{Command, CommandResult, CommandStatus, Reason, Timestamp};
use bifrost_security::audit::{Category, Entry, Outcome};
use futures_util::{
    FutureExt as _, TryFutureExt as _,
    future::{LocalBoxFuture, ready, try_join},
};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{actor::PlcConnection, commands::Desk, messages::WriteTag, scan::NO_SUCH_FUNCTION, turns::Place};
use crate::commands::{Conclude, LedgerPorts, Note, Origin, event, status_name};

/// Longest time from a command's acceptance to its result. Less than REST waits: what REST calls unanswered is
/// not carried out later.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// Longest time from a command's acceptance to its result, for a device whose answers are waited for so long.
pub(crate) fn command_limit(timeout: Duration) -> Duration {
    COMMAND_LIMIT.max(timeout * 2)
}

impl PlcConnection {
    /// Counts a result, and tells all of it.
    fn take_result(&mut self, WriteTag { command, origin, .. }: &WriteTag, result: &CommandResult) {
        let ok = result.status == CommandStatus::Ok;
        self.counters.writes_ok += u64::from(ok);
        self.counters.writes_not_ok += u64::from(!ok);
        self.parts.shared.metrics.write(self.id(), status_name(result.status));
        let device = Arc::clone(self.parts.device.tags.device_id());
        let told = event(device, Some(&command.tag_id), Some(&command.value), origin, result);
        self.parts.shared.events.record(told);
        let record = self.record(command, origin, outcome(result.status));
        let detail = json!({ "status": result.status, "error": result.error, "read_back": result.read_back });
        self.parts.shared.audit.tell(merge(record, detail, self.is_secret(command)));
    }

    /// What the audit trail says of a command: everything but its result.
    fn record(&self, command: &Command, origin: &Origin, outcome: Outcome) -> Entry {
        let entry = Entry::new(origin.source(), Category::AccessControl, "tag_write", outcome);
        let value = if self.is_secret(command) { json!("(secret)") } else { json!(command.value) };
        let detail = json!({ "command_id": command.command_id, "tag_id": command.tag_id, "value": value });
        let entry = entry.on(self.id()).with(detail);
        Entry { request_id: origin.request_id(), ..entry }
    }

    fn is_secret(&self, command: &Command) -> bool {
        let device = &self.parts.device;
        device.tags.index_of(&command.tag_id).is_some_and(|tag| device.rules.of(tag).secret)
    }

    /// What can't be recorded isn't done.
    fn refuse_unrecorded(&self, command: &Command) -> Result<(), CommandResult> {
        let writable = self.parts.shared.audit.is_writable();
        writable.map_err(|error| not_ok(command, CommandStatus::Failed, format!("nothing was sent: {error}")))
    }

    /// Which tag a command is for, or why it isn't carried out; then its id may be used again.
    fn accept(&self, order: &WriteTag) -> Result<u32, CommandResult> {
        let (command, device) = (&order.command, &self.parts.device);
        self.refuse_unrecorded(command)?;
        let mut desk = self.desk.borrow_mut();
        let tag = desk.accept(order, &device.tags, &device.rules, Timestamp::now())?;
        self.driver.check_write(tag, &command.value).map(|()| tag).map_err(|error| {
            desk.finish();
            desk.forget(&command.command_id);
            not_ok(command, CommandStatus::Rejected, error.to_string())
        })
    }

    /// Resolves when a command is on record, where that is wanted before it is sent.
    fn recorded(&self, order: &WriteTag) -> Noted {
        let shared = &self.parts.shared;
        if !shared.record_writes_first {
            return no_note();
        }
        let (command, desk) = (order.command.clone(), Rc::clone(&self.desk));
        let recorded = shared.audit.record(self.record(&command, &order.origin, Outcome::Begun));
        Box::pin(recorded.map_err(move |error| {
            desk.borrow_mut().forget(&command.command_id);
            not_ok(&command, CommandStatus::Failed, format!("nothing was sent: {error}"))
        }))
    }

    /// How an accepted command is carried out. It has its place in the line, and its id is on its way to the
    /// ledger, when this returns.
    fn errand(&self, tag: u32, order: &WriteTag) -> Errand {
        let record = order.given_id.then(|| Record {
            device: Arc::clone(self.parts.device.tags.device_id()),
            desk: Rc::clone(&self.desk),
            ledger: self.parts.shared.ledger.get(),
        });
        Errand {
            driver: Rc::clone(&self.driver),
            place: self.turns.line_up(),
            pending: Pending(Rc::clone(&self.desk)),
            noted: both(
                record.as_ref().map_or_else(no_note, |record| record.note(&order.command)),
                self.recorded(order),
            ),
            record,
            tag,
            command: order.command.clone(),
            limit: command_limit(self.parts.settings.timeout),
            has_role: self.parts.device.link.tls.is_some(),
        }
    }
}

impl Handler<WriteTag> for PlcConnection {
    type Result = ResponseActFuture<Self, CommandResult>;

    fn handle(&mut self, order: WriteTag, _: &mut Self::Context) -> Self::Result {
        let carried = self.accept(&order).map(|tag| self.errand(tag, &order));
        let result = async move {
            match carried {
                Ok(errand) => errand.run().await,
                Err(refused) => refused,
            }
        };
        Box::pin(result.into_actor(self).map(move |result, actor, _| {
            actor.take_result(&order, &result);
            result
        }))
    }
}

/// Counts a command as under way until it is dropped, however that comes about.
struct Pending(Rc<RefCell<Desk>>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.borrow_mut().finish();
    }
}

/// Resolves when what must be on disk before a command is sent is there, or to why it mustn't be sent.
type Noted = LocalBoxFuture<'static, Result<(), CommandResult>>;

/// A made-up id needs none.
fn no_note() -> Noted {
    Box::pin(ready(Ok(())))
}

fn both(one: Noted, other: Noted) -> Noted {
    Box::pin(try_join(one, other).map_ok(drop))
}

/// Where a command is remembered whose sender may repeat it.
struct Record {
    device: Arc<str>,
    desk: Rc<RefCell<Desk>>,
    /// `None` while it is being rebuilt.
    ledger: Option<LedgerPorts>,
}

impl Record {
    /// Sends the id to the ledger; once it is on disk, or can't be, answers why the command mustn't be sent.
    fn note(&self, command: &Command) -> Noted {
        let (device, id) = (Arc::clone(&self.device), Arc::clone(&command.command_id));
        let note = Note { device, command_id: Arc::clone(&id) };
        let sent = self.ledger.as_ref().map(|ledger| ledger.note.send(note));
        let desk = Rc::clone(&self.desk);
        Box::pin(async move {
            let away = || Err("the ledger of commands is stopped or being rebuilt".to_owned());
            let answer = match sent {
                Some(sent) => sent.await.unwrap_or_else(|_| away()),
                None => away(),
            };
            match answer {
                Ok(None) => Ok(()),
                Ok(Some(taken)) => {
                    let result =
                        CommandResult::not_ok(Arc::clone(&id), CommandStatus::Duplicate, taken.to_string());
                    desk.borrow_mut().correct(&id, taken);
                    Err(result)
                }
                Err(reason) => {
                    desk.borrow_mut().forget(&id);
                    let why = format!("nothing was sent, since its command_id can't be noted: {reason}");
                    Err(CommandResult::not_ok(id, CommandStatus::Rejected, why))
                }
            }
        })
    }

    /// Nobody waits for this.
    fn conclude(&self, result: &CommandResult) {
        self.desk.borrow_mut().conclude(result);
        if let Some(ledger) = &self.ledger {
            let (device, result) = (Arc::clone(&self.device), result.clone());
            // Full: what became of it isn't known after a restart, but that it was taken is.
            let _ = ledger.conclude.try_send(Conclude { device, result });
        }
    }
}

/// One command on its way.
struct Errand {
    driver: Rc<dyn Driver>,
    place: Place,
    pending: Pending,
    noted: Noted,
    record: Option<Record>,
    tag: u32,
    command: Command,
    limit: Duration,
    /// Whether the device knows a role of the gateway, by its certificate.
    has_role: bool,
}

/// Until when a command may be on its way: nothing is sent after that.
fn deadline(command: &Command, longest: Duration) -> Instant {
    let expiry = command.expires_at.map(|expiry| expiry.as_micros() - Timestamp::now().as_micros());
    let left = expiry.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    Instant::now() + left.map_or(longest, |left| left.min(longest))
}

impl Errand {
    /// Waits for its turn and, at the same time, for the disk: who comes later waits behind both, so that
    /// the order holds. What mustn't be sent doesn't wait for its turn.
    async fn run(self) -> CommandResult {
        let Self { driver, place, pending, noted, record, tag, command, limit, has_role } = self;
        let _pending = pending;
        let deadline = deadline(&command, limit);
        let turn = timeout_at(deadline, try_join(place.turn().map(Ok), noted)).await;
        let result = match turn {
            Ok(Err(refused)) => return refused,
            Ok(Ok(_)) => carry_out(&*driver, tag, &command, deadline, has_role).await,
            Err(_) => unsent(&command),
        };
        if let Some(record) = record {
            record.conclude(&result);
        }
        result
    }
}

/// How the audit trail names what became of a command.
fn outcome(status: CommandStatus) -> Outcome {
    match status {
        CommandStatus::Ok => Outcome::Success,
        CommandStatus::Failed => Outcome::Failure,
        CommandStatus::Rejected | CommandStatus::Expired | CommandStatus::Duplicate => Outcome::Refused,
    }
}

/// With what is known of its result.
fn merge(entry: Entry, result: serde_json::Value, secret: bool) -> Entry {
    let (serde_json::Value::Object(mut all), serde_json::Value::Object(result)) =
        (entry.detail.clone(), result)
    else {
        return entry;
    };
    let hidden = |key: &str| secret && key == "read_back";
    all.extend(result.into_iter().filter(|(key, value)| !value.is_null() && !hidden(key)));
    entry.with(all.into())
}

fn not_ok(command: &Command, status: CommandStatus, error: impl Into<String>) -> CommandResult {
    CommandResult::not_ok(Arc::clone(&command.command_id), status, error)
}

fn has_expired(command: &Command) -> bool {
    command.expires_at.is_some_and(|expiry| expiry <= Timestamp::now())
}

fn unsent(command: &Command) -> CommandResult {
    if has_expired(command) {
        return not_ok(command, CommandStatus::Expired, "expires_at passed while it waited for its turn");
    }
    not_ok(command, CommandStatus::Failed, "not sent: its turn didn't come in time")
}

/// Its turn has come.
async fn carry_out(
    driver: &dyn Driver,
    tag: u32,
    command: &Command,
    deadline: Instant,
    has_role: bool,
) -> CommandResult {
    if has_expired(command) {
        return unsent(command);
    }
    let written = timeout_at(deadline, driver.write(tag, &command.value, command.read_back)).await;
    let Ok(written) = written else {
        let error = "not acknowledged in time; whether it was written isn't known";
        return not_ok(command, CommandStatus::Failed, error);
    };
    match written {
        Ok(read_back) => CommandResult::ok(Arc::clone(&command.command_id), read_back),
        Err(error @ WriteError::Unacceptable(_)) => {
            not_ok(command, CommandStatus::Rejected, error.to_string())
        }
        Err(WriteError::Refused(NO_SUCH_FUNCTION)) if has_role => {
            not_ok(command, CommandStatus::Failed, Reason::RoleRefused.to_string())
        }
        Err(error) => not_ok(command, CommandStatus::Failed, error.to_string()),
    }
}
