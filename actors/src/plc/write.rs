//! The way of a write through a device's actor: accepted, noted, its turn, the driver, its result.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use actix::{ActorFutureExt, Handler, ResponseActFuture, WrapFuture};
use bifrost_drivers::{Driver, WriteError};
use bifrost_model::{Command, CommandResult, CommandStatus, Reason, Timestamp};
use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, ready, try_join},
};
use tokio::time::{Instant, timeout_at};

use super::{actor::PlcConnection, commands::Desk, messages::WriteTag, scan::NO_SUCH_FUNCTION, turns::Place};
use crate::commands::{Conclude, LedgerPorts, Note, event, status_name};

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
    }

    /// Which tag a command is for, or why it isn't carried out; then its id may be used again.
    fn accept(&self, order: &WriteTag) -> Result<u32, CommandResult> {
        let (command, device) = (&order.command, &self.parts.device);
        let mut desk = self.desk.borrow_mut();
        let tag = desk.accept(order, &device.tags, &device.rules, Timestamp::now())?;
        self.driver.check_write(tag, &command.value).map(|()| tag).map_err(|error| {
            desk.finish();
            desk.forget(&command.command_id);
            not_ok(command, CommandStatus::Rejected, error.to_string())
        })
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
            noted: record.as_ref().map_or_else(no_note, |record| record.note(&order.command)),
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

/// A made-up id needs none.
fn no_note() -> LocalBoxFuture<'static, Result<(), CommandResult>> {
    Box::pin(ready(Ok(())))
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
    fn note(&self, command: &Command) -> LocalBoxFuture<'static, Result<(), CommandResult>> {
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
    noted: LocalBoxFuture<'static, Result<(), CommandResult>>,
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
