//! What a device's actor counts.

use std::time::Duration;

use super::messages::DeviceStats;
use crate::link::Traffic;

/// Counters beside those of the device's requests.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) scans: u64,
    pub(super) scans_failed: u64,
    pub(super) overruns: u64,
    pub(super) tags_read: u64,
    pub(super) tag_failures: u64,
    pub(super) writes_ok: u64,
    pub(super) writes_not_ok: u64,
    pub(super) batches_dropped: u64,
    pub(super) last_delay: Duration,
    pub(super) max_delay: Duration,
}

impl Counters {
    pub(super) fn stats(&self, traffic: &Traffic) -> DeviceStats {
        let answered = traffic.answered.get();
        let total = millis(traffic.response_time.get());
        #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than 52 bits")]
        let average = if answered == 0 { 0.0 } else { total / answered as f64 };
        DeviceStats {
            requests_total: traffic.total.get(),
            requests_successful: answered,
            requests_failed: traffic.failed.get(),
            requests_refused: traffic.refused.get(),
            avg_response_time: average,
            max_response_time: millis(traffic.slowest.get()),
            scans_total: self.scans,
            scans_failed: self.scans_failed,
            overruns: self.overruns,
            tags_read: self.tags_read,
            tag_failures: self.tag_failures,
            writes_ok: self.writes_ok,
            writes_not_ok: self.writes_not_ok,
            batches_dropped: self.batches_dropped,
            last_scan_delay: millis(self.last_delay),
            max_scan_delay: millis(self.max_delay),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
