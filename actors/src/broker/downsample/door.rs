//! The opening of a swinging door: the slopes that a line from the last point sent may have.
//!
//! The textbook's door (Bristol, US 4,669,097) lets a line pass that is off by twice its width; this one
//! closes as soon as the line to the newest point would be off by more than the width at any point between.

/// The slopes that stay within the width of every point since the last that was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Door {
    lowest: f64,
    highest: f64,
}

impl Door {
    /// Before the first point.
    pub(super) const OPEN: Self = Self { lowest: f64::NEG_INFINITY, highest: f64::INFINITY };

    /// Whether a line to a point so far away comes close enough to all between.
    pub(super) fn admits(&self, run: f64, rise: f64) -> bool {
        // What is no number doesn't lie between: then it doesn't.
        (self.lowest..=self.highest).contains(&(rise / run))
    }

    /// The point is one of those between from now on.
    pub(super) fn narrow(&mut self, run: f64, rise: f64, width: f64) {
        self.lowest = self.lowest.max((rise - width) / run);
        self.highest = self.highest.min((rise + width) / run);
    }
}
