//! The events that are kept, oldest dropped first.

use std::{collections::VecDeque, sync::Arc};

use bifrost_model::Event;

use super::messages::{ListEvents, Numbered};

pub(super) struct Events {
    kept: VecDeque<Numbered<Event>>,
    bound: usize,
    next: u64,
}

impl Events {
    pub(super) fn new(bound: usize) -> Self {
        Self { kept: VecDeque::new(), bound, next: 1 }
    }

    pub(super) fn add(&mut self, event: Event) -> Arc<Event> {
        if self.kept.len() >= self.bound {
            self.kept.pop_front();
        }
        let item = Arc::new(event);
        self.kept.push_back(Numbered { number: self.next, item: Arc::clone(&item) });
        self.next += 1;
        item
    }

    /// Newest first.
    pub(super) fn list(&self, wanted: &ListEvents) -> Vec<Numbered<Event>> {
        let passes = |event: &&Numbered<Event>| {
            wanted.before.is_none_or(|before| event.number < before)
                && wanted.device_id.as_deref().is_none_or(|id| *event.item.device_id == *id)
        };
        self.kept.iter().rev().filter(passes).take(wanted.limit).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}
