//! What a device's messages have in common, made once for each set of tags.

use std::sync::Arc;

use bifrost_model::{DeviceTags, TagClass};

use super::json;
use crate::broker::{
    Identity, Routes,
    downsample::{Rules, Thinner},
    select::{Passing, Selection},
};

/// A device as its messages need it.
#[derive(Debug)]
pub(super) struct Device {
    /// Kept, so that no other set of tags can come to lie at its address.
    pub(super) tags: Arc<DeviceTags>,
    pub(super) passing: Passing,
    pub(super) thinner: Option<Thinner>,
    pub(super) form: Form,
}

/// The constant part of the messages.
#[derive(Debug)]
pub(super) enum Form {
    /// Nothing of this device is published.
    None,
    PerDevice(Skeleton),
    /// Topic and id of each tag, by index; empty where it doesn't pass.
    PerTag(Box<[(Arc<str>, Arc<str>)]>),
}

/// The constant part of a message with a whole scan.
#[derive(Debug)]
pub(super) struct Skeleton {
    pub(super) topic: Arc<str>,
    /// Up to the scan's number.
    pub(super) head: Box<[u8]>,
    /// `,"tag_id":` of every tag, one behind the other.
    keys: Box<[u8]>,
    /// Where they begin, and the last ends.
    bounds: Box<[u32]>,
    classes: Classes,
}

#[derive(Debug)]
enum Classes {
    Same(TagClass),
    Each(Box<[TagClass]>),
}

impl Device {
    pub(super) fn new(
        tags: &Arc<DeviceTags>,
        identity: &Identity,
        routes: &Routes,
        selection: &Selection,
        rules: Option<Rules>,
    ) -> Self {
        let passing = selection.of(tags);
        let thinner =
            rules.filter(|_| passing != Passing::Nothing).map(|rules| Thinner::new(rules, tags.len()));
        let form = match (&passing, routes.is_per_tag()) {
            (Passing::Nothing, _) => Form::None,
            (_, true) => Form::PerTag(topics(tags, routes, &passing)),
            (_, false) => Form::PerDevice(Skeleton::new(tags, identity, routes)),
        };
        Self { tags: Arc::clone(tags), passing, thinner, form }
    }

    /// Whether any of its tags is published.
    pub(super) fn is_published(&self) -> bool {
        self.passing != Passing::Nothing
    }
}

fn topics(tags: &DeviceTags, routes: &Routes, passing: &Passing) -> Box<[(Arc<str>, Arc<str>)]> {
    let none = Arc::<str>::from("");
    let topic = |(index, id): (u32, &str)| {
        if passing.passes(index) {
            (Arc::from(routes.telemetry(tags.device_id(), id)), Arc::from(id))
        } else {
            (Arc::clone(&none), Arc::clone(&none))
        }
    };
    (0..).zip(tags.iter().map(|tag| tag.id)).map(topic).collect()
}

impl Skeleton {
    fn new(tags: &DeviceTags, identity: &Identity, routes: &Routes) -> Self {
        let mut head = br#"{"device_id":"#.to_vec();
        json(&mut head, &**tags.device_id());
        head.extend_from_slice(br#","site_id":"#);
        json(&mut head, &*identity.site_id);
        head.extend_from_slice(br#","seq":"#);
        let (mut keys, mut bounds) = (Vec::new(), Vec::with_capacity(tags.len() + 1));
        for tag in tags.iter() {
            bounds.push(bound(&keys));
            keys.push(b',');
            json(&mut keys, tag.id);
            keys.push(b':');
        }
        bounds.push(bound(&keys));
        let topic = routes.telemetry(tags.device_id(), "").into();
        let classes = Classes::of(tags);
        Self { topic, head: head.into(), keys: keys.into(), bounds: bounds.into(), classes }
    }

    /// `,"tag_id":`, the first of an object without the comma; `None` when there is no such tag.
    pub(super) fn key(&self, tag: u32, first: bool) -> Option<&[u8]> {
        let tag = tag as usize;
        let (begin, end) = (*self.bounds.get(tag)?, *self.bounds.get(tag + 1)?);
        self.keys.get(begin as usize + usize::from(first)..end as usize)
    }

    /// The class of one tag.
    pub(super) fn class(&self, tag: u32) -> TagClass {
        match &self.classes {
            Classes::Same(class) => *class,
            Classes::Each(classes) => classes.get(tag as usize).copied().unwrap_or_default(),
        }
    }
}

/// A device has at most millions of tags with ids of 128 bytes: far below 4 GiB.
fn bound(keys: &[u8]) -> u32 {
    u32::try_from(keys.len()).unwrap_or(u32::MAX)
}

impl Classes {
    fn of(tags: &DeviceTags) -> Self {
        let first = tags.get(0).map(|tag| tag.class).unwrap_or_default();
        if tags.iter().all(|tag| tag.class == first) {
            return Self::Same(first);
        }
        Self::Each(tags.iter().map(|tag| tag.class).collect())
    }
}
