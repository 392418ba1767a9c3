//! How old messages are, though the clock that dates them may jump.
//!
//! A message is never taken for older than it is: its time was told by one of the settings that the clock had
//! within `max_age`, and the one furthest behind counts. After a jump some are kept longer, by as much as that.
//! What an earlier process dated is taken at its word.

use std::{collections::VecDeque, time::Duration};

use bifrost_model::Timestamp;
use tokio::time::Instant;

/// Smaller differences are a clock being trimmed, not set.
const TRIMMED: i64 = 1_000_000;
/// Settings that are told apart; of more, the oldest two become one.
const MOST: usize = 64;

/// What the clock has shown lately.
#[derive(Debug)]
pub(super) struct Age {
    max: Duration,
    begin: Instant,
    settings: VecDeque<Setting>,
}

/// A time for which the clock was left alone.
#[derive(Debug)]
struct Setting {
    /// What it would have shown at the beginning, in microseconds.
    at_begin: i64,
    /// When it was seen last.
    seen: Instant,
}

impl Age {
    /// Nothing is to be older than this.
    pub(super) fn new(max: Duration, now: Instant) -> Self {
        Self { max, begin: now, settings: VecDeque::new() }
    }

    /// Regularly: takes note of what the clock shows.
    pub(super) fn look(&mut self, clock: Timestamp, now: Instant) {
        let at_begin = clock.as_micros().saturating_sub(micros(now.duration_since(self.begin)));
        match self.settings.back_mut() {
            Some(last) if last.at_begin.abs_diff(at_begin) < TRIMMED.unsigned_abs() => {
                *last = Setting { at_begin: last.at_begin.min(at_begin), seen: now };
            }
            _ => self.settings.push_back(Setting { at_begin, seen: now }),
        }
        while self.settings.front().is_some_and(|oldest| now.duration_since(oldest.seen) > self.max) {
            self.settings.pop_front();
        }
        if self.settings.len() > MOST
            && let Some(oldest) = self.settings.pop_front()
            && let Some(next) = self.settings.front_mut()
        {
            next.at_begin = next.at_begin.min(oldest.at_begin);
        }
    }

    /// What is dated before this is too old, by every setting; nothing is while no clock was seen.
    pub(super) fn limit(&self, now: Instant) -> Timestamp {
        let furthest_behind = self.settings.iter().map(|setting| setting.at_begin).min();
        let elapsed = micros(now.duration_since(self.begin)).saturating_sub(micros(self.max));
        Timestamp::from_micros(furthest_behind.map_or(i64::MIN, |begin| begin.saturating_add(elapsed)))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    fn minutes(count: u64) -> Duration {
        Duration::from_mins(count)
    }

    /// Looks at a clock that is so far off, at these minutes, and answers the limit then.
    fn limits(age: &mut Age, begin: Instant, course: &[(u64, i64)]) -> Vec<i64> {
        let shown = |minute: u64, off: i64| Timestamp::from_micros(minute.cast_signed() * 60_000_000 + off);
        let limits = course.iter().map(|(minute, off)| {
            let now = begin + minutes(*minute);
            age.look(shown(*minute, *off), now);
            age.limit(now).as_micros() / 60_000_000
        });
        limits.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_left_alone_or_trimmed_counts_as_it_is() {
        let begin = Instant::now();
        let mut age = Age::new(minutes(30), begin);
        assert_eq!(age.limit(begin), Timestamp::from_micros(i64::MIN));
        assert_eq!(limits(&mut age, begin, &[(0, 0), (40, 500_000), (100, 0)]), [-30, 10, 70]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_too_old_because_the_clock_was_set() {
        let begin = Instant::now();
        let mut age = Age::new(minutes(30), begin);
        let there_and_back = [(0, 0), (1, HOUR), (2, 0), (3, -HOUR), (4, 0)];
        assert_eq!(limits(&mut age, begin, &there_and_back), [-30, -29, -28, -87, -86]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_setting_is_forgotten_when_what_it_dated_is_too_old() {
        let begin = Instant::now();
        let mut age = Age::new(minutes(30), begin);
        // As on a machine without a battery that learns the time when it has a network.
        assert_eq!(limits(&mut age, begin, &[(0, 0), (1, 500 * HOUR)]), [-30, -29]);
        assert_eq!(limits(&mut age, begin, &[(40, 500 * HOUR)]), [10 + 500 * 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_all_the_time_costs_no_more_memory() {
        let begin = Instant::now();
        let mut age = Age::new(minutes(1_000_000), begin);
        let course: Vec<_> =
            (0..1000_u64).map(|minute| (minute, -HOUR * (minute.cast_signed() % 7))).collect();
        limits(&mut age, begin, &course);
        assert!(age.settings.len() <= MOST);
        assert_eq!(age.settings.iter().map(|setting| setting.at_begin).min(), Some(-6 * HOUR));
    }
}
