//! Which commands are carried out, and which are refused before anything is sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bifrost_model::{Command, CommandResult, CommandStatus, DeviceTags, Timestamp, Value};

use super::{compile::RuleBook, messages::WriteTag};
use crate::commands::{Fate, Taken};

/// Remembers command ids, so that none is carried out twice, and counts what is under way.
///
/// Knows the commands of one incarnation of the device's actor; the ledger knows those from before.
#[derive(Debug)]
pub(super) struct Desk {
    seen: HashMap<Arc<str>, Taken>,
    order: VecDeque<Arc<str>>,
    remembered: usize,
    pending: usize,
    pending_bound: usize,
}

impl Desk {
    pub(super) fn new(remembered: usize, pending_bound: usize) -> Self {
        Self { seen: HashMap::new(), order: VecDeque::new(), remembered, pending: 0, pending_bound }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Takes a command in, answering which tag it is for, or why it isn't carried out.
    ///
    /// What is accepted must be [finished](Self::finish). A refused command's id isn't remembered: its sender
    /// may correct and repeat it.
    pub(super) fn accept(
        &mut self,
        WriteTag { command, given_id, .. }: &WriteTag,
        tags: &DeviceTags,
        rules: &RuleBook,
        now: Timestamp,
    ) -> Result<u32, CommandResult> {
        let not_ok = |status, error: String| {
            Err(CommandResult::not_ok(Arc::clone(&command.command_id), status, error))
        };
        if let Some(taken) = self.seen.get(&command.command_id) {
            return not_ok(CommandStatus::Duplicate, taken.to_string());
        }
        if command.expires_at.is_some_and(|expiry| expiry <= now) {
            return not_ok(CommandStatus::Expired, "expires_at has passed".to_owned());
        }
        let tag = match check(command, tags, rules) {
            Ok(tag) => tag,
            Err(error) => return not_ok(CommandStatus::Rejected, error),
        };
        if self.pending >= self.pending_bound {
            let error = format!("{} commands wait for this device already; try again later", self.pending);
            return not_ok(CommandStatus::Rejected, error);
        }
        self.pending += 1;
        if *given_id {
            self.remember(&command.command_id, Taken::now());
        }
        Ok(tag)
    }

    pub(super) fn finish(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// A remembered command has a result.
    pub(super) fn conclude(&mut self, result: &CommandResult) {
        if let Some(taken) = self.seen.get_mut(&result.command_id) {
            taken.fate = Fate::of(result);
        }
    }

    /// More is known of an id than that it was just taken.
    pub(super) fn correct(&mut self, id: &str, known: Taken) {
        if let Some(taken) = self.seen.get_mut(id) {
            *taken = known;
        }
    }

    /// Nothing was done under this id after all.
    pub(super) fn forget(&mut self, id: &str) {
        self.seen.remove(id);
        self.order.retain(|other| **other != *id);
    }

    fn remember(&mut self, id: &Arc<str>, taken: Taken) {
        if self.order.len() >= self.remembered
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.seen.insert(Arc::clone(id), taken);
        self.order.push_back(Arc::clone(id));
    }
}

fn check(command: &Command, tags: &DeviceTags, rules: &RuleBook) -> Result<u32, String> {
    let index = tags.index_of(&command.tag_id);
    let found = index.and_then(|index| Some((index, tags.get(index)?, rules.of(index))));
    let Some((index, info, rules)) = found else {
        return Err(format!("device {:?} has no tag {:?}", tags.device_id(), command.tag_id));
    };
    if !info.writable {
        return Err(format!("tag {:?} is not writable; set writable: true in its configuration", info.id));
    }
    if !command.value.fits(info.data_type) {
        return Err(format!("a {} can't be {}", info.data_type, describe(&command.value)));
    }
    if let Some(number) = command.value.as_f64() {
        if let Some(min) = rules.min.filter(|min| number < *min) {
            return Err(format!("{number} is below this tag's min of {min}"));
        }
        if let Some(max) = rules.max.filter(|max| number > *max) {
            return Err(format!("{number} is above this tag's max of {max}"));
        }
    }
    Ok(index)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => format!("the text {text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bifrost_model::{DataType, TagClass, TagInfo};

    use super::*;
    use crate::{
        commands::{Origin, Requester},
        plc::TagRules,
    };

    fn info(id: &'static str, data_type: DataType, writable: bool) -> TagInfo<'static> {
        TagInfo {
            id,
            name: id,
            address: "40001",
            data_type,
            unit: "",
            description: "",
            writable,
            class: TagClass::Telemetry,
        }
    }

    fn command(id: &str, tag: &str, value: Value) -> WriteTag {
        let command =
            Command { command_id: id.into(), tag_id: tag.into(), value, expires_at: None, read_back: false };
        WriteTag { command, given_id: true, origin: Origin::Rest(Requester::default()) }
    }

    fn refused(desk: &mut Desk, command: &WriteTag) -> Option<CommandResult> {
        let tags = DeviceTags::new(
            "press-1",
            "default",
            vec![info("speed", DataType::Uint16, true), info("temperature", DataType::Float32, false)],
        );
        let rules = TagRules {
            deadband: None,
            stale_after: Duration::ZERO,
            bad_after: Duration::ZERO,
            min: Some(0.0),
            max: Some(100.0),
            secret: false,
        };
        let rules = [rules.clone(), rules].into_iter().collect();
        desk.accept(command, &tags, &rules, Timestamp::from_micros(1000)).err()
    }

    fn status(desk: &mut Desk, command: &WriteTag) -> Option<CommandStatus> {
        refused(desk, command).map(|result| result.status)
    }

    #[test]
    fn what_must_not_be_written_is_rejected_with_the_reason() {
        let desk = &mut Desk::new(10, 10);
        for (tag, value) in [
            ("speed", Value::Int(-1)),
            ("speed", Value::Float64(100.5)),
            ("speed", Value::Bool(true)),
            ("speed", Value::Text("7".into())),
            ("speed", Value::Null),
            ("temperature", Value::Int(7)),
            ("nothing", Value::Int(7)),
        ] {
            let outcome = status(desk, &command("c", tag, value.clone()));
            assert_eq!(outcome, Some(CommandStatus::Rejected), "{tag} {value:?}");
        }
        assert_eq!(
            status(desk, &command("c", "speed", Value::Int(7))),
            None,
            "a refused id may be used again"
        );
    }

    #[test]
    fn a_command_is_carried_out_once_and_not_after_its_time() {
        let desk = &mut Desk::new(10, 10);
        let mut late = command("a", "speed", Value::Int(1));
        late.command.expires_at = Some(Timestamp::from_micros(999));
        assert_eq!(status(desk, &late), Some(CommandStatus::Expired));
        assert_eq!(status(desk, &command("a", "speed", Value::Int(1))), None);
        assert_eq!(status(desk, &command("a", "speed", Value::Int(1))), Some(CommandStatus::Duplicate));
    }

    #[test]
    fn a_repeated_command_is_told_what_became_of_the_first() {
        let desk = &mut Desk::new(10, 10);
        let order = command("a", "speed", Value::Int(1));
        let error =
            |desk: &mut Desk| refused(desk, &order).and_then(|result| result.error).unwrap_or_default();
        assert_eq!(status(desk, &order), None);
        assert!(error(desk).ends_with("is under way"));
        desk.conclude(&CommandResult::ok("a".into(), None));
        assert!(error(desk).ends_with("ended ok"));
        desk.correct("a", Taken { at: Timestamp::from_micros(0), fate: Fate::CutOff });
        assert!(error(desk).contains("1970") && error(desk).contains("isn't known"));
        desk.forget("a");
        assert_eq!(status(desk, &order), None, "nothing was done under it");
    }

    #[test]
    fn an_id_that_was_made_up_takes_no_place_among_those_remembered() {
        let desk = &mut Desk::new(1, 10);
        assert_eq!(status(desk, &command("given", "speed", Value::Int(1))), None);
        let made_up = WriteTag { given_id: false, ..command("made up", "speed", Value::Int(1)) };
        assert_eq!(status(desk, &made_up), None);
        assert_eq!(status(desk, &command("given", "speed", Value::Int(1))), Some(CommandStatus::Duplicate));
    }

    #[test]
    fn a_storm_of_commands_is_answered_and_not_queued_without_end() {
        let desk = &mut Desk::new(4, 2);
        let write = |desk: &mut Desk, n: u32| status(desk, &command(&n.to_string(), "speed", Value::Int(1)));
        assert_eq!((write(desk, 1), write(desk, 2)), (None, None));
        assert_eq!(write(desk, 3), Some(CommandStatus::Rejected));
        desk.finish();
        assert_eq!(write(desk, 4), None);
        assert_eq!(desk.pending(), 2);
    }

    #[test]
    fn only_the_latest_ids_are_remembered() {
        let desk = &mut Desk::new(2, 10);
        for n in 0..3 {
            assert_eq!(status(desk, &command(&n.to_string(), "speed", Value::Int(1))), None);
        }
        assert_eq!(status(desk, &command("0", "speed", Value::Int(1))), None, "forgotten");
        assert_eq!(status(desk, &command("2", "speed", Value::Int(1))), Some(CommandStatus::Duplicate));
    }
}
