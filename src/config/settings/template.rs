//! Topics, subjects and client ids with placeholders such as `{site_id}`.

use super::{Flaw, flaw};
use crate::config::decode::nearest;

/// What a topic or subject may hold.
pub(super) const IN_TOPICS: &[&str] = &[
    "site_id",
    "device_id",
    "gateway_id",
    "hostname",
    "tag_name",
    "command_type",
    "alarm_level",
    "event_type",
    "metric_name",
];
/// What a client id may hold.
pub(super) const IN_CLIENT_IDS: &[&str] = &["hostname", "gateway_id", "site_id"];

/// Checks a template's placeholders.
pub(super) fn placeholders(key: &str, text: &str, known: &[&str]) -> Option<Flaw> {
    if text.trim().is_empty() {
        return Some(flaw(key, "is empty; write a text or leave the key out"));
    }
    let mut rest = text;
    while let Some(begin) = rest.find(['{', '}']) {
        let (name, after) = match rest.get(begin + 1..).and_then(|after| after.split_once('}')) {
            Some(parts) if rest[begin..].starts_with('{') => parts,
            _ => return Some(flaw(key, "has a { without a }; placeholders look like {device_id}")),
        };
        if !known.contains(&name) {
            let hint = nearest(name, known).map_or_else(
                || format!("there are {{{}}}", known.join("}, {")),
                |meant| format!("did you mean {{{meant}}}?"),
            );
            return Some(flaw(key, format!("{{{name}}} is no placeholder here; {hint}")));
        }
        rest = after;
    }
    None
}

/// Checks an MQTT topic to publish on (MQTT 5.0, 4.7: no wildcards in a topic name).
pub(super) fn topic(key: &str, text: &str) -> Option<Flaw> {
    if text.contains(['+', '#', '\0']) {
        return Some(flaw(
            key,
            "holds + or #, which are for subscriptions; use placeholders such as {device_id}",
        ));
    }
    placeholders(key, text, IN_TOPICS)
}

/// Checks a NATS subject (tokens divided by dots, none empty, no white space, no wildcards).
pub(super) fn subject(key: &str, text: &str) -> Option<Flaw> {
    let wrong = text.split('.').any(str::is_empty) || text.contains(['*', '>', ' ', '\t', '\0']);
    if wrong && !text.trim().is_empty() {
        return Some(flaw(key, "is no subject: tokens divided by single dots, without spaces, * or >"));
    }
    placeholders(key, text, IN_TOPICS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_the_contract_are_templates() {
        for text in ["bifrost/telemetry/{site_id}/{device_id}/{tag_name}", "plain"] {
            assert_eq!(topic("t", text), None, "{text}");
        }
        assert_eq!(subject("s", "bifrost.telemetry.{site_id}.{device_id}"), None);
    }

    #[test]
    fn what_no_broker_would_take_is_refused() {
        for (text, part) in [
            ("", "is empty"),
            ("a/{device}/b", "did you mean {device_id}?"),
            ("a/{zzz}/b", "there are {site_id}"),
            ("a/{site_id", "a { without a }"),
            ("a}/b", "a { without a }"),
            ("a/{site_id}/#", "+ or #"),
        ] {
            let (_, problem) = topic("t", text).expect(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
        for text in ["a..b", ".a", "a.>", "a b"] {
            assert!(subject("s", text).is_some(), "{text}");
        }
    }
}
