//! What became of a command, told to all.

use std::sync::Arc;

use bifrost_model::{CommandResult, CommandStatus, Event, Severity, Value};
use serde_json::{Map, json};

use super::{Origin, status_name};

/// The event that tells a command's result to all.
pub(crate) fn event(
    device_id: impl Into<Arc<str>>,
    tag_id: Option<&str>,
    value: Option<&Value>,
    origin: &Origin,
    result: &CommandResult,
) -> Event {
    let (severity, end) = match (result.status, &result.error) {
        (CommandStatus::Ok, _) => (Severity::Info, "ok".to_owned()),
        (status, Some(error)) => (Severity::Warning, format!("{}: {error}", status_name(status))),
        (status, None) => (Severity::Warning, status_name(status).to_owned()),
    };
    let message = tag_id.map_or_else(|| format!("command {end}"), |tag| format!("write of {tag:?} {end}"));
    let parts = [
        ("command_id", Some(json!(result.command_id)).filter(|id| id != "")),
        ("tag_id", tag_id.map(|tag| json!(tag))),
        ("value", value.map(as_json)),
        ("status", Some(json!(result.status))),
        ("error", result.error.as_ref().map(|error| json!(error))),
        ("read_back", result.read_back.as_ref().map(as_json)),
        ("origin", Some(json!(origin.to_string()))),
    ];
    let parts: Map<_, _> =
        parts.into_iter().filter_map(|(key, part)| Some((key.to_owned(), part?))).collect();
    Event::new(device_id, "command_result", severity, message).with(parts.into())
}

/// With the digits it has: a JSON tree keeps only 64-bit floats, and 25.4 mustn't become 25.399999618530273.
fn as_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Float32(number) => {
            number.to_string().parse::<f64>().map_or_else(|_| json!(number), |n| json!(n))
        }
        other => json!(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Requester;

    #[test]
    fn a_result_is_told_with_all_that_is_known() {
        let done = CommandResult::ok("c-1".into(), Some(Value::Float32(25.4)));
        let told = event(
            "press-1",
            Some("speed"),
            Some(&Value::Float64(25.4)),
            &Origin::Rest(Requester::default()),
            &done,
        );
        assert_eq!((told.event_type, told.severity), ("command_result", Severity::Info));
        let data = json!({
            "command_id": "c-1", "tag_id": "speed", "value": 25.4, "status": "ok", "read_back": 25.4,
            "origin": "rest"
        });
        assert_eq!((told.data, told.message.as_str()), (data, "write of \"speed\" ok"));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let refused = CommandResult::not_ok("".into(), CommandStatus::Rejected, "no JSON");
        let told = event("press-1", None, None, &Origin::Rest(Requester::default()), &refused);
        assert_eq!(told.data, json!({"status": "rejected", "error": "no JSON", "origin": "rest"}));
        assert_eq!((told.severity, told.message.as_str()), (Severity::Warning, "command rejected: no JSON"));
    }
}
