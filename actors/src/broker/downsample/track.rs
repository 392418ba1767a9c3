//! What is remembered of one tag.

use super::{Point, Rules, door::Door};

/// What was sent last, and what is held back.
#[derive(Debug)]
pub(super) struct Track {
    sent: Point,
    held: Option<Point>,
    door: Door,
}

/// What becomes of a value.
enum Verdict {
    /// It goes out, and what was held back is left out.
    Send,
    /// It is held back in place of an earlier one.
    Hold,
    /// It is left out, and so is what was held back: the tag is where it was.
    LeaveOut,
    /// What was held back goes out; then judge again.
    LetGo,
}

impl Track {
    /// The first value goes out.
    pub(super) fn new(sent: Point) -> Self {
        Self { sent, held: None, door: Door::OPEN }
    }

    /// Whether the value goes out now.
    pub(super) fn take(
        &mut self,
        rules: &Rules,
        point: Point,
        earlier: &mut Vec<Point>,
        left_out: &mut u64,
    ) -> bool {
        loop {
            match self.judge(rules, &point) {
                // At most once: afterwards nothing is held back any more.
                Verdict::LetGo => earlier.extend(self.let_go()),
                Verdict::Send => {
                    *left_out += u64::from(self.held.is_some());
                    *self = Self::new(point);
                    return true;
                }
                Verdict::Hold => {
                    *left_out += u64::from(self.held.replace(point).is_some());
                    return false;
                }
                Verdict::LeaveOut => {
                    *left_out += 1 + u64::from(self.held.take().is_some());
                    return false;
                }
            }
        }
    }

    /// What is held back goes out, and things go on from there.
    pub(super) fn let_go(&mut self) -> Option<Point> {
        let point = self.held.take()?;
        *self = Self::new(point.clone());
        Some(point)
    }

    /// When what is held back goes out by itself; never when there is nothing.
    pub(super) fn due(&self, rules: &Rules) -> i64 {
        let Some(held) = &self.held else { return i64::MAX };
        // On a line it waits for the line's end, else for its turn.
        let on_a_line = rules.door.is_some() && numbers(&self.sent, held).is_some();
        let wait = if on_a_line { rules.max } else { rules.min };
        wait.map_or(i64::MAX, |wait| self.sent.at.as_micros().saturating_add(wait))
    }

    /// Whether time has jumped back behind it.
    pub(super) fn is_ahead_of(&self, now: i64) -> bool {
        self.held.as_ref().is_some_and(|held| held.at.as_micros() > now)
    }

    fn judge(&mut self, rules: &Rules, point: &Point) -> Verdict {
        let elapsed = point.since(&self.sent);
        let back = elapsed < 0 || self.held.as_ref().is_some_and(|held| point.since(held) < 0);
        if back || quality(point) != quality(&self.sent) {
            return if self.ends_a_line(rules) { Verdict::LetGo } else { Verdict::Send };
        }
        let early = rules.min.is_some_and(|min| elapsed < min);
        let overdue = !early && rules.max.is_some_and(|max| elapsed >= max);
        if let (Some(width), Some((from, to))) = (rules.door, numbers(&self.sent, point)) {
            return self.swing(width, elapsed, to - from, early, overdue);
        }
        match (overdue || is_news(rules, &self.sent, point), early) {
            (true, true) => Verdict::Hold,
            (true, false) => Verdict::Send,
            (false, _) => Verdict::LeaveOut,
        }
    }

    /// The swinging door. Within the shortest interval the door isn't looked at: nothing may go out.
    #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
    fn swing(&mut self, width: f64, elapsed: i64, rise: f64, early: bool, overdue: bool) -> Verdict {
        if early || elapsed == 0 {
            return Verdict::Hold;
        }
        let run = elapsed as f64;
        let admits = self.door.admits(run, rise);
        if !admits && self.held.is_some() {
            return Verdict::LetGo;
        }
        if overdue || !admits {
            return Verdict::Send;
        }
        self.door.narrow(run, rise, width);
        Verdict::Hold
    }

    /// Whether what is held back is the end of a line that must not be lost: then the door has seen it.
    fn ends_a_line(&self, rules: &Rules) -> bool {
        rules.door.is_some() && self.held.is_some() && self.door != Door::OPEN
    }
}

fn quality(point: &Point) -> impl PartialEq + use<> {
    (point.reading.quality, point.reading.reason)
}

fn numbers(a: &Point, b: &Point) -> Option<(f64, f64)> {
    Some((a.reading.value.as_f64()?, b.reading.value.as_f64()?))
}

/// Whether a value differs enough from the last that was sent, time left aside.
fn is_news(rules: &Rules, sent: &Point, point: &Point) -> bool {
    let changed = || point.reading.value != sent.reading.value;
    match (rules.deadband, numbers(sent, point)) {
        (Some(deadband), Some((from, to))) if deadband > 0.0 => (to - from).abs() >= deadband,
        (Some(_), _) => changed(),
        (None, _) if rules.door.is_some() => changed(),
        (None, _) => true,
    }
}
