//! Texts in, trees with line numbers out; knows no key of the configuration.

mod node;
mod toml;
mod yaml;

use std::path::Path;

pub(crate) use node::{Entry, Kind, Node};

/// A text that is no YAML or no TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Line, from 1, where it is known.
    pub(crate) line: Option<usize>,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Reads a file's text: TOML when its name ends so, else YAML.
pub(crate) fn parse(name: &Path, text: &str) -> Result<Node, Vec<SyntaxError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_toml = name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if is_toml { toml::parse(text) } else { yaml::parse(text).map_err(|error| vec![error]) }
}

/// Reads a value that stands alone, such as an environment variable's `[502, 503]`.
pub(crate) fn parse_value(text: &str) -> Result<Node, SyntaxError> {
    yaml::parse(text)
}
