//! A configuration file as a tree that remembers its lines.

use crate::config::key::{KeyPath, Step};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it stands, from 1; 0: not in a file.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a value is. Numbers stay text until somebody asks for one, so that `40001.10` keeps its zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Nothing.
    Null,
    /// A scalar without quotes: text, number or truth value, as who reads it needs.
    Plain(String),
    /// A scalar in quotes.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A section; no key comes twice.
    Map(Vec<Entry>),
    /// An element of a list that was taken out; its neighbours keep their numbers.
    Gone,
}

/// One key of a section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) line: usize,
    /// Its value.
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn new(line: usize, kind: Kind) -> Self {
        Self { line, kind }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Takes a key out of a section.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let Kind::Map(entries) = &mut self.kind else { return None };
        let index = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(index))
    }

    /// Takes out what is at the end of these steps; whether there was anything.
    pub(crate) fn remove(&mut self, steps: &[Step]) -> bool {
        let Some((last, parents)) = steps.split_last() else { return false };
        let Some(parent) = self.at_mut(parents) else { return false };
        match (last, &mut parent.kind) {
            (Step::Key(key), Kind::Map(_)) => parent.take(key).is_some(),
            (Step::Index(index), Kind::List(nodes)) => match nodes.get_mut(*index) {
                Some(node) => std::mem::replace(&mut node.kind, Kind::Gone) != Kind::Gone,
                None => false,
            },
            _ => false,
        }
    }

    fn at_mut(&mut self, steps: &[Step]) -> Option<&mut Self> {
        steps.iter().try_fold(self, |node, step| match (step, &mut node.kind) {
            (Step::Key(key), Kind::Map(entries)) => {
                entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
            }
            (Step::Index(index), Kind::List(nodes)) => nodes.get_mut(*index),
            _ => None,
        })
    }

    /// The line of a key, or of the nearest section around it; none when its first step isn't here.
    pub(crate) fn line_of(&self, path: &KeyPath) -> Option<usize> {
        let mut node = self;
        let mut found = None;
        for step in &path.0 {
            let next = match (step, &node.kind) {
                (Step::Key(key), Kind::Map(_)) => node.get(key).map(|entry| (entry.line, &entry.value)),
                (Step::Index(index), Kind::List(nodes)) => nodes.get(*index).map(|node| (node.line, node)),
                _ => None,
            };
            let Some((line, next)) = next else { break };
            found = Some(line);
            node = next;
        }
        found
    }
}
