//! Tags that become settings while the file is still being read.

use std::collections::HashMap;

use bifrost_actors::plc::TagSettings;

use super::{
    inline_tags,
    origin::{FoundTag, Origin},
};
use crate::config::{key::KeyPath, source::Node};

/// Tags that were read while the file was: they are most of a large file, and as settings they are a
/// fraction of its size.
pub(in crate::config) struct Early {
    wanted: bool,
    tags: HashMap<usize, Vec<TagSettings>>,
}

impl Early {
    /// Reads tags early. The lines of tags are lost: what is wrong with them can't be told in full.
    pub(in crate::config) fn begin() -> Self {
        Self { wanted: true, tags: HashMap::new() }
    }

    /// Leaves all tags where they are.
    pub(in crate::config) fn none() -> Self {
        Self { wanted: false, tags: HashMap::new() }
    }

    /// Takes the tags of a device out, if all of them are right.
    pub(in crate::config) fn take(&mut self, device: usize, node: &mut Node) {
        if !self.wanted || node.get("tags").is_none() {
            return;
        }
        let path = KeyPath::default().key("tags");
        let mut problems = Vec::new();
        let mut tags: Vec<_> =
            inline_tags(node, &path, &mut problems).into_iter().map(|tag| tag.settings).collect();
        if problems.is_empty() {
            tags.shrink_to_fit();
            self.tags.insert(device, tags);
            node.take("tags");
        }
    }

    /// Those of a device, whose path is `path`.
    pub(super) fn found(&mut self, device: usize, path: &KeyPath) -> Vec<FoundTag> {
        let tags = self.tags.remove(&device).unwrap_or_default().into_iter().enumerate();
        tags.map(|(n, settings)| FoundTag { settings, origin: Origin::Inline(path.index(n)), guessed: false })
            .collect()
    }
}
