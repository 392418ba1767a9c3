//! Whether messages flow, and how fast those from disk may: two small clocks.

use std::time::Duration;

use tokio::time::Instant;

/// Tells when acknowledgements stall.
#[derive(Debug)]
pub(super) struct Flow {
    limit: Duration,
    /// Nothing has gone out, or nothing has come back, since then; `None` while all goes well.
    waiting_since: Option<Instant>,
}

impl Flow {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, waiting_since: None }
    }

    /// Something was settled.
    pub(super) fn progress(&mut self) {
        self.waiting_since = None;
    }

    /// Something waits, since now if nothing did before; or nothing does.
    pub(super) fn look(&mut self, waits: bool, now: Instant) {
        match (waits, self.waiting_since) {
            (true, None) => self.waiting_since = Some(now),
            (false, Some(_)) => self.waiting_since = None,
            _ => {}
        }
    }

    /// Whether something waits for longer than it should.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.waiting_since.is_some_and(|since| now.duration_since(since) >= self.limit)
    }
}

/// Values that may be sent from disk: a bucket that fills evenly and holds what a tenth of a second brings.
#[derive(Debug)]
pub(super) struct Budget {
    rate: u64,
    left: i64,
    at: Instant,
}

impl Budget {
    /// So many values per second.
    pub(super) fn new(rate: usize, now: Instant) -> Self {
        Self { rate: rate as u64, left: 0, at: now }
    }

    /// What may be sent now; may be overdrawn by one message.
    pub(super) fn fill(&mut self, now: Instant) -> &mut i64 {
        let passed = now.duration_since(self.at).min(Duration::from_secs(1));
        let gained =
            u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).saturating_mul(self.rate) / 1_000_000;
        // Too short for a whole value: it goes on counting from where it was.
        if gained > 0 {
            self.at = now;
            let most = i64::try_from((self.rate / 10).max(1)).unwrap_or(i64::MAX);
            self.left = self.left.saturating_add_unsigned(gained).min(most);
        }
        &mut self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_waits_too_long_is_a_stall_and_any_progress_ends_it() {
        let mut flow = Flow::new(Duration::from_secs(2));
        let begin = Instant::now();
        flow.look(true, begin);
        flow.look(true, begin + Duration::from_secs(1));
        assert!(!flow.is_stalled(begin + Duration::from_millis(1999)));
        assert!(flow.is_stalled(begin + Duration::from_secs(2)));
        flow.progress();
        assert!(!flow.is_stalled(begin + Duration::from_secs(9)));
        flow.look(true, begin + Duration::from_secs(9));
        flow.look(false, begin + Duration::from_secs(10));
        assert!(!flow.is_stalled(begin + Duration::from_mins(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_to_however_often_it_is_asked_about() {
        for step in [1, 7, 100, 950] {
            let begin = Instant::now();
            let mut budget = Budget::new(10_000, begin);
            let mut sent = 0;
            for n in 1..=(10_000 / step) {
                let left = budget.fill(begin + Duration::from_millis(step * n));
                while *left > 0 {
                    *left -= 300;
                    sent += 300;
                }
            }
            let most = if step == 950 { 13_000 } else { 100_600 };
            assert!((if step == 950 { 9_000 } else { 99_000 }..=most).contains(&sent), "{step}: {sent}");
        }
    }
}
