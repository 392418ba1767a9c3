//! figment's part: what is written later wins.

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::Serialized,
    value::{Dict, Empty, Map, Tag, Value},
};

use super::{
    Config,
    source::{Entry, Kind, Node},
};

/// One source of settings.
struct Layer(&'static str, Dict);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.1.clone())]))
    }
}

/// Lays the sources over each other and over the defaults; `devices` is left out, since they only come from
/// the file, and there may be many.
pub(super) fn merge(file: &Node, environment: &Node, flags: &Node) -> Result<Node, Box<figment::Error>> {
    let defaults = Figment::from(Serialized::defaults(Config::default()));
    let known = node(Value::Dict(Tag::Default, defaults.extract().map_err(Box::new)?));
    let merged = defaults
        .merge(Layer("file", layer(file, &known)))
        .merge(Layer("environment", layer(environment, &known)))
        .merge(Layer("flags", layer(flags, &known)));
    Ok(node(Value::Dict(Tag::Default, merged.extract().map_err(Box::new)?)))
}

fn layer(tree: &Node, known: &Node) -> Dict {
    let sections = tree.entries().iter().filter(|entry| entry.key != "devices");
    dict(sections, known)
}

/// A known key without a value keeps its default: a section whose keys are all commented out is one.
fn dict<'a>(entries: impl Iterator<Item = &'a Entry>, known: &Node) -> Dict {
    let pairs = entries.filter_map(|entry| {
        let default = known.get(&entry.key).map(|entry| &entry.value);
        match (&entry.value.kind, default) {
            (Kind::Null, Some(_)) => None,
            _ => Some((entry.key.clone(), value(&entry.value, default))),
        }
    });
    pairs.collect()
}

fn value(node: &Node, default: Option<&Node>) -> Value {
    let nothing = Node::new(0, Kind::Null);
    match &node.kind {
        Kind::Null | Kind::Gone => Value::Empty(Tag::Default, Empty::None),
        Kind::Plain(text) | Kind::Text(text) => Value::String(Tag::Default, text.clone()),
        Kind::List(nodes) => Value::Array(Tag::Default, nodes.iter().map(|node| value(node, None)).collect()),
        Kind::Map(entries) => Value::Dict(Tag::Default, dict(entries.iter(), default.unwrap_or(&nothing))),
    }
}

fn node(value: Value) -> Node {
    let number = value.to_u128().map(|n| n.to_string()).or_else(|| value.to_i128().map(|n| n.to_string()));
    let number = number.or_else(|| value.to_f64().map(|n| n.to_string()));
    let kind = match value {
        Value::String(_, text) => Kind::Plain(text),
        Value::Char(_, c) => Kind::Plain(c.to_string()),
        Value::Bool(_, truth) => Kind::Plain(truth.to_string()),
        Value::Num(..) => Kind::Plain(number.unwrap_or_default()),
        Value::Empty(..) => Kind::Null,
        Value::Array(_, values) => Kind::List(values.into_iter().map(node).collect()),
        Value::Dict(_, dict) => {
            let entry = |(key, value)| Entry { key, line: 0, value: node(value) };
            Kind::Map(dict.into_iter().map(entry).collect())
        }
    };
    Node::new(0, kind)
}
