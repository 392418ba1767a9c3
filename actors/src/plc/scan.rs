//! What follows from one scan: readings to publish, the device's status, the pause of a silent one.

use std::sync::Arc;

use bifrost_drivers::DeviceError;
use bifrost_model::{Event, Reading, Reason, Severity, TagBatch, Timestamp};
use serde_json::json;
use tokio::time::Instant;

use super::{
    actor::PlcConnection,
    messages::{DeviceState, DeviceStatus},
};
use crate::router::{Publish, ReportStatus};

impl PlcConnection {
    /// Takes a scan's outcome in.
    pub(super) fn take_scan(&mut self, group: usize, outcome: &Result<(), DeviceError>, read: Vec<Reading>) {
        let now = Instant::now();
        let answered = self.has_answered() || read.iter().any(|reading| is_answer(reading.reason));
        let complete = outcome.is_ok() && !read.iter().any(|reading| is_silence(reading.reason));
        if answered {
            self.status.last_seen = Some(Timestamp::now());
        }
        self.judge_silence(outcome, answered, now);
        self.count_scan(outcome);
        let readings = self.weigh(group, outcome.as_ref().err(), read, now);
        let error = outcome.as_ref().err().map(ToString::to_string);
        match (complete, answered) {
            (true, true) => self.enter(DeviceState::Online, None),
            // Every tag is known to be refused: nothing was asked, and nothing learned of the device.
            (true, false) => {}
            (false, true) => {
                let error =
                    error.unwrap_or_else(|| "some requests of the last scan weren't answered".to_owned());
                self.enter(DeviceState::Degraded, Some(error));
            }
            (false, false) => {
                self.enter(
                    DeviceState::Offline,
                    Some(error.unwrap_or_else(|| "no answer in time".to_owned())),
                );
            }
        }
        self.publish(readings);
    }

    /// A group's scan is left out, because its device is being left alone: values age all the same, for the
    /// reason for which it is.
    pub(super) fn age(&mut self, group: usize) {
        let now = Instant::now();
        let reason = self.left_alone_for.clone();
        let readings = self.weigh(group, Some(&reason), Vec::new(), now);
        self.publish(readings);
    }

    /// Whether the device has said anything since this was last asked. What the driver remembers of it, such
    /// as a refused address, is no answer.
    fn has_answered(&mut self) -> bool {
        let last = self.traffic.last_answer.get();
        std::mem::replace(&mut self.last_answer_seen, last) != last
    }

    /// Silence is answered with a pause that grows, so that neighbours on the connection aren't held up; a
    /// connection that isn't there costs nobody time.
    fn judge_silence(&mut self, outcome: &Result<(), DeviceError>, answered: bool, now: Instant) {
        match outcome {
            Ok(()) => self.pause.reset(),
            Err(_) if answered => self.pause.reset(),
            Err(
                error @ (DeviceError::Timeout(_)
                | DeviceError::NotAsked(_)
                | DeviceError::UnitUnreachable { .. }),
            ) => {
                self.pause.silence(now);
                self.left_alone_for = error.clone();
            }
            Err(DeviceError::Offline(_) | DeviceError::Transport(_) | DeviceError::Busy) => {}
        }
    }

    fn count_scan(&mut self, outcome: &Result<(), DeviceError>) {
        self.counters.scans += u64::from(outcome.is_ok());
        self.counters.scans_failed += u64::from(outcome.is_err());
        match outcome {
            Ok(()) => self.metrics.scans.inc(),
            Err(error) => {
                self.metrics.scans_failed.inc();
                self.parts.shared.metrics.error(self.id(), error_kind(error));
            }
        }
    }

    /// Decides for each tag of the group what it is worth now, and whether that is news.
    fn weigh(
        &mut self,
        group: usize,
        error: Option<&DeviceError>,
        read: Vec<Reading>,
        now: Instant,
    ) -> Vec<Reading> {
        let rules = &self.parts.device.rules;
        let mut usable = 0;
        let count = read.len();
        let mut covered = error.map(|_| vec![false; self.states.len()]);
        let states = &mut self.states;
        let has_role = self.parts.device.link.tls.is_some();
        let weighed = read.into_iter().filter_map(|reading| {
            let reading = with_role(reading, has_role);
            let (index, tag) = (reading.tag, reading.tag as usize);
            let state = states.get_mut(tag)?;
            if let Some(covered) = covered.as_mut().and_then(|covered| covered.get_mut(tag)) {
                *covered = true;
            }
            usable += u64::from(!reading.value.is_null());
            state.read(reading, rules.of(index), now)
        });
        // Where the readings were, news are.
        let mut news: Vec<_> = weighed.collect();
        self.counters.tags_read += usable;
        self.metrics.tag_reads.inc_by(usable);
        let mut failures = count as u64 - usable;
        if let (Some(error), Some(covered)) = (error, covered) {
            let reason = reason(error);
            for &tag in self.parts.device.groups.get(group).map_or(&[][..], |group| &*group.tags) {
                let index = tag as usize;
                if covered.get(index).copied().unwrap_or(true) {
                    continue;
                }
                failures += 1;
                if let Some(state) = self.states.get_mut(index) {
                    news.extend(state.missed(tag, reason, rules.of(tag), now));
                }
            }
        }
        self.counters.tag_failures += failures;
        self.metrics.tag_read_failures.inc_by(failures);
        // Few news among many readings: what waits for a slow subscriber must not hold the room of all.
        if news.len() < news.capacity() / 2 {
            news.shrink_to_fit();
        }
        news
    }

    /// Hands readings to the router under the next number.
    pub(super) fn publish(&mut self, readings: Vec<Reading>) {
        if readings.is_empty() {
            return;
        }
        let count = readings.len() as u64;
        let Some(seq) = self.take_number() else {
            self.forget_told(&readings);
            self.drop_batch();
            return;
        };
        let device = Arc::clone(&self.parts.device.tags);
        let batch = Arc::new(TagBatch { device, seq, timestamp: Timestamp::now(), readings });
        let message = Publish(Arc::clone(&batch));
        let sent = self.parts.shared.router.with(|router| router.publish.try_send(message));
        if matches!(sent, Some(Ok(()))) {
            self.metrics.data_points.inc_by(count);
        } else {
            self.forget_told(&batch.readings);
            self.drop_batch();
        }
    }

    /// What didn't get through is told again by the next scan, deadband or not.
    fn forget_told(&mut self, readings: &[Reading]) {
        for reading in readings {
            if let Some(state) = self.states.get_mut(reading.tag as usize) {
                state.not_told();
            }
        }
    }

    fn drop_batch(&mut self) {
        self.counters.batches_dropped += 1;
        self.metrics.batches_dropped.inc();
    }

    /// Takes up a state, and tells of it when it is another.
    pub(super) fn enter(&mut self, state: DeviceState, error: Option<String>) {
        let connected = matches!(state, DeviceState::Online | DeviceState::Degraded);
        let before = (self.status.state, self.status.connected);
        self.status.last_error = error;
        if before.0 == state {
            if !self.status_told {
                self.report_status();
            }
            return;
        }
        (self.status.state, self.status.connected) = (state, connected);
        self.status.since = Timestamp::now();
        self.metrics.connected.set(i64::from(connected));
        if before.1 != connected || before.0 == DeviceState::Starting {
            self.tell_connection();
        }
        self.report_status();
    }

    /// What doesn't get through is told again with the next scan.
    pub(super) fn report_status(&mut self) {
        let status: Arc<DeviceStatus> = Arc::new(self.status.clone());
        let sent = self.parts.shared.router.with(|router| router.status.try_send(ReportStatus(status)));
        self.status_told = matches!(sent, Some(Ok(())));
    }

    fn tell_connection(&self) {
        let status = &self.status;
        let address = &self.parts.settings.address;
        let event = if status.connected {
            Event::new(Arc::clone(&status.device_id), "device_connected", Severity::Info, "device answers")
        } else {
            let error = status.last_error.as_deref().unwrap_or("no answer");
            let unit = self.parts.device.unit;
            let message = format!(
                "device doesn't answer: {error}; check power, network, address {address} and unit {unit}"
            );
            Event::new(Arc::clone(&status.device_id), "device_disconnected", Severity::Warning, message)
        };
        self.parts.shared.events.record(event.with(json!({ "address": address })));
    }
}

/// What a device answers too whose rights table has nothing for the gateway's role.
pub(super) const NO_SUCH_FUNCTION: u8 = 1;

/// Where the device knows a role of the gateway, exception 01 may be the role's fault.
pub(super) fn with_role(mut reading: Reading, has_role: bool) -> Reading {
    if has_role && reading.reason == Reason::Refused(NO_SUCH_FUNCTION) {
        reading.reason = Reason::RoleRefused;
    }
    reading
}

/// Whether a reading can only come from the device, now.
fn is_answer(reason: Reason) -> bool {
    matches!(reason, Reason::None | Reason::NotANumber | Reason::NotText)
}

/// Whether a reading tells that the device said nothing usable.
fn is_silence(reason: Reason) -> bool {
    matches!(reason, Reason::Timeout | Reason::Disconnected | Reason::Garbled)
}

fn reason(error: &DeviceError) -> Reason {
    match error {
        DeviceError::Offline(_) | DeviceError::Transport(_) => Reason::Disconnected,
        DeviceError::Timeout(_) | DeviceError::NotAsked(_) | DeviceError::Busy => Reason::Timeout,
        DeviceError::UnitUnreachable { code, .. } => Reason::Refused(*code),
    }
}

pub(super) fn error_kind(error: &DeviceError) -> &'static str {
    match error {
        DeviceError::Offline(_) => "offline",
        DeviceError::Timeout(_) | DeviceError::NotAsked(_) => "timeout",
        DeviceError::Transport(_) => "transport",
        DeviceError::UnitUnreachable { .. } => "unit_unreachable",
        DeviceError::Busy => "busy",
    }
}
