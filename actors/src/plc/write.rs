//! The way of a write through a device's actor: accepted, its turn, the driver, its result.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use actix::{ActorFutureExt, Handler, ResponseActFuture, WrapFuture};
use bifrost_drivers::{Driver, WriteError};
use bifrost_model::{Command, CommandResult, CommandStatus, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::{actor::PlcConnection, commands::Desk, messages::WriteTag};

/// Longest time from a command's acceptance to its result. Less than REST waits: what REST calls unanswered is
/// not carried out later.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

impl PlcConnection {
    fn count_write(&mut self, result: &CommandResult) {
        let name = match result.status {
            CommandStatus::Ok => "ok",
            CommandStatus::Rejected => "rejected",
            CommandStatus::Failed => "failed",
            CommandStatus::Expired => "expired",
            CommandStatus::Duplicate => "duplicate",
        };
        let ok = result.status == CommandStatus::Ok;
        self.counters.writes_ok += u64::from(ok);
        self.counters.writes_not_ok += u64::from(!ok);
        self.parts.shared.metrics.write(self.id(), name);
    }
}

impl Handler<WriteTag> for PlcConnection {
    type Result = ResponseActFuture<Self, CommandResult>;

    fn handle(&mut self, WriteTag(command): WriteTag, _: &mut Self::Context) -> Self::Result {
        let device = &self.parts.device;
        let accepted = self.desk.borrow_mut().accept(&command, &device.tags, &device.rules, Timestamp::now());
        let longest = COMMAND_LIMIT.max(self.parts.settings.timeout * 2);
        let carried = accepted.map(|tag| {
            let pending = Pending(Rc::clone(&self.desk));
            carry_out(Rc::clone(&self.driver), Rc::clone(&self.turn), tag, command, pending, longest)
        });
        let result = async move {
            match carried {
                Ok(carried) => carried.await,
                Err(refused) => refused,
            }
        };
        Box::pin(result.into_actor(self).map(|result, actor, _| {
            actor.count_write(&result);
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

/// Until when a command may be on its way: nothing is sent after that.
fn deadline(command: &Command, longest: Duration) -> Instant {
    let expiry = command.expires_at.map(|expiry| expiry.as_micros() - Timestamp::now().as_micros());
    let left = expiry.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    Instant::now() + left.map_or(longest, |left| left.min(longest))
}

async fn carry_out(
    driver: Rc<dyn Driver>,
    turn: Rc<tokio::sync::Mutex<()>>,
    tag: u32,
    command: Command,
    pending: Pending,
    longest: Duration,
) -> CommandResult {
    let not_ok =
        |status, error: String| CommandResult::not_ok(Arc::clone(&command.command_id), status, error);
    let deadline = deadline(&command, longest);
    let turn = timeout_at(deadline, turn.lock()).await;
    let _pending = pending;
    if command.expires_at.is_some_and(|expiry| expiry <= Timestamp::now()) {
        return not_ok(CommandStatus::Expired, "expires_at passed while it waited for its turn".to_owned());
    }
    if turn.is_err() {
        return not_ok(CommandStatus::Failed, "not sent: its turn didn't come in time".to_owned());
    }
    if let Err(error) = driver.check_write(tag, &command.value) {
        return not_ok(CommandStatus::Rejected, error.to_string());
    }
    let written = timeout_at(deadline, driver.write(tag, &command.value, command.read_back)).await;
    let Ok(written) = written else {
        let error = "not acknowledged in time; whether it was written isn't known";
        return not_ok(CommandStatus::Failed, error.to_owned());
    };
    match written {
        Ok(read_back) => CommandResult::ok(Arc::clone(&command.command_id), read_back),
        Err(error @ WriteError::Unacceptable(_)) => not_ok(CommandStatus::Rejected, error.to_string()),
        Err(error) => not_ok(CommandStatus::Failed, error.to_string()),
    }
}
