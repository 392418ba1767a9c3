//! What serde says, in words that help.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::{
    key::{KeyPath, Step},
    problem::Problem,
};

/// A value that can't be read, and where below the tree's top.
#[derive(Debug)]
pub(crate) struct Fault {
    /// From the value up.
    steps: Vec<Step>,
    /// What is wrong.
    pub(crate) what: What,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(crate) enum What {
    /// A key that isn't known here, and those that are.
    UnknownKey(String, &'static [&'static str]),
    /// A key without a default that isn't there.
    Missing(&'static str),
    /// Another kind of value than the one needed.
    Mismatch { found: String, needed: String },
    /// A word that isn't one of these.
    NoneOf(String, &'static [&'static str]),
    /// What the type itself says.
    Said(String),
}

impl Fault {
    pub(super) fn new(what: What) -> Self {
        let steps = match &what {
            What::UnknownKey(key, _) => vec![Step::Key(key.clone())],
            _ => Vec::new(),
        };
        Self { steps, what }
    }

    /// One level up.
    pub(super) fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// From the tree's top down.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    /// As `steps`, with the key that is missing.
    pub(super) fn path(&self) -> KeyPath {
        let path = KeyPath(self.steps());
        match self.what {
            What::Missing(key) => path.key(key),
            _ => path,
        }
    }

    pub(crate) fn problem(&self, base: &KeyPath) -> Problem {
        let path = base.join(&self.path().0);
        Problem::of(&path, self.what.reason(path.is_secret()))
    }
}

impl What {
    pub(crate) fn reason(&self, secret: bool) -> String {
        match self {
            Self::UnknownKey(key, known) => match nearest(key, known) {
                Some(meant) => format!("is no key here; did you mean {meant}?"),
                None if known.is_empty() => "is no key here; remove it".to_owned(),
                None => format!("is no key here; there are {}", known.join(", ")),
            },
            Self::Missing(_) => "is missing, and has no default".to_owned(),
            Self::Mismatch { needed, .. } if secret => {
                format!("is not what is needed here: {needed} (the value isn't shown)")
            }
            Self::Mismatch { found, needed } => format!("is {found}, but {needed} is needed"),
            Self::NoneOf(_, known) if secret => format!("must be one of {}", known.join(", ")),
            Self::NoneOf(found, known) => {
                let hint = nearest(found, known)
                    .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
                format!("is {}, but must be one of {}{hint}", quoted(found), known.join(", "))
            }
            Self::Said(_) if secret => "is not what is needed here (the value isn't shown)".to_owned(),
            Self::Said(text) => text.clone(),
        }
    }
}

/// The known word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let scored = known.iter().map(|other| {
        let alike = strsim::normalized_damerau_levenshtein(&word, &other.to_lowercase().replace('-', "_"));
        (alike, *other)
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(alike, _)| *alike >= 0.5).map(|(_, other)| other)
}

/// A value as it is shown: in quotes, and not at any length.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
}

fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Str(text) => quoted(text),
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a section".to_owned(),
        Unexpected::Unit | Unexpected::Option => "empty".to_owned(),
        other => other.to_string(),
    }
}

/// serde's words for types, in a user's words.
fn needed(expected: &dyn Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more,",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        "a sequence" => "a list",
        "a duration" => "a duration such as 250ms, 30s, 24h or 7d",
        other if other.starts_with("struct ") => "a section of keys",
        other if other.starts_with("enum ") || other.starts_with("variant ") => "one word",
        other => other,
    }
    .to_owned()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem(&KeyPath::default()).fmt(f)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Said(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_value(unexpected, expected)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Mismatch { found: found(unexpected), needed: needed(expected) })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(field.to_owned(), expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(What::NoneOf(variant.to_owned(), expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }
}
