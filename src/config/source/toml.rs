//! TOML 1.0, into the same tree as YAML.

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{Entry, Kind, Node, SyntaxError};

/// Reads a document; every syntax error at once.
pub(super) fn parse(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(section(1, table.get_ref(), &lines));
    }
    let problem = |error: &toml::de::Error| SyntaxError {
        line: error.span().map(|span| lines.at(span.start)),
        reason: error.message().to_owned(),
    };
    Err(errors.iter().map(problem).collect())
}

/// Byte offsets at which lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(breaks.map(|(offset, _)| offset + 1)).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|begin| *begin <= offset)
    }
}

fn section(line: usize, table: &DeTable<'_>, lines: &Lines) -> Node {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let value = node(value, lines);
        Entry { key: name.clone().into_owned(), line: lines.at(key.span().start), value }
    };
    Node::new(line, Kind::Map(entries.into_iter().map(entry).collect()))
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let line = lines.at(value.span().start);
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.clone().into_owned()),
        DeValue::Integer(number) => Kind::Plain(decimal(number)),
        DeValue::Float(number) => Kind::Plain(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Kind::Plain(truth.to_string()),
        DeValue::Datetime(time) => Kind::Text(time.to_string()),
        DeValue::Array(values) => Kind::List(values.iter().map(|value| node(value, lines)).collect()),
        DeValue::Table(table) => return section(line, table, lines),
    };
    Node::new(line, kind)
}

/// `0x10` and `0o7` are numbers in TOML.
fn decimal(number: &DeInteger<'_>) -> String {
    let text = number.as_str();
    match i128::from_str_radix(text, number.radix()) {
        Ok(value) => value.to_string(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::KeyPath;

    #[test]
    fn a_document_becomes_the_same_tree_as_yaml() {
        let text = "[gateway]\nport = 0x1F90\nid = \"a\"\n\n[[devices]]\nid = \"d\"\n";
        let tree = parse(text).unwrap();
        assert_eq!(
            tree.get("gateway").unwrap().value.get("port").unwrap().value.kind,
            Kind::Plain("8080".into())
        );
        for (path, line) in [("gateway.port", 2), ("devices[0].id", 6)] {
            assert_eq!(tree.line_of(&KeyPath::parse(path)), Some(line), "{path}");
        }
    }

    #[test]
    fn every_syntax_error_is_named_with_its_line() {
        let errors = parse("a = \nb = 1\nc = [\n").unwrap_err();
        assert!(errors.iter().any(|error| error.line == Some(1)), "{errors:?}");
        assert!(errors.len() >= 2, "{errors:?}");
    }
}
