//! How long to wait before trying again.

use std::time::Duration;

use rand::RngExt;

/// Exponential delays with full jitter.
///
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog: the delay is drawn evenly between zero
/// and a bound that doubles, so that a thousand children that failed together don't return together.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    /// Bounds grow from `initial` to `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The bound before attempt `failures` (the first is 1).
    pub fn bound(&self, failures: usize) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(30);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// A delay drawn below the bound.
    pub fn delay(&self, failures: usize) -> Duration {
        self.bound(failures).mul_f64(rand::rng().random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_cap() {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let bounds: Vec<_> = (1..=7).map(|n| backoff.bound(n).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.bound(usize::MAX), Duration::from_secs(5));
    }

    #[test]
    fn delays_are_spread_over_the_whole_range_below_the_bound() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let delays: Vec<_> = (0..1000).map(|_| backoff.delay(1)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(1)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(200)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(800)));
    }
}
