//! `devices`: each read by itself, so that no problem hides another, then compared with each other.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bifrost_actors::plc::{self, DeviceSettings, Protocol, TagSettings};

use super::{
    Problem, decode,
    key::KeyPath,
    source::{Kind, Node},
    tag_file,
    unavailable::is_available,
};

/// Where devices are read from.
pub(super) struct Place<'a> {
    /// The configuration's file; tag files are relative to it.
    pub(super) file: Option<&'a Path>,
    /// Its content.
    pub(super) tree: &'a Node,
    /// Whether tag files stay closed.
    pub(super) syntax_only: bool,
}

/// A tag and where it stands.
pub(super) struct FoundTag {
    pub(super) settings: TagSettings,
    pub(super) origin: Origin,
}

/// Where a tag stands.
#[derive(Clone)]
pub(super) enum Origin {
    /// In the configuration itself.
    Inline(KeyPath),
    /// In a tag file, on this line.
    TagFile(PathBuf, usize),
}

impl Origin {
    pub(super) fn problem(&self, key: &str, reason: impl Into<String>) -> Problem {
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

    fn describe(&self, tree: &Node) -> String {
        match self {
            Self::Inline(path) => described(path, tree),
            Self::TagFile(file, line) => format!("{}:{line}", file.display()),
        }
    }
}

fn described(path: &KeyPath, tree: &Node) -> String {
    match tree.line_of(path) {
        Some(line) => format!("{path} (line {line})"),
        None => path.to_string(),
    }
}

/// Reads and checks all devices. Those that are returned are complete only if no problem was added.
pub(super) fn read(place: &Place<'_>, problems: &mut Vec<Problem>) -> Vec<DeviceSettings> {
    let path = KeyPath::default().key("devices");
    let nodes = match place.tree.get("devices").map(|entry| &entry.value.kind) {
        None | Some(Kind::Null) => return Vec::new(),
        Some(Kind::List(nodes)) => nodes,
        Some(_) => {
            problems.push(Problem::of(path, "must be a list; begin each device with a dash: - id: press-1"));
            return Vec::new();
        }
    };
    let paths: Vec<_> = (0..nodes.len()).map(|n| path.index(n)).collect();
    problems.extend(repeated_ids(nodes, &paths, place.tree));
    let devices: Vec<_> = nodes
        .iter()
        .zip(&paths)
        .filter_map(|(node, path)| Some((device(node, path, place, problems)?, path)))
        .collect();
    problems.extend(connection_conflicts(&devices));
    devices.into_iter().map(|(device, _)| device).collect()
}

/// Checks devices that don't come from a file, as a request or the overlay brings them. Keys are relative to
/// the list: `[0].tags[3].address`.
pub fn check_devices(devices: &[DeviceSettings]) -> Vec<Problem> {
    let path = |n| KeyPath::default().index(n);
    let mut problems = Vec::new();
    for (n, device) in devices.iter().enumerate() {
        let path = path(n);
        if device.tags_file.is_some() {
            let reason = "belongs into the configuration file; give the tags themselves";
            problems.push(Problem::of(path.key("tags_file"), reason));
        }
        if !is_available(device.protocol) {
            problems.push(Problem::of(
                path.key("protocol"),
                super::unavailable::protocol_reason(device.protocol),
            ));
            continue;
        }
        let origins: Vec<_> =
            (0..device.tags.len()).map(|tag| Origin::Inline(path.key("tags").index(tag))).collect();
        let nowhere = Node::new(0, Kind::Null);
        let repeated = repeated_tags(&device.tags, &origins, &nowhere);
        problems.extend(misfits(device, &path, &origins, &repeated));
        problems.extend(repeated);
    }
    let paths: Vec<_> = (0..devices.len()).map(path).collect();
    let placed: Vec<_> = devices.iter().cloned().zip(&paths).collect();
    problems.extend(connection_conflicts(&placed));
    problems
}

fn repeated_ids(nodes: &[Node], paths: &[KeyPath], tree: &Node) -> Vec<Problem> {
    let mut first: HashMap<&str, &KeyPath> = HashMap::new();
    let mut problems = Vec::new();
    for (node, path) in nodes.iter().zip(paths) {
        let Some(Kind::Plain(id) | Kind::Text(id)) = node.get("id").map(|entry| &entry.value.kind) else {
            continue;
        };
        if let Some(other) = first.get(id.as_str()) {
            let other = described(&other.key("id"), tree);
            problems.push(Problem::of(
                path.key("id"),
                format!("{id:?} is {other} already; give each its own id"),
            ));
        } else {
            first.insert(id, path);
        }
    }
    problems
}

fn device(
    node: &Node,
    path: &KeyPath,
    place: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> Option<DeviceSettings> {
    if !matches!(node.kind, Kind::Map(_)) {
        problems.push(Problem::of(path, "must be a section; begin it with - id: press-1"));
        return None;
    }
    let before = problems.len();
    let mut rest = without_tags(node);
    let settings = decode::decode::<DeviceSettings>(&rest, path, problems);
    let is_whole = problems.len() == before;
    let mut tags = inline_tags(node, &path.key("tags"), problems);
    let tags_file = rest.take("tags_file").map(|entry| entry.value.kind);
    if let (Some(Kind::Plain(file) | Kind::Text(file)), false) = (tags_file, place.syntax_only) {
        tags.extend(tag_file::read(&relative(place.file, &file), &path.key("tags_file"), problems));
    }
    let (tags, origins): (Vec<_>, Vec<_>) = tags.into_iter().map(|tag| (tag.settings, tag.origin)).unzip();
    let repeated = repeated_tags(&tags, &origins, place.tree);
    let device = settings.map(|settings| {
        let tags_file = settings.tags_file.filter(|_| place.syntax_only);
        DeviceSettings { tags, tags_file, ..settings }
    });
    if let Some(device) = device.as_ref().filter(|device| is_whole && is_available(device.protocol)) {
        problems.extend(misfits(device, path, &origins, &repeated));
    }
    problems.extend(repeated);
    device
}

fn relative(file: Option<&Path>, name: &str) -> PathBuf {
    file.and_then(Path::parent).unwrap_or(Path::new("")).join(name)
}

fn without_tags(node: &Node) -> Node {
    let entries = node.entries().iter().filter(|entry| entry.key != "tags").cloned().collect();
    Node::new(node.line, Kind::Map(entries))
}

fn inline_tags(node: &Node, path: &KeyPath, problems: &mut Vec<Problem>) -> Vec<FoundTag> {
    let nodes = match node.get("tags").map(|entry| &entry.value.kind) {
        None | Some(Kind::Null) => return Vec::new(),
        Some(Kind::List(nodes)) => nodes,
        Some(_) => {
            problems.push(Problem::of(path, "must be a list; begin each tag with a dash: - id: temperature"));
            return Vec::new();
        }
    };
    let tag = |(n, node): (usize, &Node)| {
        let path = path.index(n);
        let before = problems.len();
        let settings = decode::decode(node, &path, problems)?;
        // A tag that is wrong already isn't tried against its address with defaults in place of what's wrong.
        (problems.len() == before).then_some(FoundTag { settings, origin: Origin::Inline(path) })
    };
    nodes.iter().enumerate().filter_map(tag).collect()
}

fn repeated_tags(tags: &[TagSettings], origins: &[Origin], tree: &Node) -> Vec<Problem> {
    let mut first: HashMap<&str, &Origin> = HashMap::new();
    let mut problems = Vec::new();
    for (tag, origin) in tags.iter().zip(origins) {
        if let Some(other) = first.get(tag.id.as_str()) {
            let reason = format!("{:?} is {} already; give each its own id", tag.id, other.describe(tree));
            problems.push(origin.problem("id", reason));
        } else {
            first.insert(&tag.id, origin);
        }
    }
    problems
}

/// Addresses, types and times that don't fit the protocol or each other; what is said already isn't again.
fn misfits(device: &DeviceSettings, path: &KeyPath, origins: &[Origin], said: &[Problem]) -> Vec<Problem> {
    let place = |misfit: plc::SettingsProblem| match split_tag_key(&misfit.key) {
        Some((tag, key)) if tag < origins.len() => origins[tag].problem(key, misfit.problem),
        _ => Problem::of(path.join(&KeyPath::parse(&misfit.key).0), misfit.problem),
    };
    let misfits = plc::compile(device).err().unwrap_or_default().into_iter().map(place);
    let is_new = |misfit: &Problem| !said.iter().any(|other| other.is_at(misfit));
    misfits.filter(is_new).collect()
}

/// `tags[3].address` → 3, `address`.
fn split_tag_key(key: &str) -> Option<(usize, &str)> {
    let (index, key) = key.strip_prefix("tags[")?.split_once(']')?;
    Some((index.parse().ok()?, key.trim_start_matches('.')))
}

/// What devices on one address share, as they wrote it.
fn connection(device: &DeviceSettings) -> [(&'static str, String); 6] {
    let time = |time: Duration| format!("{time:?}");
    let protocol: Protocol = device.protocol;
    [
        ("protocol", protocol.as_str().to_owned()),
        ("address", device.address.trim().to_owned()),
        ("connect_timeout", time(device.connect_timeout)),
        ("pause_after_connect", time(device.pause_after_connect)),
        ("pause_between_requests", time(device.pause_between_requests)),
        ("late_reply_wait", device.late_reply_wait.map_or_else(|| "absent".to_owned(), time)),
    ]
}

/// Units behind one address share its connection, which can't be set in two ways.
fn connection_conflicts(devices: &[(DeviceSettings, &KeyPath)]) -> Vec<Problem> {
    let mut first: HashMap<&str, &(DeviceSettings, &KeyPath)> = HashMap::new();
    let mut problems = Vec::new();
    for entry in devices {
        let (device, path) = entry;
        let line = device.address.split('?').next().unwrap_or_default().trim();
        let (other, other_path) = *first.entry(line).or_insert(entry);
        for ((key, here), (_, there)) in connection(device).into_iter().zip(connection(other)) {
            if here != there {
                let reason = format!(
                    "is {here}, but {there} for {other_path} on the same address; they share one connection, \
                     make them equal"
                );
                problems.push(Problem::of(path.key(key), reason));
            }
        }
    }
    problems
}
