//! Answers that are due later than now.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use tokio::time::Instant;

/// So many answers wait on one connection; a client that asks for more isn't read until some are sent.
const MOST: usize = 1024;

/// One connection's late answers.
#[derive(Debug, Default)]
pub(crate) struct LateAnswers {
    /// By due time, then by the order of the requests.
    waiting: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    count: u64,
    last_delayed: Option<Instant>,
}

impl LateAnswers {
    /// To be sent `by` after now.
    pub(crate) fn late(&mut self, answer: Vec<u8>, by: Duration, now: Instant) {
        self.push(answer, now.checked_add(by).unwrap_or(now));
    }

    /// To be sent `by` after now, or after what was delayed before it.
    pub(crate) fn delayed(&mut self, answer: Vec<u8>, by: Duration, now: Instant) {
        let begin = self.last_delayed.map_or(now, |last| last.max(now));
        let due = begin.checked_add(by).unwrap_or(begin);
        self.last_delayed = Some(due);
        self.push(answer, due);
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, ..))| *due)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// Appends every answer that is due.
    pub(crate) fn take_due(&mut self, now: Instant, out: &mut Vec<u8>) {
        while self.due().is_some_and(|due| due <= now) {
            if let Some(Reverse((_, _, answer))) = self.waiting.pop() {
                out.extend(answer);
            }
        }
    }

    fn push(&mut self, answer: Vec<u8>, due: Instant) {
        self.count += 1;
        self.waiting.push(Reverse((due, self.count, answer)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_answers_come_in_their_own_time_and_delayed_ones_one_after_the_other() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut late = LateAnswers::default();
        late.late(vec![1], ms(25), now);
        late.delayed(vec![2], ms(10), now);
        late.delayed(vec![3], ms(10), now);
        late.late(vec![4], ms(5), now);
        let mut out = Vec::new();
        for (after, expected) in [(4, &[][..]), (5, &[4]), (10, &[4, 2]), (25, &[4, 2, 3, 1])] {
            late.take_due(now + ms(after), &mut out);
            assert_eq!(out, expected, "after {after} ms");
        }
        assert_eq!(late.due(), None);
    }
}
