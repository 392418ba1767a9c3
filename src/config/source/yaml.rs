//! YAML 1.2 with anchors, aliases and merge keys.
//!
//! Scalars stay text: `no` is a text and `0x10` is one too, until a key asks for a number.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Entry, Kind, Node, Passing, SyntaxError};

/// Deeper nesting than this is no configuration, and would exhaust the stack.
const MAX_DEPTH: usize = 64;
/// More nodes than this after aliases are resolved is an attack, or a mistake.
const MAX_NODES: usize = 5_000_000;

/// Reads one document; an empty text is an empty section.
pub(super) fn parse(text: &str, passing: Passing<'_>) -> Result<Node, SyntaxError> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::new(passing);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| at(error.marker().line(), error.info()))?;
        builder.take(&event, &span)?;
    }
    Ok(builder.document.unwrap_or(Node::new(1, Kind::Map(Vec::new()))))
}

fn at(line: usize, reason: impl Into<String>) -> SyntaxError {
    SyntaxError { line: Some(line), reason: reason.into() }
}

/// A list or section whose end hasn't come yet.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, usize)>, merges: Vec<Node> },
}

struct Builder<'a> {
    passing: Passing<'a>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    document: Option<Node>,
    documents: usize,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn new(passing: Passing<'a>) -> Self {
        Self { passing, open: Vec::new(), anchors: HashMap::new(), document: None, documents: 0, nodes: 0 }
    }

    fn take(&mut self, event: &Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(at(
                        line,
                        "a second document begins here; one file holds one, remove the ---",
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar(text, *style, tag.as_deref(), line)?;
                self.put(Node::new(line, kind), *anchor)?;
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(anchor).cloned();
                let (mut node, size) = known.ok_or_else(|| at(line, "an alias can't refer to itself"))?;
                node.line = line;
                self.count(size, line)?;
                self.put(node, 0)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(line, *anchor, tag.as_deref(), Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Map { entries: Vec::new(), key: None, merges: Vec::new() };
                self.open(line, *anchor, tag.as_deref(), content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        line: usize,
        anchor: usize,
        tag: Option<&Tag>,
        content: Content,
    ) -> Result<(), SyntaxError> {
        known_tag(tag, line)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(at(line, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = match open.content {
            Content::List(nodes) => Kind::List(nodes),
            Content::Map { mut entries, merges, .. } => {
                merge(&mut entries, merges)?;
                Kind::Map(entries)
            }
        };
        self.put(Node::new(open.line, kind), open.anchor)
    }

    fn put(&mut self, mut node: Node, anchor: usize) -> Result<(), SyntaxError> {
        let line = node.line;
        self.count(1, line)?;
        if anchor != 0 {
            let size = size(&node);
            self.count(size, line)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.pass(&mut node);
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.document = Some(node),
            Some(Content::List(nodes)) => nodes.push(node),
            Some(Content::Map { entries, key, merges }) => match key.take() {
                None => *key = Some(key_of(node)?),
                Some((key, _)) if key == "<<" => merges.push(node),
                Some((key, line)) => insert(entries, Entry { key, line, value: node })?,
            },
        }
        Ok(())
    }

    /// Shows an element of the list that is asked for.
    fn pass(&mut self, node: &mut Node) {
        let [Open { content: Content::Map { key: Some((key, _)), .. }, .. }, list] = self.open.as_slice()
        else {
            return;
        };
        if let (Content::List(nodes), true) = (&list.content, key == self.passing.list) {
            (self.passing.take)(nodes.len(), node);
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(at(line, format!("more than {MAX_NODES} values, aliases included; split the plant")));
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::List(nodes) => 1 + nodes.iter().map(size).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
        _ => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Kind, SyntaxError> {
    known_tag(tag, line)?;
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str") || tag.handle().is_empty());
    Ok(match style {
        ScalarStyle::Plain if is_text => Kind::Text(text.to_owned()),
        ScalarStyle::Plain if matches!(text, "" | "~" | "null" | "Null" | "NULL") => Kind::Null,
        ScalarStyle::Plain => Kind::Plain(text.to_owned()),
        _ => Kind::Text(text.to_owned()),
    })
}

fn known_tag(tag: Option<&Tag>, line: usize) -> Result<(), SyntaxError> {
    let is_plain_text = |tag: &Tag| tag.handle().is_empty() && tag.suffix() == "!";
    match tag.filter(|tag| !tag.is_yaml_core_schema() && !is_plain_text(tag)) {
        Some(tag) => Err(at(line, format!("the tag !{} means nothing here; remove it", tag.suffix()))),
        None => Ok(()),
    }
}

fn key_of(node: Node) -> Result<(String, usize), SyntaxError> {
    match node.kind {
        Kind::Plain(text) | Kind::Text(text) => Ok((text, node.line)),
        Kind::Null | Kind::Gone => Err(at(node.line, "a key is missing before the colon")),
        Kind::List(_) | Kind::Map(_) => Err(at(
            node.line,
            "a list or a section can't be a key; if a placeholder such as {site_id} begins a text, put it in \
             quotes",
        )),
    }
}

fn insert(entries: &mut Vec<Entry>, entry: Entry) -> Result<(), SyntaxError> {
    match entries.iter().find(|other| other.key == entry.key) {
        None => {
            entries.push(entry);
            Ok(())
        }
        Some(other) => Err(at(
            entry.line,
            format!("the key {} is there already, on line {}; remove one", entry.key, other.line),
        )),
    }
}

/// `<<: *base` or `<<: [*a, *b]`: keys that aren't there yet; the first that has one wins.
fn merge(entries: &mut Vec<Entry>, merges: Vec<Node>) -> Result<(), SyntaxError> {
    for node in merges {
        let line = node.line;
        let sources = match node.kind {
            Kind::List(nodes) => nodes,
            kind => vec![Node::new(line, kind)],
        };
        for source in sources {
            let Kind::Map(more) = source.kind else {
                return Err(at(line, "<< merges sections; refer to one, as in <<: *defaults"));
            };
            for entry in more {
                if !entries.iter().any(|other| other.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::KeyPath;

    fn parse(text: &str) -> Result<Node, SyntaxError> {
        super::parse(text, Passing { list: "", take: &mut |_, _| {} })
    }

    fn refused(text: &str) -> String {
        let error = parse(text).expect_err(text);
        format!("{}: {}", error.line.unwrap_or_default(), error.reason)
    }

    #[test]
    fn every_key_knows_its_line() {
        let tree = parse("gateway:\n  port: 1\n\ndevices:\n  - id: a\n    tags:\n      - id: t\n").unwrap();
        for (path, line) in [
            ("gateway", Some(1)),
            ("gateway.port", Some(2)),
            ("devices[0].id", Some(5)),
            ("devices[0].tags[0].id", Some(7)),
            ("devices[0].tags[0].address", Some(7)),
            ("supervision", None),
        ] {
            assert_eq!(tree.line_of(&KeyPath::parse(path)), line, "{path}");
        }
    }

    #[test]
    fn scalars_keep_their_text_and_quotes_make_a_difference() {
        let tree = parse("a: 40001.10\nb: \"1\"\nc: ~\nd:\ne: !!str 5\n").unwrap();
        let kinds: Vec<_> = tree.entries().iter().map(|entry| entry.value.kind.clone()).collect();
        let expected = [
            Kind::Plain("40001.10".to_owned()),
            Kind::Text("1".to_owned()),
            Kind::Null,
            Kind::Null,
            Kind::Text("5".to_owned()),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn merge_keys_fill_in_what_is_not_there() {
        let tree = parse("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n").unwrap();
        let used = &tree.get("use").unwrap().value;
        assert_eq!(used.get("x").unwrap().value.kind, Kind::Plain("1".to_owned()));
        assert_eq!(used.get("y").unwrap().value.kind, Kind::Plain("3".to_owned()));
    }

    #[test]
    fn the_elements_of_one_list_are_shown_while_they_are_read() {
        let mut seen = Vec::new();
        let mut take = |n, node: &mut Node| {
            seen.push((n, node.take("tags").is_some()));
        };
        let text = "a: {devices: [{tags: 1}]}\ndevices: [{tags: [1]}, {id: b}]\nother: [{tags: 1}]\n";
        let tree = super::parse(text, Passing { list: "devices", take: &mut take }).unwrap();
        assert_eq!(seen, [(0, true), (1, false)]);
        assert_eq!(tree.line_of(&KeyPath::parse("devices[1].id")), Some(2));
        let Kind::List(devices) = &tree.get("devices").unwrap().value.kind else { panic!("{tree:?}") };
        assert_eq!(devices[0].kind, Kind::Map(Vec::new()));
    }

    #[test]
    fn an_empty_text_is_an_empty_section() {
        assert_eq!(parse("").unwrap().kind, Kind::Map(Vec::new()));
        assert_eq!(parse("# nothing\n").unwrap().kind, Kind::Map(Vec::new()));
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_line() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "3: the key a is there already, on line 1"),
            ("a: 1\n---\nb: 2\n", "a second document"),
            ("a: {site_id}/x\n", "1: "),
            ("{[1]: 2}\n", "1: a list or a section can't be a key"),
            ("a: !env PASSWORD\n", "1: the tag !env means nothing here"),
            ("a: *b\n", "1: "),
            ("a: [1, 2\n", ""),
            ("a: 1\n\tb: 2\n", "1: while scanning a plain scalar, found a tab"),
        ] {
            assert!(refused(text).contains(expected), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn aliases_that_multiply_and_nesting_without_end_are_refused() {
        let level = |n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        let bomb = format!("a0: &a0 [x, x]\n{}", (1..12).map(level).collect::<Vec<_>>().concat());
        assert!(refused(&bomb).contains("more than"), "{}", refused(&bomb));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
    }
}
