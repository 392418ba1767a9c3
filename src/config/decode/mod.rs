//! From a tree to settings, with every problem instead of the first.
//!
//! serde stops at the first error. What it stopped at is taken out of the tree, and it is asked again: so a
//! wrong key hides no other, and no settings type needs to know of it.

mod fault;
mod reader;

use serde::de::DeserializeOwned;

pub(crate) use fault::{Fault, What, nearest};
use reader::Reader;

use super::{
    key::{KeyPath, Step},
    problem::Problem,
    source::{Entry, Kind, Node},
};

/// More faults than this in one part are reported as one.
const MAX_FAULTS: usize = 100;

/// Reads `T` from a tree whose top stands at `base` in the configuration.
///
/// Adds every problem. Returns the settings with the defaults of keys that were wrong, or nothing if a key
/// without a default is wrong or missing.
pub(crate) fn decode<T: DeserializeOwned>(
    node: &Node,
    base: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match T::deserialize(Reader(node)) {
        Ok(settings) => Some(settings),
        Err(fault) => repair(node.clone(), fault, base, problems),
    }
}

fn repair<T: DeserializeOwned>(
    mut node: Node,
    mut fault: Fault,
    base: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let mut taken_out: Vec<KeyPath> = Vec::new();
    for _ in 0..MAX_FAULTS {
        let steps = fault.steps();
        let path = fault.path();
        if !taken_out.contains(&path) {
            problems.push(fault.problem(base));
        }
        if matches!(fault.what, What::Missing(_)) || !node.remove(&steps) {
            return None;
        }
        taken_out.push(path);
        match T::deserialize(Reader(&node)) {
            Ok(settings) => return Some(settings),
            Err(next) => fault = next,
        }
    }
    problems.push(Problem::of(base, format!("has more than {MAX_FAULTS} problems; the rest isn't shown")));
    None
}

/// Reads `T` or says the first thing that is wrong, for texts that stand alone.
pub(crate) fn decode_strictly<T: DeserializeOwned>(node: &Node, base: &KeyPath) -> Result<T, Problem> {
    T::deserialize(Reader(node)).map_err(|fault| fault.problem(base))
}

/// The keys that a section of type `T` knows.
pub(crate) fn known_keys<T: DeserializeOwned>() -> &'static [&'static str] {
    known_keys_at::<T>(&[]).unwrap_or_default()
}

/// The keys of the section at these steps within `T`; nothing where there is no section.
pub(crate) fn known_keys_at<T: DeserializeOwned>(steps: &[Step]) -> Option<&'static [&'static str]> {
    // Asking with a key that nobody has makes serde name those that there are.
    let section = |key: &str, value| {
        let entry = Entry { key: key.to_owned(), line: 0, value };
        Node::new(0, Kind::Map(vec![entry]))
    };
    let nonsense = section("\u{0}", Node::new(0, Kind::Null));
    let tree = steps.iter().rev().fold(nonsense, |inner, step| match step {
        Step::Key(key) => section(key, inner),
        Step::Index(_) => Node::new(0, Kind::List(vec![inner])),
    });
    match T::deserialize(Reader(&tree)) {
        Err(Fault { what: What::UnknownKey(key, known), .. }) if key == "\u{0}" => Some(known),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::config::source;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        id: String,
        #[serde(default)]
        port: u16,
        #[serde(default, with = "humantime_serde")]
        wait: Duration,
        #[serde(default)]
        scale: Option<f64>,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        ports: Vec<u8>,
        #[serde(default)]
        api_token: u8,
    }

    fn decoded(text: &str) -> (Option<Sample>, Vec<String>) {
        let tree = source::parse_value(text).unwrap();
        let mut problems = Vec::new();
        let sample = decode(&tree, &KeyPath::default().key("top"), &mut problems);
        (sample, problems.iter().map(ToString::to_string).collect())
    }

    fn problems_of(text: &str) -> Vec<String> {
        decoded(text).1
    }

    #[test]
    fn scalars_are_read_as_the_key_needs_them_quoted_or_not() {
        let (sample, problems) =
            decoded("{id: 0042.10, port: \"80\", wait: 1m, scale: 1e-1, on: \"true\", ports: [1, \"2\"]}");
        let expected = Sample {
            id: "0042.10".to_owned(),
            port: 80,
            wait: Duration::from_mins(1),
            scale: Some(0.1),
            on: true,
            ports: vec![1, 2],
            api_token: 0,
        };
        assert_eq!((sample, problems), (Some(expected), Vec::new()));
    }

    #[test]
    fn every_problem_is_named_not_only_the_first() {
        let problems = problems_of("{prot: 1, port: 70000, wait: 5, scale: x, on: yes, ports: [1, 300, a]}");
        let expected = [
            "top.prot: is no key here; did you mean port?",
            "top.port: is 70000, but a whole number from 0 to 65535 is needed",
            "top.wait: is \"5\", but a duration such as 250ms, 30s, 24h or 7d is needed",
            "top.scale: is \"x\", but a number is needed",
            "top.on: is \"yes\", but true or false is needed",
            "top.ports[1]: is 300, but a whole number from 0 to 255 is needed",
            "top.ports[2]: is \"a\", but a whole number from 0 to 255 is needed",
            "top.id: is missing, and has no default",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_wrong_key_without_a_default_is_not_reported_as_missing_too() {
        assert_eq!(problems_of("{id: [a]}"), ["top.id: is a list, but a text is needed"]);
    }

    #[test]
    fn values_that_may_be_secrets_are_not_shown() {
        assert_eq!(
            problems_of("{id: a, api_token: hunter2}"),
            [
                "top.api_token: is not what is needed here: a whole number from 0 to 255 (the value isn't shown)"
            ]
        );
    }

    #[test]
    fn infinity_is_no_number() {
        for text in ["nan", "inf", "1e999", "-infinity"] {
            assert_eq!(problems_of(&format!("{{id: a, scale: {text}}}")).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_type_can_be_asked_for_its_keys() {
        assert_eq!(known_keys::<Sample>(), ["id", "port", "wait", "scale", "on", "ports", "api_token"]);
    }
}
