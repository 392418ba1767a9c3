//! How often a session's letters are told of: the first at once, those of the next minute together.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

/// At most one event per session in this time.
pub(super) const EVERY: Duration = Duration::from_mins(1);

/// When each session's letters were told of last, and how many came since.
#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<Arc<str>, Told>);

#[derive(Debug)]
struct Told {
    at: Instant,
    since: u64,
}

impl Pace {
    /// A letter more; answers how many to tell of now, if it is time.
    pub(super) fn count(&mut self, session: &Arc<str>, now: Instant) -> Option<u64> {
        match self.0.get_mut(session) {
            Some(told) if now < told.at + EVERY => {
                told.since += 1;
                None
            }
            other => {
                let count = 1 + other.map_or(0, |told| told.since);
                self.0.insert(Arc::clone(session), Told { at: now, since: 0 });
                Some(count)
            }
        }
    }

    /// Sessions whose time has come, with how many letters weren't told of; those that are quiet are forgotten.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Arc<str>, u64)> {
        let due: Vec<_> = self.0.extract_if(|_, told| now >= told.at + EVERY).collect();
        let due: Vec<_> = due
            .into_iter()
            .filter(|(_, told)| told.since > 0)
            .map(|(name, told)| (name, told.since))
            .collect();
        for (session, _) in &due {
            self.0.insert(Arc::clone(session), Told { at: now, since: 0 });
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_once_a_minute_with_its_count() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(pace.count(&a, begin), Some(1));
        for _ in 0..500 {
            assert_eq!(pace.count(&a, begin + EVERY / 2), None);
        }
        assert_eq!(pace.count(&b, begin + EVERY / 2), Some(1));
        assert_eq!(pace.due(begin + EVERY / 2), []);
        assert_eq!(pace.due(begin + EVERY), [(a.clone(), 500)]);
        assert_eq!(pace.count(&a, begin + EVERY), None);
        assert_eq!(pace.count(&a, begin + EVERY * 2), Some(2), "also when nobody asked what is due");
    }

    #[test]
    fn a_quiet_session_is_forgotten() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        pace.count(&"a".into(), begin);
        assert_eq!((pace.due(begin + EVERY), pace.0.len()), (vec![], 0));
    }
}
