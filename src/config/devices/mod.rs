//! `devices`: each read by itself, so that no problem hides another, then compared with each other.

mod early;
mod misfits;
mod origin;
mod repeated;

use std::path::{Path, PathBuf};

use bifrost_actors::plc::DeviceSettings;

pub(super) use early::Early;
pub(super) use origin::{FoundTag, Origin, is_guessed};

use super::{
    Problem, decode,
    key::KeyPath,
    source::{Kind, Node},
    tag_file,
    unavailable::{is_available, protocol_reason},
};
use misfits::{Needed, connection_conflicts};
use repeated::{repeated_ids, repeated_tags};

/// Where devices are read from.
pub(super) struct Place<'a> {
    /// The configuration's file; tag files are relative to it.
    pub(super) file: Option<&'a Path>,
    /// Its content.
    pub(super) tree: &'a Node,
    /// Whether tag files stay closed.
    pub(super) syntax_only: bool,
}

/// Reads and checks all devices. Those that are returned are complete only if no problem was added.
pub(super) fn read(place: &Place<'_>, mut early: Early, problems: &mut Vec<Problem>) -> Vec<DeviceSettings> {
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
    let mut devices = Vec::new();
    let mut needed = Vec::new();
    for (n, (node, path)) in nodes.iter().zip(&paths).enumerate() {
        let tags = early.found(n, &path.key("tags"));
        if let Some(device) = device(node, path, tags, place, problems) {
            needed.extend(Needed::by(&device, path));
            devices.push(device);
        }
    }
    problems.extend(connection_conflicts(&needed));
    devices
}

/// Checks devices that don't come from a file, as a request or the overlay brings them. Keys are relative to
/// the list: `[0].tags[3].address`.
pub fn check_devices(devices: &[DeviceSettings]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut needed = Vec::new();
    for (n, device) in devices.iter().enumerate() {
        let path = KeyPath::default().index(n);
        if device.tags_file.is_some() {
            let reason = "belongs into the configuration file; give the tags themselves";
            problems.push(Problem::of(path.key("tags_file"), reason));
        }
        if !is_available(device.protocol) {
            problems.push(Problem::of(path.key("protocol"), protocol_reason(device.protocol)));
        }
        let origins: Vec<_> =
            (0..device.tags.len()).map(|tag| Origin::Inline(path.key("tags").index(tag))).collect();
        let nowhere = Node::new(0, Kind::Null);
        let mut found = repeated_tags(&device.tags, &origins, &nowhere);
        if is_available(device.protocol) {
            misfits::check(device, &path, (&origins, &[]), &mut found);
        }
        needed.extend(Needed::by(device, &path));
        problems.extend(found);
    }
    problems.extend(connection_conflicts(&needed));
    problems
}

/// `tags` were read already; those that weren't follow them.
fn device(
    node: &Node,
    path: &KeyPath,
    mut tags: Vec<FoundTag>,
    place: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> Option<DeviceSettings> {
    if !matches!(node.kind, Kind::Map(_)) {
        problems.push(Problem::of(path, "must be a section; begin it with - id: press-1"));
        return None;
    }
    let before = problems.len();
    let rest = without_tags(node);
    let settings = decode::decode::<DeviceSettings>(&rest, path, problems);
    let is_whole = problems.len() == before;
    tags.extend(inline_tags(node, &path.key("tags"), problems));
    tags.extend(table_tags(&rest, path, place, problems));
    let guessed: Vec<_> = tags.iter().map(|tag| tag.guessed).collect();
    let (tags, origins): (Vec<_>, Vec<_>) = tags.into_iter().map(|tag| (tag.settings, tag.origin)).unzip();
    let mut found = repeated_tags(&tags, &origins, place.tree);
    let Some(settings) = settings else {
        misfits::check_tags(&tags, path, (&origins, &guessed), &mut found);
        tell(found, before, problems);
        return None;
    };
    // Once merged, the tags are all there is: a device that is read back and sent again has each once.
    let tags_file = settings.tags_file.filter(|_| place.syntax_only);
    let settings = DeviceSettings { tags, tags_file, ..settings };
    if is_available(settings.protocol) {
        misfits::check(&settings, path, (&origins, &guessed), &mut found);
    }
    tell(found, before, problems);
    // What others share with it mustn't be judged by the defaults that stand for what is wrong.
    is_whole.then_some(settings)
}

/// Adds what was found of a device, except of keys of which something was told since `before`.
fn tell(found: Vec<Problem>, before: usize, problems: &mut Vec<Problem>) {
    let told = problems.get(before..).unwrap_or_default();
    let news: Vec<_> = found.into_iter().filter(|new| !told.iter().any(|old| old.is_at(new))).collect();
    problems.extend(news);
}

fn table_tags(
    device: &Node,
    path: &KeyPath,
    place: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<FoundTag> {
    match device.get("tags_file").map(|entry| &entry.value.kind) {
        Some(Kind::Plain(file) | Kind::Text(file)) if !place.syntax_only => {
            tag_file::read(&relative(place.file, file), &path.key("tags_file"), problems)
        }
        _ => Vec::new(),
    }
}

fn relative(file: Option<&Path>, name: &str) -> PathBuf {
    file.and_then(Path::parent).unwrap_or(Path::new("")).join(name)
}

fn without_tags(node: &Node) -> Node {
    let entries = node.entries().iter().filter(|entry| entry.key != "tags").cloned().collect();
    Node::new(node.line, Kind::Map(entries))
}

/// The tags in the configuration itself; defaults stand for what is wrong with them and was told.
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
        let guessed = is_guessed(&problems[before..]);
        Some(FoundTag { settings, origin: Origin::Inline(path), guessed })
    };
    nodes.iter().enumerate().filter_map(tag).collect()
}
