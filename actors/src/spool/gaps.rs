//! Scans that never came as far as the spool: a device's numbers count up by one, so a jump is a loss.
//!
//! That happens while the spool or the router is being rebuilt, and when the spool's mailbox is full.

use std::{collections::HashMap, sync::Arc};

use super::store::Dropped;

/// The last number of each device, over all incarnations of a spool; before the first nothing is expected.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    last: HashMap<Arc<str>, u64>,
    /// Losses that were counted without their names being known.
    unnamed: u64,
}

impl Gaps {
    /// So many pieces of news were lost and are counted; which scans are among them, their gaps will show.
    pub(super) fn missed(&mut self, count: u64) {
        self.unnamed += count;
    }

    /// A scan came: answers those that should have come before.
    pub(super) fn scan(&mut self, device: &Arc<str>, seq: u64) -> Option<Dropped> {
        let expected = self.last.insert(Arc::clone(device), seq)? + 1;
        if seq <= expected {
            return None;
        }
        let missing = seq - expected;
        let counted = self.unnamed.min(missing);
        self.unnamed -= counted;
        let device_ranges = vec![(Arc::clone(device), expected, seq - 1)];
        Some(Dropped { messages: missing - counted, device_ranges, ..Dropped::default() })
    }

    /// This device is gone; should it return, its numbers may go on anywhere.
    pub(super) fn forget(&mut self, device: &str) {
        self.last.remove(device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(device: &Arc<str>, from: u64, to: u64, messages: u64) -> Dropped {
        Dropped { messages, device_ranges: vec![(Arc::clone(device), from, to)], ..Dropped::default() }
    }

    #[test]
    fn a_jump_names_what_lies_between_and_nothing_is_expected_of_who_is_new() {
        let (mut gaps, one, two) = (Gaps::default(), Arc::<str>::from("one"), Arc::<str>::from("two"));
        assert_eq!([gaps.scan(&one, 7), gaps.scan(&one, 8), gaps.scan(&two, 1)], [None, None, None]);
        assert_eq!(gaps.scan(&one, 12), Some(named(&one, 9, 11, 3)));
        assert_eq!([gaps.scan(&one, 13), gaps.scan(&two, 2)], [None, None]);
        gaps.forget("one");
        assert_eq!(gaps.scan(&one, 99), None);
    }

    #[test]
    fn what_is_counted_already_only_gets_its_name() {
        let (mut gaps, one) = (Gaps::default(), Arc::<str>::from("one"));
        gaps.scan(&one, 1);
        gaps.missed(4);
        assert_eq!(gaps.scan(&one, 5), Some(named(&one, 2, 4, 0)));
        assert_eq!(gaps.scan(&one, 9), Some(named(&one, 6, 8, 2)));
    }
}
