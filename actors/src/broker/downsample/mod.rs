//! Leaves out what adds little: deadband, swinging door, shortest and longest interval, tag by tag.
//!
//! Time is that of the scans, never a clock's: the same scans give the same messages. Where it jumps back,
//! everything is due. What changes quality always passes. A value that is held back goes out as a value of
//! its own scan, with that scan's number and time.

mod door;
mod track;

use std::time::Duration;

use bifrost_model::{Reading, Timestamp};

use self::track::Track;
use super::DownsampleSettings;

/// What is left out, in the units of the scans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rules {
    /// Least move of a number.
    deadband: Option<f64>,
    /// Largest distance from a straight line.
    door: Option<f64>,
    /// In microseconds.
    min: Option<i64>,
    /// In microseconds.
    max: Option<i64>,
}

impl Rules {
    /// `None` when nothing is left out.
    pub(super) fn new(settings: &DownsampleSettings) -> Option<Self> {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        (!settings.is_off()).then_some(Self {
            deadband: settings.deadband,
            door: settings.swinging_door,
            min: settings.min_interval.map(micros),
            max: settings.max_interval.map(micros),
        })
    }
}

/// A reading and the scan it is of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) reading: Reading,
    pub(super) seq: u64,
    pub(super) at: Timestamp,
}

impl Point {
    /// Microseconds since an earlier one.
    fn since(&self, earlier: &Self) -> i64 {
        self.at.as_micros() - earlier.at.as_micros()
    }
}

/// What is remembered of one device's tags.
#[derive(Debug)]
pub(super) struct Thinner {
    rules: Rules,
    /// By index; `None` before the first value.
    tracks: Box<[Option<Track>]>,
    /// Before this nothing that is held back is due, as long as time doesn't jump back.
    next_due: i64,
    last_scan: i64,
    /// Values that were left out for good.
    left_out: u64,
}

impl Thinner {
    pub(super) fn new(rules: Rules, tags: usize) -> Self {
        let tracks = std::iter::repeat_with(|| None).take(tags).collect();
        Self { rules, tracks, next_due: i64::MAX, last_scan: i64::MIN, left_out: 0 }
    }

    /// Whether this goes out now. Goes in with every value that was held back until now and, because of this
    /// one, goes out before it.
    pub(super) fn take(
        &mut self,
        reading: &Reading,
        seq: u64,
        at: Timestamp,
        earlier: &mut Vec<Point>,
    ) -> bool {
        let Some(track) = self.tracks.get_mut(reading.tag as usize) else { return false };
        let point = Point { reading: reading.clone(), seq, at };
        let Some(track) = track else {
            *track = Some(Track::new(point));
            return true;
        };
        let passes = track.take(&self.rules, point, earlier, &mut self.left_out);
        self.next_due = self.next_due.min(track.due(&self.rules));
        passes
    }

    /// After a scan was taken: what was held back and has waited long enough, though its tag wasn't read.
    pub(super) fn sweep(&mut self, now: Timestamp, earlier: &mut Vec<Point>) {
        let now = now.as_micros();
        let back = now < self.last_scan;
        self.last_scan = now;
        if now < self.next_due && !back {
            return;
        }
        self.next_due = i64::MAX;
        for track in self.tracks.iter_mut().flatten() {
            let due = track.due(&self.rules);
            if due <= now || (due < i64::MAX && track.is_ahead_of(now)) {
                earlier.extend(track.let_go());
            } else {
                self.next_due = self.next_due.min(due);
            }
        }
    }

    /// Everything that is held back.
    pub(super) fn let_go(&mut self, earlier: &mut Vec<Point>) {
        earlier.extend(self.tracks.iter_mut().flatten().filter_map(Track::let_go));
    }

    /// How many values were left out for good since this was last asked.
    pub(super) fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests;
