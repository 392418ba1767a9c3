//! Where a tag stands: in the configuration, or in a tag file.

use std::path::PathBuf;

use bifrost_actors::plc::TagSettings;

use crate::config::{Problem, key::KeyPath, source::Node};

/// A tag and where it stands.
pub(in crate::config) struct FoundTag {
    pub(in crate::config) settings: TagSettings,
    pub(in crate::config) origin: Origin,
    /// Its type was wrong and a default stands in its place: what follows from the type says nothing.
    pub(in crate::config) guessed: bool,
}

/// Whether one of these problems, all of one tag, is that its type can't be read.
pub(in crate::config) fn is_guessed(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.key.rsplit('.').next() == Some("data_type"))
}

/// Where a tag stands.
#[derive(Clone)]
pub(in crate::config) enum Origin {
    /// In the configuration itself.
    Inline(KeyPath),
    /// In a tag file, on this line.
    TagFile(PathBuf, usize),
}

impl Origin {
    pub(in crate::config) fn problem(&self, key: &str, reason: impl Into<String>) -> Problem {
        match self {
            Self::Inline(path) => Problem::of(path.key(key), reason),
            Self::TagFile(file, line) => Problem {
                file: Some(file.clone()),
                line: Some(*line),
                key: key.to_owned(),
                reason: reason.into(),
            },
        }
    }

    /// For a sentence about another place.
    pub(super) fn describe(&self, tree: &Node) -> String {
        match self {
            Self::Inline(path) => described(path, tree),
            Self::TagFile(file, line) => format!("{}:{line}", file.display()),
        }
    }
}

/// A key with its line.
pub(super) fn described(path: &KeyPath, tree: &Node) -> String {
    match tree.line_of(path) {
        Some(line) => format!("{path} (line {line})"),
        None => path.to_string(),
    }
}
