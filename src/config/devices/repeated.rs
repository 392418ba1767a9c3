//! Ids that come twice: both places are told.

use std::collections::HashMap;

use bifrost_actors::plc::TagSettings;

use super::origin::{Origin, described};
use crate::config::{
    Problem,
    key::KeyPath,
    source::{Kind, Node},
};

/// Devices whose id another device has.
pub(super) fn repeated_ids(nodes: &[Node], paths: &[KeyPath], tree: &Node) -> Vec<Problem> {
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

/// Tags of one device whose id another of its tags has.
pub(super) fn repeated_tags(tags: &[TagSettings], origins: &[Origin], tree: &Node) -> Vec<Problem> {
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
