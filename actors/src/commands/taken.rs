//! What is remembered of a command whose id comes again.

use std::fmt;

use bifrost_model::{CommandResult, CommandStatus, Timestamp};

/// A command that was taken before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken {
    /// When.
    pub(crate) at: Timestamp,
    /// What became of it.
    pub(crate) fate: Fate,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    /// It waits for its turn or for the device.
    UnderWay,
    /// The device's actor ended before its result.
    Dropped,
    /// The whole gateway did.
    CutOff,
    /// It has a result.
    Ended {
        /// Which.
        status: CommandStatus,
        /// Why it isn't `ok`.
        error: Option<String>,
        /// What the device held afterwards, as JSON.
        read_back: Option<String>,
    },
}

impl Taken {
    /// Taken now.
    pub(crate) fn now() -> Self {
        Self { at: Timestamp::now(), fate: Fate::UnderWay }
    }
}

impl Fate {
    /// By its result.
    pub(crate) fn of(result: &CommandResult) -> Self {
        let read_back =
            result.read_back.as_ref().map(|value| serde_json::to_string(value).unwrap_or_default());
        Self::Ended { status: result.status, error: result.error.clone(), read_back }
    }
}

/// A status as programs see it.
pub(crate) fn status_name(status: CommandStatus) -> &'static str {
    match status {
        CommandStatus::Ok => "ok",
        CommandStatus::Rejected => "rejected",
        CommandStatus::Failed => "failed",
        CommandStatus::Expired => "expired",
        CommandStatus::Duplicate => "duplicate",
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this command_id was taken at {} and ", self.at)?;
        match &self.fate {
            Fate::UnderWay => f.write_str("is under way"),
            Fate::Dropped => {
                f.write_str("began before the device's actor ended; whether it was written isn't known")
            }
            Fate::CutOff => {
                f.write_str("began before the gateway ended unasked; whether it was written isn't known")
            }
            Fate::Ended { status, error, read_back } => {
                write!(f, "ended {}", status_name(*status))?;
                if let Some(error) = error {
                    write!(f, ": {error}")?;
                }
                read_back.as_ref().map_or(Ok(()), |value| write!(f, ", read back {value}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bifrost_model::Value;

    use super::*;

    #[test]
    fn a_repeated_command_is_told_when_it_was_taken_and_what_became_of_it() {
        let taken = |fate| Taken { at: Timestamp::from_micros(1_769_860_800_000_000), fate }.to_string();
        let ended = |result: CommandResult| taken(Fate::of(&result));
        let begin = "this command_id was taken at 2026-01-31T12:00:00.000000Z and ";
        for (said, end) in [
            (taken(Fate::UnderWay), "is under way"),
            (
                taken(Fate::CutOff),
                "began before the gateway ended unasked; whether it was written isn't known",
            ),
            (ended(CommandResult::ok("c".into(), None)), "ended ok"),
            (ended(CommandResult::ok("c".into(), Some(Value::Float64(1.5)))), "ended ok, read back 1.5"),
            (
                ended(CommandResult::not_ok("c".into(), CommandStatus::Failed, "no answer")),
                "ended failed: no answer",
            ),
        ] {
            assert_eq!(said, format!("{begin}{end}"));
        }
    }
}
