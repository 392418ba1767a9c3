//! When groups are read: phases that are spread evenly and never drift.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Hands out phases so that any number of groups is spread evenly over their period.
///
/// Phases follow the golden ratio: each new one falls into the largest gap that the ones before have left,
/// so devices may come and go without anybody being moved.
#[derive(Debug)]
pub struct Phases {
    turn: AtomicU64,
    zero: Instant,
}

impl Default for Phases {
    fn default() -> Self {
        Self { turn: AtomicU64::new(0), zero: Instant::now() }
    }
}

impl Phases {
    /// From when all rhythms' ticks are counted.
    pub fn zero(&self) -> Instant {
        self.zero
    }

    /// The next phase, from 0 (inclusive) to 1 (exclusive).
    pub fn next(&self) -> f64 {
        // 2^64 divided by the golden ratio: multiples of it, cut to 64 bits, are that sequence.
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP);
        f64::from(u32::try_from(turn >> 32).unwrap_or(0)) / 4_294_967_296.0
    }
}

/// The times of one group: `origin + n × period`, whatever happens in between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rhythm {
    origin: Instant,
    period: Duration,
}

impl Rhythm {
    /// A rhythm that starts within its first period after `now`, or within the first second when the period
    /// is longer: nobody wants to wait an hour for the first value. It keeps to ticks counted from `zero`, so
    /// that groups of many devices are due together and the machine is woken once for them, not for each.
    pub fn new(now: Instant, period: Duration, phase: f64, zero: Instant) -> Self {
        let first = period.min(Duration::from_secs(1)).mul_f64(phase);
        Self { origin: at_tick(now, now + first, tick(period), zero), period }
    }

    /// The first time.
    pub fn first(&self) -> Instant {
        self.origin
    }

    /// The time after `now`, and how many were passed over since `last`.
    pub fn after(&self, last: Instant, now: Instant) -> (Instant, u64) {
        let next = self.next_after(now.max(last));
        let steps = steps(next.duration_since(last), self.period);
        (next, steps.saturating_sub(1))
    }

    fn next_after(&self, now: Instant) -> Instant {
        let Some(since) = now.checked_duration_since(self.origin) else { return self.origin };
        let done = steps(since, self.period);
        self.origin + times(self.period, done + 1)
    }
}

/// How often groups of this period become due, all devices together: 20 times in a period, but at least
/// every 50 ms.
fn tick(period: Duration) -> Duration {
    (period / 20).clamp(Duration::from_millis(1), Duration::from_millis(50))
}

/// The last tick up to `at`, or the first after `now`, if that is later.
fn at_tick(now: Instant, at: Instant, tick: Duration, zero: Instant) -> Instant {
    let before = zero + times(tick, steps(at.saturating_duration_since(zero), tick));
    if before < now { before + tick } else { before }
}

fn steps(span: Duration, period: Duration) -> u64 {
    u64::try_from(span.as_nanos() / period.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn times(period: Duration, count: u64) -> Duration {
    let nanos = period.as_nanos().saturating_mul(u128::from(count));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How long a device that doesn't answer is left alone, so that it takes no time from its neighbours on the
/// same connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pause {
    first: Duration,
    max: Duration,
    silences: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Pauses grow from `first`, doubling, to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first: first.min(max), max, silences: 0, until: None }
    }

    /// It answered.
    pub fn reset(&mut self) {
        self.silences = 0;
        self.until = None;
    }

    /// It was silent. The first silence has no consequence: a frame may get lost.
    pub fn silence(&mut self, now: Instant) {
        if self.silences > 0 {
            let factor = 1_u32 << (self.silences - 1).min(16);
            self.until = Some(now + self.first.saturating_mul(factor).min(self.max));
        }
        self.silences = self.silences.saturating_add(1);
    }

    /// Whether it is left alone now.
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn any_number_of_phases_is_spread_evenly() {
        for count in [10_u32, 100, 1000] {
            let phases = Phases::default();
            let mut taken: Vec<_> = (0..count).map(|_| phases.next()).collect();
            taken.sort_by(f64::total_cmp);
            let widest = taken.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(widest < 2.7 / f64::from(count), "{count}: {widest}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn times_do_not_drift_however_late_each_scan_ends() {
        let start = Instant::now();
        let rhythm = Rhythm::new(start, ms(100), 0.25, start);
        let mut due = rhythm.first();
        for n in 0..1000 {
            assert_eq!(due, start + ms(25) + ms(100) * n);
            let (next, missed) = rhythm.after(due, due + ms(u64::from(n) % 99));
            assert_eq!(missed, 0);
            due = next;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_groups_are_due_together_in_few_ticks_and_none_late() {
        let zero = Instant::now();
        let phases = Phases::default();
        let mut times = std::collections::BTreeMap::new();
        for device in 0..1000 {
            // Devices don't come at the same moment.
            let now = zero + Duration::from_micros(device * 700);
            let first = Rhythm::new(now, ms(1000), phases.next(), zero).first();
            assert!(first >= now && first <= now + ms(1000), "{first:?}");
            *times.entry((first - zero).as_nanos() % ms(1000).as_nanos()).or_insert(0) += 1;
        }
        assert_eq!(times.len(), 20, "ticks of 50 ms");
        assert!(times.values().all(|count| (40..=60).contains(count)), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_missed_is_counted_and_not_made_up_for() {
        let start = Instant::now();
        let rhythm = Rhythm::new(start, ms(100), 0.0, start);
        let (next, missed) = rhythm.after(start, start + ms(350));
        assert_eq!((next, missed), (start + ms(400), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_value_of_a_slow_group_comes_within_a_second() {
        let now = Instant::now();
        let rhythm = Rhythm::new(now, Duration::from_hours(1), 0.9, now);
        assert!(rhythm.first() <= now + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_device_is_left_alone_longer_and_longer_up_to_the_cap() {
        let now = Instant::now();
        let mut pause = Pause::new(ms(1000), ms(5000));
        pause.silence(now);
        assert!(!pause.holds(now), "one lost frame has no consequence");
        for expected in [1000, 2000, 4000, 5000, 5000] {
            pause.silence(now);
            assert!(pause.holds(now + ms(expected - 1)));
            assert!(!pause.holds(now + ms(expected)));
        }
        pause.reset();
        assert!(!pause.holds(now));
    }
}
