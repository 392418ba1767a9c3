//! What was heard, and what wasn't: counts, delays, and each device's numbers. Pure.

use std::{collections::HashMap, time::Instant};

use super::message::Glance;

/// Delays that are remembered; beyond it messages are counted without.
const DELAYS: usize = 4_000_000;
/// A jump of a device's numbers by more is a new beginning, not a loss.
const JUMP: u64 = 1_000_000;

/// Messages of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count {
    pub(crate) messages: u64,
    pub(crate) values: u64,
    pub(crate) bytes: u64,
    /// When the first and the last came.
    pub(crate) span: Option<(Instant, Instant)>,
    /// Microseconds from the reading of its registers to its arrival, for each.
    delays: Vec<u32>,
}

impl Count {
    fn add(&mut self, values: u64, bytes: usize, delay: i64, at: Instant) {
        self.messages += 1;
        self.values += values;
        self.bytes += bytes as u64;
        self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        if self.delays.len() < DELAYS {
            self.delays.push(u32::try_from(delay.max(0)).unwrap_or(u32::MAX));
        }
    }

    /// Milliseconds of each message's delay.
    pub(crate) fn delays(&self) -> Vec<f64> {
        self.delays.iter().map(|micros| f64::from(*micros) / 1e3).collect()
    }
}

/// How many values of each scan were heard.
#[derive(Debug, Default)]
struct Scans {
    first: u64,
    heard: Vec<u32>,
}

/// Values that never came, and those that came more than once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flaws {
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) live: Count,
    pub(crate) historical: Count,
    /// Messages of another kind.
    pub(crate) others: u64,
    devices: HashMap<Vec<u8>, Scans>,
}

impl Tally {
    /// Notes a message that came now, by both clocks.
    pub(super) fn add(&mut self, message: Option<Glance<'_>>, bytes: usize, now: i64, at: Instant) {
        let Some(message) = message else {
            self.others += 1;
            return;
        };
        let count = if message.is_historical { &mut self.historical } else { &mut self.live };
        count.add(message.values, bytes, now - message.read_at, at);
        if let Some(scans) = self.devices.get_mut(message.device) {
            scans.add(message.seq, message.values);
        } else {
            let mut scans = Scans { first: message.seq, heard: Vec::new() };
            scans.add(message.seq, message.values);
            self.devices.insert(message.device.to_owned(), scans);
        }
    }

    /// Counts anew. What was heard of which scan stays known.
    pub(super) fn forget_counts(&mut self) {
        self.live = Count::default();
        self.historical = Count::default();
    }

    /// Of devices with so many tags: between each one's first number and its last, which may be on its way.
    pub(super) fn flaws(&self, tags: u16) -> Flaws {
        let tags = u64::from(tags);
        let scans =
            self.devices.values().flat_map(|scans| scans.heard.split_last().map_or(&[][..], |(_, all)| all));
        scans.fold(Flaws::default(), |sum, heard| {
            let heard = u64::from(*heard);
            Flaws {
                lost: sum.lost + tags.saturating_sub(heard),
                repeated: sum.repeated + heard.saturating_sub(tags),
            }
        })
    }

    /// Devices that were heard.
    pub(super) fn devices(&self) -> usize {
        self.devices.len()
    }
}

impl Scans {
    fn add(&mut self, seq: u64, values: u64) {
        if seq < self.first {
            let earlier = usize::try_from((self.first - seq).min(JUMP)).unwrap_or_default();
            self.heard.splice(0..0, std::iter::repeat_n(0, earlier));
            self.first = seq;
        } else if seq - self.first > JUMP + self.heard.len() as u64 {
            *self = Self { first: seq, heard: Vec::new() };
        }
        let index = usize::try_from(seq - self.first).unwrap_or_default();
        if self.heard.len() <= index {
            self.heard.resize(index + 1, 0);
        }
        if let Some(heard) = self.heard.get_mut(index) {
            *heard += u32::try_from(values).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(seqs: &[(u64, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (seq, values) in seqs {
            let message =
                Glance { device: b"d", seq: *seq, read_at: 1_000, values: *values, is_historical: *seq < 10 };
            tally.add(Some(message), 100, 3_500, Instant::now());
        }
        tally
    }

    #[test]
    fn what_is_missing_between_first_and_last_is_lost() {
        assert_eq!(heard(&[(10, 3), (11, 3), (13, 1)]).flaws(3), Flaws { lost: 3, repeated: 0 });
        assert_eq!(heard(&[(10, 3), (12, 2), (13, 1), (11, 3)]).flaws(3), Flaws { lost: 1, repeated: 0 });
    }

    #[test]
    fn what_comes_later_or_twice_isnt_lost() {
        assert_eq!(heard(&[(11, 3), (10, 3), (9, 3), (8, 3), (12, 3)]).flaws(3), Flaws::default());
        assert_eq!(heard(&[(10, 3), (10, 3), (11, 3)]).flaws(3), Flaws { lost: 0, repeated: 3 });
        assert_eq!(Tally::default().flaws(3), Flaws::default());
    }

    #[test]
    fn live_and_historical_values_are_counted_apart() {
        let mut tally = heard(&[(10, 3), (9, 2)]);
        tally.add(None, 5, 0, Instant::now());
        assert_eq!((tally.live.values, tally.historical.values, tally.others), (3, 2, 1));
        assert!((tally.live.delays()[0] - 2.5).abs() < 1e-9);
        tally.forget_counts();
        assert_eq!((tally.live.messages, tally.devices()), (0, 1));
    }
}
