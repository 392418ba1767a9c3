//! The environment as a layer: `BIFROST_GATEWAY__PORT=8081` is `gateway.port`.
//!
//! A variable that isn't understood is refused, with its name and without its value. Names that
//! orchestrators make up for a service called bifrost are left alone.

use std::env;

use super::{
    Config, Problem, decode,
    key::{KeyPath, Step},
    source::{self, Entry, Kind, Node},
};

const PREFIX: &str = "BIFROST_";

/// The process's variables; those that aren't UTF-8 are none of ours.
pub fn process_environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    env::vars_os().filter_map(text).collect()
}

/// Settings that don't come from the file, and who gave which.
#[derive(Debug)]
pub(super) struct Layer {
    /// The settings.
    pub(super) tree: Node,
    /// The keys that were set, each with what to call its source.
    pub(super) given: Vec<(KeyPath, String)>,
}

impl Layer {
    fn empty() -> Self {
        Self { tree: Node::new(0, Kind::Map(Vec::new())), given: Vec::new() }
    }

    fn set(&mut self, path: KeyPath, value: Node, source: String, problems: &mut Vec<Problem>) {
        if put(&mut self.tree, &path.0, value) {
            self.given.push((path, source));
        } else {
            let reason = format!("is given twice, as a value and as a section (by {source}); remove one");
            problems.push(Problem::of(path, reason));
        }
    }
}

/// Reads the environment; `file` is what it is laid over.
pub(super) fn from_environment(
    variables: &[(String, String)],
    file: &Node,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::empty();
    customary(variables, &mut layer, problems);
    let mut ours: Vec<_> =
        variables.iter().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value))).collect();
    ours.sort();
    for (name, value) in ours {
        match key_of(name, value) {
            Key::Ours(path) => add(&mut layer, path, name, value, file, problems),
            Key::Misspelt(reason) => problems.push(Problem::of(format!("{PREFIX}{name}"), reason)),
            Key::Foreign => {}
        }
    }
    layer
}

/// Settings given as flags: `gateway.port` and its value.
pub(super) fn from_flags(flags: &[(String, String)], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::empty();
    for (key, value) in flags {
        let value = Node::new(0, Kind::Plain(value.clone()));
        layer.set(KeyPath::parse(key), value, "the command line".to_owned(), problems);
    }
    layer
}

enum Key {
    Ours(KeyPath),
    Misspelt(String),
    Foreign,
}

fn key_of(name: &str, value: &str) -> Key {
    let parts: Vec<_> = name.split("__").map(str::to_lowercase).collect();
    if parts.len() > 1 {
        return Key::Ours(KeyPath(parts.into_iter().map(Step::Key).collect()));
    }
    let sections = decode::known_keys::<Config>();
    let lower = name.to_lowercase();
    let rest = |section: &str| lower.strip_prefix(section).and_then(|rest| rest.strip_prefix('_'));
    match sections.iter().find_map(|section| Some((section, rest(section)?))) {
        Some((section, rest)) if !is_service_link(name, value) => Key::Misspelt(format!(
            "names no key; the environment divides keys by two underscores: \
             {PREFIX}{}__{}",
            section.to_uppercase(),
            rest.to_uppercase()
        )),
        _ if sections.contains(&lower.as_str()) => {
            Key::Misspelt(format!("names a whole section; name a key of it, as in {PREFIX}GATEWAY__PORT"))
        }
        _ => Key::Foreign,
    }
}

/// Kubernetes sets `BIFROST_GATEWAY_SERVICE_HOST`, `…_PORT=tcp://…` for a service called bifrost-gateway.
fn is_service_link(name: &str, value: &str) -> bool {
    let by_port = |name: &str| name.contains("_PORT_") || name.contains("_SERVICE_");
    by_port(name) || value.starts_with("tcp://") || value.starts_with("udp://")
}

fn add(layer: &mut Layer, path: KeyPath, name: &str, value: &str, file: &Node, problems: &mut Vec<Problem>) {
    let source = format!("{PREFIX}{name}");
    if path.0.first() == Some(&Step::Key("devices".to_owned())) {
        problems.push(Problem::of(source, "devices come from the file alone; change them there"));
        return;
    }
    if passes_a_list(file, &path) {
        let reason = "is inside a list in the file, which the environment can't change; change the file";
        problems.push(Problem::of(source, reason));
        return;
    }
    let value = if value.starts_with(['[', '{']) {
        source::parse_value(value)
    } else {
        Ok(Node::new(0, Kind::Plain(value.to_owned())))
    };
    match value {
        Ok(value) => layer.set(path, value, source, problems),
        Err(_) => problems.push(Problem::of(source, "is no list such as [502, 503]; close its brackets")),
    }
}

fn passes_a_list(file: &Node, path: &KeyPath) -> bool {
    let mut node = file;
    for step in &path.0 {
        let Step::Key(key) = step else { return false };
        match (&node.kind, node.get(key)) {
            (Kind::List(_), _) => return true,
            (_, Some(entry)) => node = &entry.value,
            (_, None) => return false,
        }
    }
    false
}

/// Sets a value in nested sections; `false` where a value stands already.
fn put(node: &mut Node, steps: &[Step], value: Node) -> bool {
    let (Some((Step::Key(key), rest)), Kind::Map(entries)) = (steps.split_first(), &mut node.kind) else {
        return false;
    };
    let found = entries.iter().position(|entry| entry.key == *key);
    match (found, rest.is_empty()) {
        (None, true) => {
            entries.push(Entry { key: key.clone(), line: 0, value });
            true
        }
        (Some(index), true) => {
            let replaces = !matches!(entries[index].value.kind, Kind::Map(_));
            if replaces {
                entries[index].value = value;
            }
            replaces
        }
        (Some(index), false) => put(&mut entries[index].value, rest, value),
        (None, false) => {
            let mut section = Node::new(0, Kind::Map(Vec::new()));
            let put = put(&mut section, rest, value);
            entries.push(Entry { key: key.clone(), line: 0, value: section });
            put
        }
    }
}

/// Names that users of the platform's other parts have set already.
fn customary(variables: &[(String, String)], layer: &mut Layer, problems: &mut Vec<Problem>) {
    let enable = truth("ENABLE_ENCRYPTION", variables, problems);
    let industrial = truth("INDUSTRIAL_MODE", variables, problems);
    if (enable, industrial) == (Some(false), Some(true)) {
        let reason = "is true, which encrypts everything, but ENABLE_ENCRYPTION is false; change one of them";
        problems.push(Problem::of("INDUSTRIAL_MODE", reason));
    }
    let mut set = |key: &str, value: &str, name: &str| {
        let value = Node::new(0, Kind::Plain(value.to_owned()));
        layer.set(KeyPath::parse(key), value, name.to_owned(), problems);
    };
    if industrial == Some(true) {
        set("security.encryption.enabled", "true", "INDUSTRIAL_MODE");
        set("security.encryption.level", "industrial", "INDUSTRIAL_MODE");
    }
    if let Some(enable) = enable {
        set("security.encryption.enabled", if enable { "true" } else { "false" }, "ENABLE_ENCRYPTION");
    }
    let Some(hours) = variable("KEY_ROTATION_INTERVAL", variables) else { return };
    match hours.trim().parse::<u32>() {
        Ok(hours) if hours > 0 => {
            let hours = format!("{hours}h");
            set("security.key_management.key_rotation_interval", &hours, "KEY_ROTATION_INTERVAL");
            set("security.key_management.key_rotation_enabled", "true", "KEY_ROTATION_INTERVAL");
        }
        _ => {
            problems
                .push(Problem::of("KEY_ROTATION_INTERVAL", "is no number of hours; write one such as 24"));
        }
    }
}

fn variable<'a>(name: &str, variables: &'a [(String, String)]) -> Option<&'a str> {
    variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

fn truth(name: &str, variables: &[(String, String)], problems: &mut Vec<Problem>) -> Option<bool> {
    match variable(name, variables)?.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" | "" => Some(false),
        _ => {
            problems.push(Problem::of(name, "must be true or false"));
            None
        }
    }
}

/// Whether a problem's key is a variable rather than a key of the configuration.
pub(super) fn is_variable(key: &str) -> bool {
    key.starts_with(PREFIX)
        || ["ENABLE_ENCRYPTION", "INDUSTRIAL_MODE", "KEY_ROTATION_INTERVAL"].contains(&key)
}
