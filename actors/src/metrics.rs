//! What is counted, under the names that operators' dashboards expect.
//!
//! Counters move once per scan, never once per tag. A device's series are made when its actor is built and
//! removed with the device.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// All of the gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// Where they are registered.
    pub registry: Registry,
    /// Connections to PLCs that were opened, by protocol.
    pub connections: IntCounterVec,
    /// Rebuilt children, by kind.
    pub restarts: IntCounterVec,
    /// Children that failed beyond their budget and haven't recovered, by kind.
    pub failed_actors: IntGaugeVec,
    /// News that didn't fit into a subscriber's mailbox.
    pub subscriber_drops: IntCounter,
    /// WebSocket clients that are connected.
    pub websocket_clients: IntGauge,
    /// Updates that slow WebSocket clients didn't get, because newer ones took their place.
    pub websocket_skipped: IntCounter,
    /// How late scans begin.
    pub scan_delay: Histogram,
    /// Messages that wait for the router; set when metrics are asked for.
    pub router_depth: IntGauge,
    /// Messages that found a mailbox full, by kind of actor; set when metrics are asked for.
    pub mailbox_dropped: IntGaugeVec,
    /// Actors by kind and state; set when metrics are asked for.
    pub actors: IntGaugeVec,
    /// Dead letters that are kept, by session.
    pub dead_letters: IntGaugeVec,
    /// Dead letters that couldn't be kept.
    pub dead_letters_lost: IntCounter,
    response_time: HistogramVec,
    data_points: IntCounterVec,
    errors: IntCounterVec,
    connected: IntGaugeVec,
    tag_reads: IntCounterVec,
    tag_read_failures: IntCounterVec,
    tag_writes: IntCounterVec,
    scans: IntCounterVec,
    scans_failed: IntCounterVec,
    overruns: IntCounterVec,
    batches_dropped: IntCounterVec,
    session_connected: IntGaugeVec,
    session_messages: IntCounterVec,
    session_values: IntCounterVec,
    session_duplicates: IntCounterVec,
    session_refused: IntCounterVec,
    session_dropped: IntCounterVec,
    session_in_flight: IntGaugeVec,
    spool_memory_bytes: IntGaugeVec,
    spool_disk_bytes: IntGaugeVec,
    spool_disk_messages: IntGaugeVec,
    spool_written_bytes: IntGaugeVec,
    start_time: Gauge,
    certificate_expiry: IntGaugeVec,
    error_kinds: Mutex<HashMap<String, Vec<&'static str>>>,
}

/// One device's series.
#[derive(Debug, Clone)]
pub(crate) struct DeviceMetrics {
    pub(crate) data_points: IntCounter,
    pub(crate) connected: IntGauge,
    pub(crate) tag_reads: IntCounter,
    pub(crate) tag_read_failures: IntCounter,
    pub(crate) scans: IntCounter,
    pub(crate) scans_failed: IntCounter,
    pub(crate) overruns: IntCounter,
    pub(crate) batches_dropped: IntCounter,
    pub(crate) response_time: Histogram,
}

/// One broker session's series, its spool's among them.
#[derive(Debug, Clone)]
pub(crate) struct SessionMetrics {
    pub(crate) connected: IntGauge,
    pub(crate) messages: IntCounter,
    pub(crate) values: IntCounter,
    pub(crate) duplicates: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) dropped: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) memory_bytes: IntGauge,
    pub(crate) disk_bytes: IntGauge,
    pub(crate) disk_messages: IntGauge,
    pub(crate) written_bytes: IntGauge,
}

const SESSION: &[&str] = &["session"];
const DEVICE: &[&str] = &["device_id"];

/// From a request on loopback to a serial line behind a radio.
const RESPONSE_BUCKETS: &[f64] =
    &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

impl Metrics {
    /// Until when a certificate is valid, in seconds since 1970.
    pub(crate) fn certificate(&self, used_for: &str, not_after: i64) {
        self.certificate_expiry.with_label_values(&[used_for]).set(not_after);
    }

    /// Registers everything in a registry of its own. Fails only if two metrics had one name.
    #[expect(clippy::too_many_lines, reason = "a list, one entry per metric")]
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let r = &registry;
        let metrics = Self {
            connections: counters(
                r,
                "bifrost_connections_total",
                "Connections to devices opened",
                &["protocol"],
            )?,
            restarts: counters(r, "bifrost_actor_restarts_total", "Actors rebuilt", &["kind"])?,
            failed_actors: gauges(
                r,
                "bifrost_actors_failed",
                "Actors beyond their restart budget",
                &["kind"],
            )?,
            subscriber_drops: add(
                r,
                IntCounter::new(
                    "bifrost_subscriber_drops_total",
                    "News that found a subscriber's mailbox full",
                )?,
            )?,
            websocket_clients: add(
                r,
                IntGauge::new("bifrost_websocket_clients", "WebSocket clients connected")?,
            )?,
            websocket_skipped: add(
                r,
                IntCounter::new(
                    "bifrost_websocket_skipped_total",
                    "Updates replaced by newer ones because a client read too slowly",
                )?,
            )?,
            scan_delay: add(
                r,
                Histogram::with_opts(
                    HistogramOpts::new("bifrost_scan_delay_seconds", "How late scans begin")
                        .buckets(vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0]),
                )?,
            )?,
            router_depth: add(
                r,
                IntGauge::new("bifrost_router_queue_depth", "Messages waiting for the router")?,
            )?,
            mailbox_dropped: gauges(
                r,
                "bifrost_mailbox_dropped",
                "Messages that found a mailbox full",
                &["kind"],
            )?,
            actors: gauges(r, "bifrost_actors", "Actors by what they are doing", &["kind", "state"])?,
            dead_letters: gauges(r, "bifrost_dead_letters", "Dead letters kept", &["session"])?,
            dead_letters_lost: add(
                r,
                IntCounter::new("bifrost_dead_letters_lost_total", "Dead letters that couldn't be kept")?,
            )?,
            response_time: add(
                r,
                HistogramVec::new(
                    HistogramOpts::new(
                        "bifrost_response_time_seconds",
                        "From a request to its answer, waiting for the connection included",
                    )
                    .buckets(RESPONSE_BUCKETS.to_vec()),
                    &["protocol"],
                )?,
            )?,
            data_points: counters(r, "bifrost_data_points_processed_total", "Values published", DEVICE)?,
            errors: counters(r, "bifrost_errors_total", "Errors", &["device_id", "error_type"])?,
            connected: gauges(r, "bifrost_device_connected", "1 while the device answers", DEVICE)?,
            tag_reads: counters(r, "bifrost_tag_reads_total", "Tags read with a usable value", DEVICE)?,
            tag_read_failures: counters(
                r,
                "bifrost_tag_read_failures_total",
                "Tags read without a usable value",
                DEVICE,
            )?,
            tag_writes: counters(
                r,
                "bifrost_tag_writes_total",
                "Writes by result",
                &["device_id", "result"],
            )?,
            scans: counters(r, "bifrost_scans_total", "Scans that came to their end", DEVICE)?,
            scans_failed: counters(r, "bifrost_scans_failed_total", "Scans that were cut off", DEVICE)?,
            overruns: counters(
                r,
                "bifrost_scan_overruns_total",
                "Scans left out because the one before was still running",
                DEVICE,
            )?,
            batches_dropped: counters(
                r,
                "bifrost_batches_dropped_total",
                "Scans that were read and not published",
                DEVICE,
            )?,
            session_connected: gauges(
                r,
                "bifrost_session_connected",
                "1 while the broker's connection is up",
                SESSION,
            )?,
            session_messages: counters(
                r,
                "bifrost_session_messages_total",
                "Messages acknowledged by the broker",
                SESSION,
            )?,
            session_values: counters(r, "bifrost_session_values_total", "Values in these", SESSION)?,
            session_duplicates: counters(
                r,
                "bifrost_session_duplicates_total",
                "Messages that the broker had already",
                SESSION,
            )?,
            session_refused: counters(
                r,
                "bifrost_session_refused_total",
                "Messages that the broker refused for good",
                SESSION,
            )?,
            session_dropped: counters(r, "bifrost_session_dropped_total", "Messages lost", SESSION)?,
            session_in_flight: gauges(
                r,
                "bifrost_session_in_flight",
                "Messages handed to the broker and not acknowledged",
                SESSION,
            )?,
            spool_memory_bytes: gauges(r, "bifrost_spool_memory_bytes", "Waiting in memory", SESSION)?,
            spool_disk_bytes: gauges(r, "bifrost_spool_disk_bytes", "Files on disk", SESSION)?,
            spool_disk_messages: gauges(r, "bifrost_spool_disk_messages", "Waiting on disk", SESSION)?,
            spool_written_bytes: gauges(
                r,
                "bifrost_spool_written_bytes",
                "Bytes written to disk since the start",
                SESSION,
            )?,
            start_time: add(
                r,
                Gauge::new("bifrost_start_time_seconds", "When the gateway started, seconds since 1970")?,
            )?,
            certificate_expiry: gauges(
                r,
                "bifrost_certificate_expiry_timestamp_seconds",
                "Until when a certificate is valid, seconds since 1970",
                &["use"],
            )?,
            error_kinds: Mutex::default(),
            registry,
        };
        #[expect(clippy::cast_precision_loss, reason = "microseconds of this century fit")]
        metrics.start_time.set(bifrost_model::Timestamp::now().as_micros() as f64 / 1e6);
        Ok(metrics)
    }

    pub(crate) fn device(&self, id: &str, protocol: &str) -> DeviceMetrics {
        DeviceMetrics {
            data_points: self.data_points.with_label_values(&[id]),
            connected: self.connected.with_label_values(&[id]),
            tag_reads: self.tag_reads.with_label_values(&[id]),
            tag_read_failures: self.tag_read_failures.with_label_values(&[id]),
            scans: self.scans.with_label_values(&[id]),
            scans_failed: self.scans_failed.with_label_values(&[id]),
            overruns: self.overruns.with_label_values(&[id]),
            batches_dropped: self.batches_dropped.with_label_values(&[id]),
            response_time: self.response_time.with_label_values(&[protocol]),
        }
    }

    pub(crate) fn session(&self, name: &str) -> SessionMetrics {
        let label = &[name];
        SessionMetrics {
            connected: self.session_connected.with_label_values(label),
            messages: self.session_messages.with_label_values(label),
            values: self.session_values.with_label_values(label),
            duplicates: self.session_duplicates.with_label_values(label),
            refused: self.session_refused.with_label_values(label),
            dropped: self.session_dropped.with_label_values(label),
            in_flight: self.session_in_flight.with_label_values(label),
            memory_bytes: self.spool_memory_bytes.with_label_values(label),
            disk_bytes: self.spool_disk_bytes.with_label_values(label),
            disk_messages: self.spool_disk_messages.with_label_values(label),
            written_bytes: self.spool_written_bytes.with_label_values(label),
        }
    }

    /// Counts an error of a device, by kind.
    pub(crate) fn error(&self, device_id: &str, kind: &'static str) {
        self.errors.with_label_values(&[device_id, kind]).inc();
        self.remember(device_id, kind);
    }

    /// Counts a write, by what became of it.
    pub(crate) fn write(&self, device_id: &str, result: &'static str) {
        self.tag_writes.with_label_values(&[device_id, result]).inc();
        self.remember(device_id, result);
    }

    fn remember(&self, device_id: &str, kind: &'static str) {
        let mut kinds = self.error_kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.entry(device_id.to_owned()).or_default();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }

    /// Removes a device's series.
    pub(crate) fn forget_device(&self, id: &str) {
        for counters in [
            &self.data_points,
            &self.tag_reads,
            &self.tag_read_failures,
            &self.scans,
            &self.scans_failed,
            &self.overruns,
            &self.batches_dropped,
        ] {
            let _ = counters.remove_label_values(&[id]);
        }
        let _ = self.connected.remove_label_values(&[id]);
        let kinds = self.error_kinds.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        for kind in kinds.unwrap_or_default() {
            let _ = self.errors.remove_label_values(&[id, kind]);
            let _ = self.tag_writes.remove_label_values(&[id, kind]);
        }
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    add(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    add(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_device_leaves_no_series_behind() {
        let metrics = Metrics::new().unwrap();
        metrics.device("press-1", "modbus-tcp").scans.inc();
        metrics.error("press-1", "timeout");
        metrics.write("press-1", "ok");
        metrics.forget_device("press-1");
        let series = metrics.registry.gather();
        let left: Vec<_> = series
            .iter()
            .filter(|family| {
                family.get_metric().iter().any(|m| m.get_label().iter().any(|l| l.value() == "press-1"))
            })
            .map(|family| family.name().to_owned())
            .collect();
        assert_eq!(left, Vec::<String>::new());
    }
}
