//! Subjects that the server doesn't permit publishing to. Pure.
//!
//! Each is tried again after a while: who mends the permissions at the server needn't end the connection.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// Most subjects that are remembered; of others each message is tried.
const MAX: usize = 4096;
/// After so long a subject is tried again.
const AGAIN: Duration = Duration::from_mins(1);

/// What was denied, and when last.
#[derive(Debug, Default)]
pub(super) struct Denials(HashMap<String, Instant>);

impl Denials {
    /// The server has denied a subject; answers whether that is news.
    pub(super) fn add(&mut self, subject: &str, now: Instant) -> bool {
        if let Some(at) = self.0.get_mut(subject) {
            *at = now;
            return false;
        }
        if self.0.len() >= MAX {
            self.0.retain(|_, at| is_recent(*at, now));
        }
        self.0.len() < MAX && self.0.insert(subject.to_owned(), now).is_none()
    }

    /// Whether trying this subject is no use yet.
    pub(super) fn holds(&self, subject: &str, now: Instant) -> bool {
        !self.0.is_empty() && self.0.get(subject).is_some_and(|at| is_recent(*at, now))
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < AGAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_subject_is_tried_again_after_a_minute_and_told_once() {
        let (mut denials, begin) = (Denials::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!(!denials.holds("a", begin));
        assert!(denials.add("a", begin));
        assert!(denials.holds("a", after(59)) && !denials.holds("b", after(59)));
        assert!(!denials.holds("a", after(60)));
        assert!(!denials.add("a", after(61)), "still denied, which is no news");
        assert!(denials.holds("a", after(120)) && !denials.holds("a", after(121)));
    }

    #[test]
    fn of_too_many_only_old_ones_make_room() {
        let (mut denials, begin) = (Denials::default(), Instant::now());
        for n in 0..MAX {
            assert!(denials.add(&n.to_string(), begin));
        }
        assert!(!denials.add("x", begin) && !denials.holds("x", begin));
        let later = begin + AGAIN;
        assert!(denials.add("x", later) && denials.holds("x", later));
    }
}
