//! From JSON or a query to a typed request: everything that doesn't fit, with its key and what would fit.
//!
//! Knows nothing of HTTP; [`super::body`] and [`super::query`] do.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::error::KeyProblem;

/// After so many attempts nobody reads on.
const MAX_ATTEMPTS: usize = 200;

/// Reads a `T`, or says what keeps it from being one.
///
/// serde stops at the first problem. What it stumbled over is taken out, or replaced by something that may
/// pass, and the rest read again, as long as that helps.
pub(super) fn read<T: DeserializeOwned>(mut json: Value) -> Result<T, Vec<KeyProblem>> {
    let mut problems: Vec<KeyProblem> = Vec::new();
    for _ in 0..MAX_ATTEMPTS {
        let error = match serde_path_to_error::deserialize::<_, T>(&json) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let problem = describe(error.path(), &message);
        let said = problems.iter().any(|known| known.key == problem.key);
        if !said {
            problems.push(problem);
        }
        if !get_past(&mut json, error.path(), &message, said) {
            break;
        }
    }
    Err(problems)
}

/// Changes what serde stumbled over so that it comes further; `false` when nothing is left to try.
fn get_past(json: &mut Value, path: &Path, message: &str, said: bool) -> bool {
    let segments: Vec<&Segment> = path.iter().collect();
    if let Some(field) = missing(message) {
        let object = at(json, &segments).and_then(Value::as_object_mut);
        return object.is_some_and(|object| object.insert(field.to_owned(), "".into()).is_none());
    }
    let Some((tail, parents)) = segments.split_last() else { return false };
    let Some(parent) = at(json, parents) else { return false };
    match (tail, parent) {
        (Segment::Map { key }, Value::Object(object)) if !said => object.remove(key.as_str()).is_some(),
        (Segment::Map { key }, Value::Object(object)) => {
            object.get_mut(key.as_str()).is_some_and(|value| replace(value, message))
        }
        (Segment::Seq { index }, Value::Array(list)) => {
            list.get_mut(*index).is_some_and(|value| replace(value, message))
        }
        _ => false,
    }
}

fn at<'a>(json: &'a mut Value, segments: &[&Segment]) -> Option<&'a mut Value> {
    segments.iter().try_fold(json, |place, segment| match segment {
        Segment::Map { key } => place.get_mut(key.as_str()),
        Segment::Seq { index } => place.get_mut(*index),
        _ => None,
    })
}

/// Tries a text, then a choice that the message offers, then a number.
fn replace(value: &mut Value, message: &str) -> bool {
    let choice = message.strip_prefix("unknown variant ").and_then(|rest| rest.split('`').nth(3));
    let next: Value = match choice {
        Some(choice) => choice.into(),
        None if value.as_str() == Some("") => 0.into(),
        None if value.as_i64() == Some(0) => return false,
        None => "".into(),
    };
    let differs = *value != next;
    *value = next;
    differs
}

fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

/// serde's message in the words of somebody who writes the JSON.
pub(super) fn describe(path: &Path, message: &str) -> KeyProblem {
    let place = path.to_string();
    let place = if place == "." { String::new() } else { place };
    if let Some(field) = missing(message) {
        let key = if place.is_empty() { field.to_owned() } else { format!("{place}.{field}") };
        return KeyProblem::new(key, "is missing");
    }
    KeyProblem::new(place, unknown_key(message).unwrap_or_else(|| message.to_owned()))
}

/// ``unknown field `a`, expected one of `b`, `c` `` with the nearest alone.
fn unknown_key(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let mut quoted = rest.split('`').step_by(2);
    let field = quoted.next()?;
    let known: Vec<&str> = rest.split('`').skip(2).step_by(2).filter(|key| !key.is_empty()).collect();
    let nearest =
        known.iter().max_by(|a, b| strsim::jaro_winkler(field, a).total_cmp(&strsim::jaro_winkler(field, b)));
    Some(match nearest {
        Some(key) if strsim::jaro_winkler(field, key) > 0.7 => {
            format!("unknown key {field:?}; did you mean {key:?}?")
        }
        _ => format!("unknown key {field:?}; possible are {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only their names and types matter")]
    struct Plant {
        name: String,
        kind: Kind,
        lines: Vec<Line>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Mill,
        Press,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only their names and types matter")]
    struct Line {
        address: String,
        #[serde(default)]
        speed: u16,
        length: u32,
    }

    fn problems(json: &Value) -> Vec<String> {
        let mut problems: Vec<_> =
            read::<Plant>(json.clone()).unwrap_err().iter().map(ToString::to_string).collect();
        problems.sort_unstable();
        problems
    }

    #[test]
    fn everything_that_does_not_fit_is_said_at_once() {
        let json = serde_json::json!({
            "name": 3, "colour": "red", "kind": "oven",
            "lines": [{"address": "a", "length": 1}, {"adress": "b", "speed": 70000}]
        });
        assert_eq!(
            problems(&json),
            [
                "colour: unknown key \"colour\"; possible are name, kind, lines",
                "kind: unknown variant `oven`, expected `mill` or `press`",
                "lines[1].address: is missing",
                "lines[1].adress: unknown key \"adress\"; did you mean \"address\"?",
                "lines[1].length: is missing",
                "lines[1].speed: invalid value: integer `70000`, expected u16",
                "name: invalid type: integer `3`, expected a string",
            ]
        );
    }

    #[test]
    fn every_missing_key_is_named_with_its_place() {
        assert_eq!(
            problems(&serde_json::json!({})),
            ["kind: is missing", "lines: is missing", "name: is missing"]
        );
    }

    #[test]
    fn items_of_another_type_do_not_hide_the_rest() {
        let json = serde_json::json!({"name": "a", "kind": "mill", "lines": [7], "x": 1});
        let problems = problems(&json);
        assert!(problems[0].starts_with("lines[0]: invalid type: integer `7`"), "{problems:?}");
    }

    #[test]
    fn what_is_no_object_is_said_of_the_whole() {
        assert!(problems(&serde_json::json!(7))[0].contains("invalid type"));
    }
}
