//! Makes the stream, brings it up to date, and compares what the servers made of it with what was asked for:
//! old servers accept options that they don't know, and ignore them.

use std::fmt;

use bytes::Bytes;
use nats::{Client, Request, RequestErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{JetStreamSettings, Storage, acknowledgement::ApiError, connect::Events, error::NatsError};

/// The stream that messages go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    subjects: Vec<String>,
    fields: Map<String, Value>,
}

/// A field of the stream that isn't as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: String,
    asked: Value,
    is: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} instead of {}", self.field, self.is, self.asked)
    }
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether it had to be made.
    pub(super) created: bool,
    /// What isn't as it was asked for.
    pub(super) differences: Vec<Difference>,
    /// Why it couldn't be brought up to date.
    pub(super) refused: Option<String>,
}

impl Wanted {
    pub(super) fn new(settings: &JetStreamSettings, site_id: &str, subjects: &[String]) -> Self {
        let name = settings.stream.clone().unwrap_or_else(|| stream_of(site_id));
        // The servers refuse to remember ids for longer than the messages.
        let duplicate_window = settings.duplicate_window.min(settings.retention);
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let storage = match settings.storage {
            Storage::File => "file",
            Storage::Memory => "memory",
        };
        let fields = json!({
            "storage": storage,
            "discard": "old",
            "max_age": nanoseconds(settings.retention),
            "max_bytes": settings.max_bytes.map_or(json!(-1), |bytes| json!(bytes.0)),
            "num_replicas": settings.replicas,
            "duplicate_window": nanoseconds(duplicate_window),
            "no_ack": false,
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        Self { name, subjects: subjects.to_vec(), fields }
    }

    /// Whether it takes messages of a subject.
    pub(super) fn takes(&self, subject: &str) -> bool {
        self.subjects.iter().any(|pattern| covers(pattern, subject))
    }

    /// As a new stream.
    fn fresh(&self) -> Value {
        let mut config = self.fields.clone();
        config.insert("name".to_owned(), json!(self.name));
        config.insert("retention".to_owned(), json!("limits"));
        config.insert("subjects".to_owned(), json!(self.subjects));
        for unlimited in ["max_msgs", "max_msgs_per_subject", "max_msg_size", "max_consumers"] {
            config.insert(unlimited.to_owned(), json!(-1));
        }
        Value::Object(config)
    }

    /// An existing one with what is asked for; what nobody asked about stays, and subjects of others too.
    /// Where messages are kept can't be changed.
    fn merged(&self, existing: &Map<String, Value>) -> Value {
        let mut config = existing.clone();
        let changeable = self.fields.iter().filter(|(field, _)| *field != "storage");
        config.extend(changeable.map(|(field, value)| (field.clone(), value.clone())));
        config.insert("subjects".to_owned(), json!(united(&self.subjects, &subjects_of(existing))));
        Value::Object(config)
    }

    /// What of an existing one isn't as it is asked for.
    fn differences(&self, existing: &Map<String, Value>) -> Vec<Difference> {
        let fields = self.fields.iter().filter_map(|(field, asked)| {
            let is = existing.get(field).cloned().unwrap_or(Value::Null);
            let same = is == *asked || (is.is_null() && *asked == json!(false));
            (!same).then(|| Difference { field: field.clone(), asked: asked.clone(), is })
        });
        let mut differences: Vec<_> = fields.collect();
        if !self.is_covered_by(existing) {
            let (asked, is) = (json!(self.subjects), json!(subjects_of(existing)));
            differences.push(Difference { field: "subjects".to_owned(), asked, is });
        }
        differences
    }

    fn is_covered_by(&self, existing: &Map<String, Value>) -> bool {
        let existing = subjects_of(existing);
        self.subjects.iter().all(|subject| existing.iter().any(|pattern| covers(pattern, subject)))
    }
}

/// One stream per site; ids that a name can't carry get a number, so that two sites never meet.
fn stream_of(site_id: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let name: String = site_id.chars().map(fit).collect();
    if name == site_id {
        return format!("BIFROST_{name}");
    }
    format!("BIFROST_{name}_{:08x}", crc32fast::hash(site_id.as_bytes()))
}

fn subjects_of(config: &Map<String, Value>) -> Vec<String> {
    let subjects = config.get("subjects").and_then(Value::as_array);
    let texts = subjects.into_iter().flatten().filter_map(Value::as_str);
    texts.map(ToOwned::to_owned).collect()
}

/// Both, without those that another one covers.
fn united(own: &[String], others: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for subject in own.iter().chain(others) {
        if !all.iter().any(|kept| covers(kept, subject)) {
            all.retain(|kept| !covers(subject, kept));
            all.push(subject.clone());
        }
    }
    all
}

/// Whether all that matches `subject`, which may hold wildcards, matches `pattern`.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[derive(Deserialize)]
struct StreamAnswer {
    #[serde(default)]
    error: Option<ApiError>,
    #[serde(default)]
    config: Map<String, Value>,
}

/// Numbers of errors that `JetStream` gives (`errors.json` of nats-server).
mod code {
    pub(super) const INSUFFICIENT_RESOURCES: u64 = 10_023;
    pub(super) const MEMORY_EXCEEDED: u64 = 10_028;
    pub(super) const NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
    pub(super) const STORAGE_EXCEEDED: u64 = 10_047;
    pub(super) const NAME_IN_USE: u64 = 10_058;
    pub(super) const NOT_FOUND: u64 = 10_059;
    pub(super) const SUBJECTS_OVERLAP: u64 = 10_065;
    pub(super) const NOT_ENABLED: u64 = 10_076;
}

/// Asks a server about its streams.
pub(super) struct Api<'a> {
    pub(super) client: &'a Client,
    pub(super) server: &'a str,
    /// While a session begins: what is denied is told at once instead of after a time-out.
    pub(super) events: Option<&'a mut Events>,
}

impl Api<'_> {
    /// Makes the stream or brings it up to date.
    pub(super) async fn ensure(&mut self, wanted: &Wanted) -> Result<Outcome, NatsError> {
        match self.ask("INFO", wanted, None).await? {
            Ok(existing) => self.update(wanted, &existing).await,
            Err(error) if error.err_code == code::NOT_FOUND => self.create(wanted).await,
            Err(error) => Err(self.refusal(wanted, error)),
        }
    }

    async fn create(&mut self, wanted: &Wanted) -> Result<Outcome, NatsError> {
        match self.ask("CREATE", wanted, Some(wanted.fresh())).await? {
            Ok(made) => Ok(Outcome { created: true, differences: wanted.differences(&made), refused: None }),
            // Another gateway was quicker.
            Err(error) if error.err_code == code::NAME_IN_USE => {
                match self.ask("INFO", wanted, None).await? {
                    Ok(existing) => self.update(wanted, &existing).await,
                    Err(error) => Err(self.refusal(wanted, error)),
                }
            }
            Err(error) => Err(self.refusal(wanted, error)),
        }
    }

    /// A stream that can't be brought up to date will do as long as it takes the messages.
    async fn update(&mut self, wanted: &Wanted, existing: &Map<String, Value>) -> Result<Outcome, NatsError> {
        let differences = wanted.differences(existing);
        if differences.iter().all(|difference| difference.field == "storage") {
            return Ok(Outcome { differences, ..Outcome::default() });
        }
        match self.ask("UPDATE", wanted, Some(wanted.merged(existing))).await? {
            Ok(made) => Ok(Outcome { differences: wanted.differences(&made), ..Outcome::default() }),
            Err(error) if wanted.is_covered_by(existing) && existing.get("no_ack") != Some(&json!(true)) => {
                Ok(Outcome { created: false, differences, refused: Some(error.description) })
            }
            Err(error) => Err(self.refusal(wanted, error)),
        }
    }

    /// Asks; what the server refuses is an answer.
    async fn ask(
        &mut self,
        verb: &str,
        wanted: &Wanted,
        body: Option<Value>,
    ) -> Result<Result<Map<String, Value>, ApiError>, NatsError> {
        let subject = format!("$JS.API.STREAM.{verb}.{}", wanted.name);
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let reply = self.request(&subject, body, &wanted.name).await?;
        let passing = |problem: String| NatsError::Passing { stream: wanted.name.clone(), problem };
        let answer: StreamAnswer = serde_json::from_slice(&reply).map_err(|e| passing(e.to_string()))?;
        Ok(match answer.error {
            Some(error) => Err(error),
            None => Ok(answer.config),
        })
    }

    async fn request(&mut self, subject: &str, body: Bytes, stream: &str) -> Result<Bytes, NatsError> {
        let asked = self.client.send_request(subject.to_owned(), Request::new().payload(body));
        let outcome = match self.events.as_mut() {
            Some(events) => tokio::select! {
                outcome = asked => outcome,
                trouble = events.trouble(|denied| denied == subject) => return Err(trouble),
            },
            None => asked.await,
        };
        match outcome {
            Ok(message) => Ok(message.payload),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                Err(NatsError::NoJetStream { server: self.server.to_owned() })
            }
            Err(error) => Err(NatsError::Passing { stream: stream.to_owned(), problem: error.to_string() }),
        }
    }

    fn refusal(&self, wanted: &Wanted, error: ApiError) -> NatsError {
        let (stream, problem) = (wanted.name.clone(), error.description);
        match error.err_code {
            code::NOT_ENABLED_FOR_ACCOUNT | code::NOT_ENABLED => {
                NatsError::NoJetStream { server: self.server.to_owned() }
            }
            code::SUBJECTS_OVERLAP => NatsError::Overlap { stream, subjects: wanted.subjects.join(", ") },
            code::INSUFFICIENT_RESOURCES | code::MEMORY_EXCEEDED | code::STORAGE_EXCEEDED => {
                NatsError::NoRoom { stream, problem }
            }
            _ if error.code >= 500 => NatsError::Passing { stream, problem },
            code => NatsError::Stream { stream, problem, code },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wanted(subjects: &[&str]) -> Wanted {
        let subjects: Vec<_> = subjects.iter().map(|text| (*text).to_owned()).collect();
        Wanted::new(&JetStreamSettings::default(), "plant-a", &subjects)
    }

    fn config(of: &Value) -> Map<String, Value> {
        of.as_object().cloned().unwrap()
    }

    #[test]
    fn a_pattern_covers_what_it_matches() {
        for (pattern, subject, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a.>", true),
            ("a.>", "a.*", true),
            ("a.*", "a.>", false),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a", false),
            ("a.b", "a.*", false),
            ("a.b", "a.b", true),
        ] {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn what_was_made_as_asked_does_not_differ() {
        let wanted = wanted(&["a.*", "b.*"]);
        assert_eq!(wanted.differences(&config(&wanted.fresh())), []);
        let mut without_defaults = config(&wanted.fresh());
        without_defaults.remove("no_ack");
        without_defaults.insert("subjects".to_owned(), json!(["a.>", "b.*", "c"]));
        assert_eq!(wanted.differences(&without_defaults), []);
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let wanted = wanted(&["a.*"]);
        let mut other = config(&wanted.fresh());
        other.insert("max_age".to_owned(), json!(5));
        other.remove("duplicate_window");
        other.insert("subjects".to_owned(), json!(["a.b"]));
        let fields: Vec<_> = wanted.differences(&other).into_iter().map(|found| found.field).collect();
        assert_eq!(fields, ["duplicate_window", "max_age", "subjects"]);
    }

    #[test]
    fn an_update_keeps_what_others_need() {
        let wanted = wanted(&["a.*", "b.*"]);
        let existing = json!({"name": "S", "storage": "memory", "subjects": ["a.x", "c.>"], "sources": [1]});
        let merged = config(&wanted.merged(&config(&existing)));
        assert_eq!(merged["subjects"], json!(["a.*", "b.*", "c.>"]));
        assert_eq!((&merged["storage"], &merged["sources"]), (&json!("memory"), &json!([1])));
        assert_eq!(merged["num_replicas"], json!(1));
    }

    #[test]
    fn ids_are_remembered_no_longer_than_messages() {
        let retention = Duration::from_mins(1);
        let settings = JetStreamSettings { retention, ..JetStreamSettings::default() };
        let wanted = Wanted::new(&settings, "s", &[]);
        assert_eq!(wanted.fields["duplicate_window"], wanted.fields["max_age"]);
    }

    #[test]
    fn two_sites_never_share_a_stream_of_their_own() {
        assert_eq!(stream_of("plant-a"), "BIFROST_plant-a");
        assert_ne!(stream_of("plant.a"), stream_of("plant_a"));
        assert_ne!(stream_of("plant.a"), stream_of("plant a"));
    }
}
