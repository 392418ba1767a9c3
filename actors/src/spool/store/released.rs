//! Which blocks of one segment are settled: one bit each, since their ids follow each other.

use serde::{Deserialize, Serialize};

/// One bit per block from the segment's first on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Released {
    words: Vec<u64>,
    count: u64,
}

/// As it is written: the words at the beginning that are all ones are only counted.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Written {
    full: usize,
    rest: Vec<u64>,
}

impl Released {
    /// Whether the block at this place wasn't settled yet.
    pub(super) fn set(&mut self, place: u64) -> bool {
        let (word, bit) = split(place);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }

    pub(super) fn has(&self, place: u64) -> bool {
        let (word, bit) = split(place);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The first place from this one on that isn't settled, if it lies below the end.
    pub(super) fn first_kept(&self, from: u64, end: u64) -> Option<u64> {
        let mut place = from;
        while place < end {
            let (word, _) = split(place);
            let Some(word) = self.words.get(word) else { return Some(place) };
            let ahead = u64::from((!word >> (place % 64)).trailing_zeros());
            if ahead < 64 - place % 64 {
                return Some(place + ahead).filter(|place| *place < end);
            }
            place = (place / 64 + 1) * 64;
        }
        None
    }

    pub(super) fn written(&self) -> Written {
        let full = self.words.iter().take_while(|word| **word == u64::MAX).count();
        Written { full, rest: self.words[full..].to_vec() }
    }

    /// What was written, as far as the segment has blocks.
    pub(super) fn read(written: &Written, blocks: u64) -> Self {
        let mut this = Self::default();
        let places = usize::try_from(blocks).unwrap_or(usize::MAX);
        let word = |index: usize| match index.checked_sub(written.full) {
            None => u64::MAX,
            Some(index) => written.rest.get(index).copied().unwrap_or_default(),
        };
        for place in (0..places).filter(|place| word(place / 64) >> (place % 64) & 1 == 1) {
            this.set(place as u64);
        }
        this
    }
}

fn split(place: u64) -> (usize, u64) {
    (usize::try_from(place / 64).unwrap_or(usize::MAX - 1), 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_remembers_what_a_set_remembers(places in prop::collection::vec(0_u64..300, 0..400), from in 0_u64..310) {
            let mut released = Released::default();
            let mut set = std::collections::BTreeSet::new();
            for place in &places {
                prop_assert_eq!(released.set(*place), set.insert(*place));
            }
            prop_assert_eq!(released.count(), set.len() as u64);
            prop_assert_eq!(released.first_kept(from, 300), (from..300).find(|place| !set.contains(place)));
            prop_assert!((0..310).all(|place| released.has(place) == set.contains(&place)));
            let again = Released::read(&released.written(), 300);
            prop_assert_eq!(again.count(), released.count());
            prop_assert!((0..310).all(|place| again.has(place) == set.contains(&place)));
        }
    }
}
