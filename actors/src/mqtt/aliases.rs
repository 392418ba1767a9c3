//! Numbers for topics (MQTT 5.0, 3.3.2.3.4): a topic is sent once in full, and then by its number.
//!
//! Numbers go to the topics of telemetry that are used often enough first, which are those of the fastest
//! scans, until the broker takes no more. They hold for one connection and are never given away again.

use std::{collections::HashMap, sync::Arc};

/// Uses after which a topic gets a number: those that are used once stay without.
const USES: u8 = 3;
/// Topics that are counted, for each number that is still free.
const CANDIDATES: usize = 64;

/// How to write a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// In full.
    Full,
    /// In full, with the number that it has from then on.
    Named(u16),
    /// By its number.
    Number(u16),
}

/// The numbers of one connection.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    max: u16,
    known: HashMap<Arc<str>, u16>,
    uses: HashMap<Arc<str>, u8>,
}

impl Aliases {
    pub(super) fn new(max: u16) -> Self {
        Self { max, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// How a topic is to be written now.
    pub(super) fn write(&mut self, topic: &Arc<str>) -> Written {
        if self.max == 0 {
            return Written::Full;
        }
        if let Some(number) = self.known.get(topic) {
            return Written::Number(*number);
        }
        match self.next() {
            Some(number) if self.is_used_often(topic) => Written::Named(number),
            _ => Written::Full,
        }
    }

    /// The broker is on its way to know this topic.
    pub(super) fn named(&mut self, topic: &Arc<str>, number: u16) {
        self.uses.remove(topic);
        self.known.insert(Arc::clone(topic), number);
        if self.next().is_none() {
            self.uses = HashMap::new();
        }
    }

    fn next(&self) -> Option<u16> {
        let next = u16::try_from(self.known.len()).ok()?.checked_add(1)?;
        (next <= self.max).then_some(next)
    }

    fn is_used_often(&mut self, topic: &Arc<str>) -> bool {
        if let Some(uses) = self.uses.get_mut(topic) {
            *uses = uses.saturating_add(1);
            return *uses >= USES;
        }
        let free = usize::from(self.max) - self.known.len();
        if self.uses.len() >= free.saturating_mul(CANDIDATES) {
            self.uses.clear();
        }
        self.uses.insert(Arc::clone(topic), 1);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(aliases: &mut Aliases, topic: &Arc<str>) -> Written {
        let written = aliases.write(topic);
        if let Written::Named(number) = written {
            aliases.named(topic, number);
        }
        written
    }

    #[test]
    fn topics_that_come_again_are_named_once_and_then_numbered() {
        let mut aliases = Aliases::new(1);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let seen: Vec<_> = (0..4).map(|_| write(&mut aliases, &a)).collect();
        assert_eq!(seen, [Written::Full, Written::Full, Written::Named(1), Written::Number(1)]);
        let seen: Vec<_> = (0..4).map(|_| write(&mut aliases, &b)).collect();
        assert_eq!(seen, [Written::Full; 4], "the broker takes but one");
        assert!(aliases.uses.is_empty());
    }

    #[test]
    fn a_broker_without_numbers_gets_full_topics() {
        let mut aliases = Aliases::new(0);
        let topic = "a".into();
        assert!((0..9).all(|_| write(&mut aliases, &topic) == Written::Full));
    }

    #[test]
    fn topics_without_end_take_no_memory_without_end() {
        let mut aliases = Aliases::new(2);
        for n in 0..10_000 {
            write(&mut aliases, &format!("{n}").into());
        }
        assert!(aliases.uses.len() <= 2 * CANDIDATES);
    }

    #[test]
    fn a_topic_that_was_not_sent_is_named_again() {
        let mut aliases = Aliases::new(1);
        let topic = "a".into();
        let seen: Vec<_> = (0..4).map(|_| aliases.write(&topic)).collect();
        assert_eq!(seen[2..], [Written::Named(1), Written::Named(1)]);
    }
}
