//! Topics, subjects and client ids with placeholders such as `{site_id}`.

use super::{Flaw, flaw};

/// What goes by a topic or subject: each has a placeholder of its own, which stands last where a template
/// doesn't say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Values; without `{tag_name}` one message carries a whole scan.
    Telemetry,
    /// Orders to a device.
    Commands,
    /// Alarms, by severity.
    Alarms,
    /// Events, by type.
    Events,
    /// Figures, by name.
    Diagnostics,
}

impl Purpose {
    /// The placeholder that no other has.
    pub fn own(self) -> &'static str {
        match self {
            Self::Telemetry => "tag_name",
            Self::Commands => "command_type",
            Self::Alarms => "alarm_level",
            Self::Events => "event_type",
            Self::Diagnostics => "metric_name",
        }
    }

    /// All that its templates may hold.
    fn placeholders(self) -> [&'static str; 5] {
        ["site_id", "device_id", "gateway_id", "hostname", self.own()]
    }

    /// Two that vary in one level can't be told apart: `{device_id}-{tag_name}` is `a-b-c` for two of them.
    fn runs_together(self, key: &str, text: &str, separator: char) -> Option<Flaw> {
        let varying = [self.own(), "device_id"].map(|name| format!("{{{name}}}"));
        let count =
            |level: &str| varying.iter().map(|name| level.matches(name.as_str()).count()).sum::<usize>();
        let level = text.split(separator).find(|level| count(level) > 1)?;
        let problem =
            format!("has two ids in {level:?}, where they can't be told apart; put a {separator} between");
        Some(flaw(key, problem))
    }
}

/// What a client id may hold.
pub const IN_CLIENT_IDS: &[&str] = &["hostname", "gateway_id", "site_id"];

/// The known word that was probably meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|other| (strsim::normalized_damerau_levenshtein(word, other), *other));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(alike, _)| *alike >= 0.5).map(|(_, other)| other)
}

/// Checks a template's placeholders.
pub fn placeholders(key: &str, text: &str, known: &[&str]) -> Option<Flaw> {
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
pub fn topic(purpose: Purpose, key: &str, text: &str) -> Option<Flaw> {
    if text.contains(['+', '#', '\0']) {
        return Some(flaw(
            key,
            "holds + or #, which are for subscriptions; use placeholders such as {device_id}",
        ));
    }
    placeholders(key, text, &purpose.placeholders()).or_else(|| purpose.runs_together(key, text, '/'))
}

/// Checks a NATS subject (tokens divided by dots, none empty, no white space, no wildcards).
pub fn subject(purpose: Purpose, key: &str, text: &str) -> Option<Flaw> {
    let wrong = text.split('.').any(str::is_empty) || text.contains(['*', '>', ' ', '\t', '\0']);
    if wrong && !text.trim().is_empty() {
        return Some(flaw(key, "is no subject: tokens divided by single dots, without spaces, * or >"));
    }
    placeholders(key, text, &purpose.placeholders()).or_else(|| purpose.runs_together(key, text, '.'))
}

/// `scheme://host[:port]`; what stands in a URL isn't shown, since it may hold a password.
pub fn url(key: &str, text: &str, schemes: &[&str], example: &str) -> Option<Flaw> {
    let wrong = |problem: &str| Some(flaw(key, format!("{problem}; write a URL such as {example}")));
    let Some((scheme, rest)) = text.split_once("://") else { return wrong("has no scheme") };
    if !schemes.contains(&scheme) {
        return wrong(&format!("{scheme:?} is no scheme here (there are {})", schemes.join(", ")));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return wrong("holds a user or a password, which don't belong into a URL");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return wrong("names no host");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0).eq(&false)) {
        return wrong("has a port that is none");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_the_contract_are_templates() {
        for text in ["bifrost/telemetry/{site_id}/{device_id}/{tag_name}", "plain"] {
            assert_eq!(topic(Purpose::Telemetry, "t", text), None, "{text}");
        }
        assert_eq!(subject(Purpose::Alarms, "s", "bifrost.alarms.{site_id}.{device_id}"), None);
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
            ("a/{event_type}", "{event_type} is no placeholder here; there are {site_id}"),
            ("a/{device_id}-{tag_name}", "two ids in \"{device_id}-{tag_name}\""),
        ] {
            let (_, problem) = topic(Purpose::Telemetry, "t", text).expect(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
        for text in ["a..b", ".a", "a.>", "a b"] {
            assert!(subject(Purpose::Events, "s", text).is_some(), "{text}");
        }
    }

    #[test]
    fn urls_name_a_scheme_and_a_host() {
        for (text, part) in [
            ("tls://mqtt.company.com:8883", None),
            ("tcp://[::1]:1883", None),
            ("wss://broker/mqtt", None),
            ("mqtt.company.com:8883", Some("no scheme")),
            ("http://mqtt", Some("\"http\" is no scheme")),
            ("tls://:8883", Some("names no host")),
            ("tls://host:port", Some("a port that is none")),
            ("tls://host:0", Some("a port that is none")),
            ("tls://me:hunter2@host", Some("a user or a password")),
        ] {
            let found = url("broker", text, &["tls", "tcp", "wss"], "tls://x:1").map(|(_, problem)| problem);
            assert_eq!(found.is_some(), part.is_some(), "{text}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(
                found.contains(part.unwrap_or_default()) && !found.contains("hunter2"),
                "{text}: {found}"
            );
        }
    }
}
