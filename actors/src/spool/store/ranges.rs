//! Which scans of which devices: ranges of sequence numbers, merged where they touch.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// A device, and the first and last of its scans in a row.
pub(crate) type DeviceRange = (Arc<str>, u64, u64);

/// Ranges of all devices, never more than a limit.
#[derive(Debug)]
pub(crate) struct Ranges {
    devices: BTreeMap<Arc<str>, BTreeMap<u64, u64>>,
    count: usize,
    limit: usize,
    truncated: bool,
}

/// As they are written: each range by what lies between it and the one before, and by its length.
#[derive(Serialize, Deserialize)]
struct Written<'a>(#[serde(borrow)] Vec<(&'a str, Vec<(u64, u64)>)>);

impl Ranges {
    pub(crate) fn new(limit: usize) -> Self {
        Self { devices: BTreeMap::new(), count: 0, limit, truncated: false }
    }

    /// Adds scans; beyond the limit only where they touch others of the device.
    pub(crate) fn add(&mut self, device: &str, from: u64, to: u64) {
        if !self.devices.contains_key(device) {
            self.devices.insert(device.into(), BTreeMap::new());
        }
        let Some(ranges) = self.devices.get_mut(device) else { return };
        let (mut from, mut to) = (from, to);
        if let Some((&begin, &end)) = ranges.range(..=from).next_back()
            && end.saturating_add(1) >= from
        {
            (from, to) = (begin, to.max(end));
        }
        let touching = ranges.range(from..=to.saturating_add(1)).map(|(&begin, &end)| (begin, end));
        let touching: Vec<_> = touching.collect();
        if touching.is_empty() && self.count >= self.limit {
            self.truncated = true;
            return;
        }
        for (begin, end) in &touching {
            ranges.remove(begin);
            to = to.max(*end);
        }
        ranges.insert(from, to);
        self.count = (self.count + 1).saturating_sub(touching.len());
    }

    /// Whether some weren't taken.
    pub(crate) fn truncated(&self) -> bool {
        self.truncated
    }

    /// By device, then by number.
    pub(crate) fn into_list(self) -> Vec<DeviceRange> {
        let devices = self.devices.into_iter();
        let ranges = devices.flat_map(|(device, ranges)| {
            ranges.into_iter().map(move |(from, to)| (Arc::clone(&device), from, to))
        });
        ranges.collect()
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, postcard::Error> {
        let devices = self.devices.iter().map(|(device, ranges)| {
            let mut last = 0;
            let ranges = ranges.iter().map(|(&from, &to)| {
                let gap = from - last;
                last = to;
                (gap, to - from)
            });
            (&**device, ranges.collect())
        });
        postcard::to_stdvec(&Written(devices.collect()))
    }

    /// Adds what was written; answers nothing when the bytes are none of ours.
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let Written(devices) = postcard::from_bytes(bytes).ok()?;
        for (device, ranges) in devices {
            let mut last = 0_u64;
            for (gap, length) in ranges {
                let from = last.checked_add(gap)?;
                last = from.checked_add(length)?;
                self.add(device, from, last);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(added: &[(&str, u64, u64)], limit: usize) -> (Vec<(String, u64, u64)>, bool) {
        let mut ranges = Ranges::new(limit);
        for (device, from, to) in added {
            ranges.add(device, *from, *to);
        }
        let mut read = Ranges::new(limit);
        read.add_bytes(&ranges.to_bytes().unwrap()).unwrap();
        let truncated = ranges.truncated();
        let (list, again) = (ranges.into_list(), read.into_list());
        assert_eq!(list, again, "what is written reads back");
        (list.into_iter().map(|(device, from, to)| (device.to_string(), from, to)).collect(), truncated)
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let added = [("a", 1, 3), ("a", 7, 9), ("b", 4, 4), ("a", 4, 6), ("a", 2, 2), ("a", 20, 20)];
        let expected = vec![("a".to_owned(), 1, 9), ("a".to_owned(), 20, 20), ("b".to_owned(), 4, 4)];
        assert_eq!(listed(&added, 100), (expected, false));
    }

    #[test]
    fn beyond_the_limit_only_what_touches_is_taken() {
        let added = [("a", 1, 3), ("a", 7, 9), ("a", 11, 11), ("a", 4, 4)];
        let expected = vec![("a".to_owned(), 1, 4), ("a".to_owned(), 7, 9)];
        assert_eq!(listed(&added, 2), (expected, true));
    }

    #[test]
    fn the_largest_numbers_overflow_nothing() {
        let added = [("a", u64::MAX, u64::MAX), ("a", 0, 0), ("a", u64::MAX - 1, u64::MAX - 1)];
        let expected = vec![("a".to_owned(), 0, 0), ("a".to_owned(), u64::MAX - 1, u64::MAX)];
        assert_eq!(listed(&added, 100), (expected, false));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert_eq!(Ranges::new(9).add_bytes(&[200, 1, 2]), None);
    }
}
