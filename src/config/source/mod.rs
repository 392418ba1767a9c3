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

/// Reads a file's text: TOML when its name ends so, else YAML, which shows the elements of one list while it
/// is read.
pub(crate) fn parse(name: &Path, text: &str, passing: Passing<'_>) -> Result<Node, Vec<SyntaxError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_toml = name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if is_toml { toml::parse(text) } else { yaml::parse(text, passing).map_err(|error| vec![error]) }
}

/// Sees each element of a list at the top as soon as it is read, and may take something out of it, so that
/// the whole of a large file never is in memory.
pub(crate) struct Passing<'a> {
    /// The list's key; empty: none.
    pub(crate) list: &'static str,
    /// Gets the element's number and the element.
    pub(crate) take: &'a mut dyn FnMut(usize, &mut Node),
}

/// Reads a value that stands alone, such as an environment variable's `[502, 503]`.
pub(crate) fn parse_value(text: &str) -> Result<Node, SyntaxError> {
    yaml::parse(text, Passing { list: "", take: &mut |_, _| {} })
}
