//! Sees when the wall clock jumps: the times of records mean less around then.

use std::time::{Duration, Instant};

use bifrost_model::Timestamp;

/// A difference that drift doesn't make between two looks.
const JUMP: i64 = 2_000_000;

/// The wall clock beside one that nobody can set. Both are the machine's own, in tests too: it is the machine
/// that is looked at.
#[derive(Debug)]
pub(super) struct Clock {
    wall: Timestamp,
    steady: Instant,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self { wall: Timestamp::now(), steady: Instant::now() }
    }

    /// By how much the wall clock was set since the last look; negative: back.
    pub(super) fn look(&mut self) -> Option<i64> {
        self.compare(Self::now())
    }

    fn compare(&mut self, now: Self) -> Option<i64> {
        let passed = i64::try_from(now.steady.duration_since(self.steady).as_micros()).unwrap_or(i64::MAX);
        let jump = now.wall.as_micros() - self.wall.as_micros() - passed;
        *self = now;
        (jump.abs() > JUMP).then_some(jump)
    }
}

/// As people read it.
pub(super) fn describe(micros: i64) -> String {
    let by = Duration::from_micros(micros.unsigned_abs());
    format!("{} by {:.1} s", if micros < 0 { "back" } else { "forward" }, by.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_seen_and_one_that_drifts_is_not() {
        let mut clock = Clock::now();
        let mut at = |seconds: u64, wall: i64| {
            let steady = clock.steady + Duration::from_secs(seconds);
            let wall = Timestamp::from_micros(clock.wall.as_micros() + wall);
            clock.compare(Clock { wall, steady })
        };
        assert_eq!(at(10, 10_500_000), None);
        assert_eq!(at(10, 3_610_000_000), Some(3_600_000_000));
        assert_eq!(at(10, -3_590_000_000), Some(-3_600_000_000));
        assert_eq!(describe(-3_600_000_000), "back by 3600.0 s");
    }
}
