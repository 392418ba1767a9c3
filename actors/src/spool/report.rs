//! What a spool tells of itself.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::{
    actor::Spool,
    messages::{Depth, DroppedReport, PendingRange, ReplayReport, SpoolReport, SpoolState},
    store::{Pending, StoreError},
};

impl Spool {
    fn state(&self) -> SpoolState {
        let stalled = self.flow.is_stalled(Instant::now());
        match (&self.carrier, self.disk.is_behind() || self.outbox.replay_len() > 0) {
            (None, true) => SpoolState::Spooling,
            (None, false) => SpoolState::Waiting,
            (Some(_), _) if stalled => SpoolState::Spooling,
            (Some(_), true) => SpoolState::Replaying,
            (Some(_), false) => SpoolState::Live,
        }
    }

    /// Everything but what only the disk knows, which is given.
    pub(super) fn report(&self, pending: Result<Pending, StoreError>) -> SpoolReport {
        let stats = &self.disk.stats;
        let doing = self.state();
        let unknown = pending.is_err();
        let pending = pending.unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let per_value =
            (stats.written_values > 0).then(|| stats.written_bytes as f64 / stats.written_values as f64);
        SpoolReport {
            session: Arc::clone(&self.parts.session),
            state: doing,
            connected: self.carrier.is_some(),
            depth: Depth {
                memory_messages: self.outbox.live_len() + self.disk.waiting_len(),
                memory_bytes: self.outbox.live_bytes() + self.disk.waiting_bytes(),
                disk_messages: stats.messages,
                disk_values: stats.values,
                disk_bytes: stats.bytes,
            },
            in_flight: self.outbox.out_len(),
            oldest: stats.oldest,
            dropped: DroppedReport {
                messages: self.losses.messages,
                values: self.losses.values,
                last: self.losses.last.clone(),
            },
            written_bytes_per_value: per_value,
            pending: self.join(pending.ranges),
            pending_truncated: pending.truncated || unknown,
            replay: ReplayReport {
                active: doing == SpoolState::Replaying,
                values_per_second: self.parts.settings.replay_rate,
            },
            disk_error: self.disk.error.clone(),
        }
    }

    /// Ranges on disk and those in memory, by device.
    fn join(&self, on_disk: Vec<(Arc<str>, u64, u64)>) -> Vec<PendingRange> {
        let mut by_device: BTreeMap<Arc<str>, Vec<(u64, u64)>> = BTreeMap::new();
        let waiting = self.disk.waiting().filter(|message| message.seq > 0);
        let waiting = waiting.map(|message| (Arc::clone(&message.device), message.seq));
        let in_memory = self.outbox.numbers().chain(waiting).map(|(device, seq)| (device, seq, seq));
        for (device, from, to) in on_disk.into_iter().chain(in_memory) {
            by_device.entry(device).or_default().push((from, to));
        }
        let joined = by_device.into_iter().flat_map(|(device, ranges)| {
            let range = move |(from, to)| PendingRange { device_id: Arc::clone(&device), from, to };
            merge(ranges).into_iter().map(range)
        });
        joined.collect()
    }

    /// Puts figures where metrics are asked for.
    pub(super) fn show(&self) {
        let stats = &self.disk.stats;
        let metrics = &self.metrics;
        metrics.connected.set(i64::from(self.carrier.is_some()));
        metrics.in_flight.set(int(self.outbox.out_len() as u64));
        metrics.memory_bytes.set(int((self.outbox.live_bytes() + self.disk.waiting_bytes()) as u64));
        metrics.disk_bytes.set(int(stats.bytes));
        metrics.disk_messages.set(int(stats.messages));
        metrics.written_bytes.set(int(stats.written_bytes));
    }
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Ranges that touch become one.
fn merge(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        assert_eq!(merge(vec![(7, 9), (1, 3), (4, 4), (8, 12), (20, 20)]), [(1, 4), (7, 12), (20, 20)]);
        assert!(merge(Vec::new()).is_empty());
    }
}
