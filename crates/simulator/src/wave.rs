//! How a value moves: pure functions of the time since the PLC's start, so that nothing runs while nobody
//! reads. Where the value is stored is `signal`'s affair.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SimulatorError;

/// The course of a number, or of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wave {
    /// Always the same.
    Constant {
        /// That value.
        value: f64,
    },
    /// From `min` to `max` in a straight line, then at once back to `min`.
    Ramp {
        /// Where it begins.
        min: f64,
        /// Where it ends.
        max: f64,
        /// How long one rise takes.
        #[serde(with = "humantime_serde")]
        period: Duration,
    },
    /// Up and down around `mean`.
    Sine {
        /// The middle.
        mean: f64,
        /// How far it goes to each side.
        amplitude: f64,
        /// How long one turn takes.
        #[serde(with = "humantime_serde")]
        period: Duration,
    },
    /// A new random value, close to normally distributed and never beyond 3.5 deviations, each 100 ms.
    Noise {
        /// The middle.
        mean: f64,
        /// The standard deviation.
        deviation: f64,
    },
    /// Adds `step` at each end of a period; integers wrap around at the end of their type.
    Counter {
        /// What is added.
        step: f64,
        /// How often.
        #[serde(with = "humantime_serde")]
        period: Duration,
        /// Where it starts.
        #[serde(default)]
        start: f64,
        /// Counts for so long, then stands still for `pause`; without it, it never stands still.
        #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
        run: Option<Duration>,
        /// How long it stands still after each `run`.
        #[serde(default, with = "humantime_serde")]
        pause: Duration,
    },
    /// One value after the other, each for `period`, then again from the first.
    Step {
        /// The values.
        values: Vec<f64>,
        /// How long each is held.
        #[serde(with = "humantime_serde")]
        period: Duration,
    },
    /// One text after the other, each for `period`, then again from the first; for `string(N)` only.
    Text {
        /// The texts; what doesn't fit is cut off.
        values: Vec<String>,
        /// How long each is held.
        #[serde(with = "humantime_serde")]
        period: Duration,
    },
}

impl Wave {
    /// The number at this time; of a text, 0. `seed` keeps the noise of two signals apart.
    pub fn at(&self, at: Duration, seed: u64) -> f64 {
        match self {
            Self::Constant { value } => *value,
            Self::Ramp { min, max, period } => min + (max - min) * fraction(at, *period),
            Self::Sine { mean, amplitude, period } => {
                mean + amplitude * (fraction(at, *period) * std::f64::consts::TAU).sin()
            }
            Self::Noise { mean, deviation } => mean + deviation * noise(at, seed),
            Self::Counter { step, period, start, run, pause } => {
                start + step * (running(at, *run, *pause).as_secs_f64() / period.as_secs_f64()).floor()
            }
            Self::Step { values, period } => nth(values, at, *period).copied().unwrap_or_default(),
            Self::Text { .. } => 0.0,
        }
    }

    /// The text at this time, if this is one of texts.
    pub fn text_at(&self, at: Duration) -> Option<&str> {
        match self {
            Self::Text { values, period } => nth(values, at, *period).map(String::as_str),
            _ => None,
        }
    }

    /// Whether integers wrap around instead of stopping at the end of their type.
    pub fn wraps(&self) -> bool {
        matches!(self, Self::Counter { .. })
    }

    /// After which time it is the same again; nothing if it never is.
    pub fn period(&self) -> Option<Duration> {
        match self {
            Self::Constant { .. } | Self::Noise { .. } | Self::Counter { .. } => None,
            Self::Ramp { period, .. } | Self::Sine { period, .. } => Some(*period),
            Self::Step { values, period } => Some(times(*period, values.len())),
            Self::Text { values, period } => Some(times(*period, values.len())),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), SimulatorError> {
        let (period, empty) = match self {
            Self::Constant { .. } | Self::Noise { .. } => return self.check_numbers(),
            Self::Ramp { period, .. } | Self::Sine { period, .. } | Self::Counter { period, .. } => {
                (period, false)
            }
            Self::Step { values, period } => (period, values.is_empty()),
            Self::Text { values, period } => (period, values.is_empty()),
        };
        if period.is_zero() {
            return Err(SimulatorError::setting("wave.period", "must be longer than nothing"));
        }
        if empty {
            return Err(SimulatorError::setting("wave.values", "must hold at least one value"));
        }
        if matches!(self, Self::Counter { run: Some(run), .. } if run.is_zero()) {
            return Err(SimulatorError::setting("wave.run", "must be longer than nothing"));
        }
        self.check_numbers()
    }

    fn check_numbers(&self) -> Result<(), SimulatorError> {
        let finite = match self {
            Self::Constant { value } => value.is_finite(),
            Self::Ramp { min: a, max: b, .. }
            | Self::Sine { mean: a, amplitude: b, .. }
            | Self::Noise { mean: a, deviation: b }
            | Self::Counter { step: a, start: b, .. } => a.is_finite() && b.is_finite(),
            Self::Step { values, .. } => values.iter().all(|value| value.is_finite()),
            Self::Text { .. } => true,
        };
        if finite { Ok(()) } else { Err(SimulatorError::setting("wave", "must have finite numbers only")) }
    }
}

/// A standard deviation of one around zero, the same for the same seed and tenth of a second.
pub(crate) fn noise(at: Duration, seed: u64) -> f64 {
    let slot = u64::try_from(at.as_millis() / 100).unwrap_or(u64::MAX);
    let bits = scramble(seed ^ scramble(slot));
    // The sum of four even distributions is near enough to a normal one; its variance is 4/12.
    let sum: f64 = bits.to_be_bytes().chunks(2).map(|b| f64::from(u16::from_be_bytes([b[0], b[1]]))).sum();
    (sum / 65536.0 - 2.0) * 3.0_f64.sqrt()
}

/// The finaliser of `SplitMix64`: every bit of the input moves every bit of the output.
pub(crate) fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// How far into its period a moment is, from 0 up to, never quite, 1.
fn fraction(at: Duration, period: Duration) -> f64 {
    let period = period.as_secs_f64();
    let turns = at.as_secs_f64() / period;
    if turns.is_finite() { turns.fract() } else { 0.0 }
}

fn running(at: Duration, run: Option<Duration>, pause: Duration) -> Duration {
    let Some(run) = run.filter(|run| !run.is_zero()) else { return at };
    let cycle = run.saturating_add(pause);
    let full = at.as_nanos() / cycle.as_nanos();
    let rest = at.as_nanos() % cycle.as_nanos();
    let nanos = full * run.as_nanos() + rest.min(run.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn nth<T>(values: &[T], at: Duration, period: Duration) -> Option<&T> {
    let turn = at.as_nanos().checked_div(period.as_nanos())?;
    let index = turn.checked_rem(values.len() as u128)?;
    values.get(usize::try_from(index).ok()?)
}

fn times(period: Duration, count: usize) -> Duration {
    period.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-9, "{left} {right}");
    }

    #[test]
    fn a_ramp_rises_and_falls_back() {
        let ramp = Wave::Ramp { min: 10.0, max: 20.0, period: SECOND * 10 };
        for (seconds, value) in [(0, 10.0), (5, 15.0), (9, 19.0), (10, 10.0), (25, 15.0)] {
            close(ramp.at(SECOND * seconds, 0), value);
        }
    }

    #[test]
    fn a_sine_turns_around_its_mean() {
        let sine = Wave::Sine { mean: 50.0, amplitude: 10.0, period: SECOND * 4 };
        for (seconds, value) in [(0, 50.0), (1, 60.0), (2, 50.0), (3, 40.0)] {
            close(sine.at(SECOND * seconds, 0), value);
        }
    }

    #[test]
    fn noise_has_its_mean_and_deviation_and_repeats_for_the_same_seed() {
        let wave = Wave::Noise { mean: 5.0, deviation: 2.0 };
        let values: Vec<f64> =
            (0..20_000).map(|slot| wave.at(Duration::from_millis(slot * 100), 7)).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 5.0).abs() < 0.1, "{mean}");
        assert!((variance.sqrt() - 2.0).abs() < 0.1, "{variance}");
        close(wave.at(SECOND, 7), wave.at(SECOND, 7));
        assert!((wave.at(SECOND, 7) - wave.at(SECOND, 8)).abs() > 1e-9);
    }

    #[test]
    fn a_counter_stands_still_in_its_pauses() {
        let counter = Wave::Counter {
            step: 2.0,
            period: SECOND,
            start: 100.0,
            run: Some(SECOND * 10),
            pause: SECOND * 5,
        };
        for (seconds, value) in [(0, 100.0), (3, 106.0), (10, 120.0), (14, 120.0), (16, 122.0), (30, 140.0)] {
            close(counter.at(SECOND * seconds, 0), value);
        }
    }

    #[test]
    fn steps_and_texts_follow_each_other_and_begin_again() {
        let step = Wave::Step { values: vec![1.0, 5.0], period: SECOND };
        for (seconds, value) in [(0, 1.0), (1, 5.0), (2, 1.0)] {
            close(step.at(SECOND * seconds, 0), value);
        }
        let text = Wave::Text { values: vec!["A".into(), "B".into()], period: SECOND };
        assert_eq!(text.text_at(SECOND * 3), Some("B"));
        assert_eq!(step.text_at(SECOND), None);
    }

    #[test]
    fn waves_that_never_move_on_or_hold_nothing_are_refused() {
        for wave in [
            Wave::Ramp { min: 0.0, max: 1.0, period: Duration::ZERO },
            Wave::Step { values: vec![], period: SECOND },
            Wave::Text { values: vec![], period: SECOND },
            Wave::Constant { value: f64::NAN },
            Wave::Noise { mean: 0.0, deviation: f64::INFINITY },
        ] {
            assert!(wave.validate().is_err(), "{wave:?}");
        }
    }
}
