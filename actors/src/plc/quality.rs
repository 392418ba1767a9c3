//! What a reading is worth, and when it is worth telling.
//!
//! | what happened to the tag's scan | quality | value |
//! |---|---|---|
//! | read, and the value makes sense | GOOD | as read |
//! | read, text with bytes that are no UTF-8 | UNCERTAIN | what could be read |
//! | read, not a finite number | BAD | null |
//! | the device refused this address | BAD | null |
//! | cut off (no connection, silence, garbage); last good value younger than `stale_after` | UNCERTAIN | last good |
//! | the same, younger than `bad_after` | STALE | last good |
//! | the same, older, or never read | BAD | null |
//! | no longer polled, because the actor was stopped | STALE | last good |
//!
//! A good value is published every scan or, with a deadband, when it has moved by at least that much since
//! it was last published. Everything else is published when quality or reason change.

use bifrost_model::{Quality, Reading, Reason, Value};
use tokio::time::Instant;

use super::compile::TagRules;

/// What is remembered of a tag between scans.
#[derive(Debug, Clone)]
pub struct TagState {
    /// Last good value.
    value: Value,
    /// When it was read.
    at: Option<Instant>,
    /// What was last told.
    told: (Quality, Reason),
    /// The number that was last told, for the deadband; NaN when there is none.
    told_number: f64,
}

impl Default for TagState {
    fn default() -> Self {
        Self { value: Value::Null, at: None, told: (Quality::Bad, Reason::NotYetRead), told_number: f64::NAN }
    }
}

impl TagState {
    /// Takes what the driver read; answers what to publish, if anything.
    pub fn read(&mut self, reading: Reading, rules: &TagRules, now: Instant) -> Option<Reading> {
        if let (Quality::Bad, Reason::Timeout | Reason::Disconnected | Reason::Garbled) =
            (reading.quality, reading.reason)
        {
            return self.missed(reading.tag, reading.reason, rules, now);
        }
        let quality = (reading.quality, reading.reason);
        if reading.quality == Quality::Bad {
            return self.tell(reading, quality);
        }
        self.at = Some(now);
        let moved = self.has_moved(&reading.value, rules.deadband);
        self.value = reading.value.clone();
        if !moved && quality == self.told {
            return None;
        }
        self.told = quality;
        self.told_number = reading.value.as_f64().unwrap_or(f64::NAN);
        Some(reading)
    }

    /// The tag's scan was cut off; answers what to publish, if anything.
    pub fn missed(&mut self, tag: u32, reason: Reason, rules: &TagRules, now: Instant) -> Option<Reading> {
        let quality = match self.at.map(|at| now.duration_since(at)) {
            Some(age) if age < rules.stale_after => Quality::Uncertain,
            Some(age) if age < rules.bad_after => Quality::Stale,
            _ => Quality::Bad,
        };
        let value = if quality == Quality::Bad { Value::Null } else { self.value.clone() };
        self.tell(Reading { tag, quality, reason, value }, (quality, reason))
    }

    /// Its device is no longer polled: nothing confirms the last good value any more. What is BAD stays so.
    pub fn stopped(&mut self, tag: u32) -> Option<Reading> {
        if self.told.0 == Quality::Bad {
            return None;
        }
        let quality = (Quality::Stale, Reason::Stopped);
        self.tell(Reading { tag, quality: quality.0, reason: quality.1, value: self.value.clone() }, quality)
    }

    /// What was told last didn't arrive: whatever comes next is news.
    pub fn not_told(&mut self) {
        self.told = (Quality::Bad, Reason::NotYetRead);
        self.told_number = f64::NAN;
    }

    fn tell(&mut self, reading: Reading, quality: (Quality, Reason)) -> Option<Reading> {
        let news = self.told != quality;
        self.told = quality;
        news.then_some(reading)
    }

    fn has_moved(&self, value: &Value, deadband: Option<f64>) -> bool {
        match (deadband, value.as_f64()) {
            (Some(_), Some(_)) if self.told_number.is_nan() => true,
            (Some(deadband), Some(number)) if deadband > 0.0 => (number - self.told_number).abs() >= deadband,
            (Some(_), Some(number)) => number.total_cmp(&self.told_number).is_ne(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules(deadband: Option<f64>) -> TagRules {
        let (stale_after, bad_after) = (Duration::from_secs(3), Duration::from_secs(30));
        TagRules { deadband, stale_after, bad_after, min: None, max: None, secret: false }
    }

    fn good(value: f64) -> Reading {
        Reading { tag: 0, quality: Quality::Good, reason: Reason::None, value: Value::Float64(value) }
    }

    fn value(reading: Option<Reading>) -> Option<f64> {
        reading.and_then(|reading| reading.value.as_f64())
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadband_every_scan_is_told() {
        let mut tag = TagState::default();
        for _ in 0..3 {
            assert_eq!(value(tag.read(good(1.0), &rules(None), Instant::now())), Some(1.0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadband_is_measured_from_what_was_last_told_so_that_slow_drift_gets_through() {
        let (mut tag, rules) = (TagState::default(), rules(Some(0.5)));
        let values = [10.0, 10.25, 10.375, 10.5, 10.75, 9.75];
        let told: Vec<_> = values
            .iter()
            .filter_map(|number| value(tag.read(good(*number), &rules, Instant::now())))
            .collect();
        assert_eq!(told, [10.0, 10.5, 9.75]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadband_of_zero_tells_every_change() {
        let (mut tag, rules) = (TagState::default(), rules(Some(0.0)));
        let told: Vec<_> = [1.0, 1.0, 2.0, 2.0]
            .iter()
            .filter_map(|number| value(tag.read(good(*number), &rules, Instant::now())))
            .collect();
        assert_eq!(told, [1.0, 2.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn quality_goes_from_good_to_uncertain_to_stale_to_bad_and_each_step_is_told_once() {
        let (mut tag, rules) = (TagState::default(), rules(None));
        tag.read(good(7.0), &rules, Instant::now());
        let mut told = Vec::new();
        for _ in 0..40 {
            tokio::time::advance(Duration::from_secs(1)).await;
            told.extend(tag.missed(0, Reason::Timeout, &rules, Instant::now()));
        }
        let told: Vec<_> = told.into_iter().map(|r| (r.quality, r.value.as_f64())).collect();
        assert_eq!(
            told,
            [(Quality::Uncertain, Some(7.0)), (Quality::Stale, Some(7.0)), (Quality::Bad, None)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_returns_unchanged_is_told_because_its_quality_changed() {
        let (mut tag, rules) = (TagState::default(), rules(Some(5.0)));
        tag.read(good(7.0), &rules, Instant::now());
        tag.missed(0, Reason::Disconnected, &rules, Instant::now());
        assert_eq!(value(tag.read(good(7.0), &rules, Instant::now())), Some(7.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_tag_is_bad_without_a_value_and_told_once() {
        let (mut tag, rules) = (TagState::default(), rules(None));
        let refused =
            Reading { tag: 0, quality: Quality::Bad, reason: Reason::Refused(2), value: Value::Null };
        assert_eq!(tag.read(refused.clone(), &rules, Instant::now()), Some(refused.clone()));
        assert_eq!(tag.read(refused, &rules, Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_longer_polled_is_stale_and_told_once() {
        let mut tag = TagState::default();
        assert_eq!(tag.stopped(0), None, "what was never read is BAD already");
        tag.read(good(7.0), &rules(None), Instant::now());
        let told = tag.stopped(0).unwrap();
        assert_eq!((told.quality, told.value), (Quality::Stale, Value::Float64(7.0)));
        assert_eq!(tag.stopped(0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tag_that_was_never_read_is_bad_at_once() {
        let mut tag = TagState::default();
        let told = tag.missed(0, Reason::Disconnected, &rules(None), Instant::now()).unwrap();
        assert_eq!((told.quality, told.value), (Quality::Bad, Value::Null));
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_not_arrive_is_told_again() {
        let (mut tag, rules) = (TagState::default(), rules(Some(5.0)));
        assert_eq!(value(tag.read(good(7.0), &rules, Instant::now())), Some(7.0));
        tag.not_told();
        assert_eq!(value(tag.read(good(7.0), &rules, Instant::now())), Some(7.0));
    }
}
