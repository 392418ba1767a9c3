//! Many devices that publish to mosquitto, one message per device and scan, acknowledged (`QoS` 1): does every
//! value arrive, how soon, and what does it take?

use std::thread::sleep;

use serde_json::{Value, json};

use super::many::devices;
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Audience, Broker, Count, Gateway, Metrics, Plant, Usage, plc, quantile},
    report::{Report, Target},
};

/// So many devices, so often.
#[derive(Debug)]
pub(super) struct Load {
    name: &'static str,
    tags: u16,
    poll_interval: &'static str,
    /// Values that are due per second.
    values: f64,
    /// Milliseconds for 1,000 tags.
    cpu: f64,
    /// MB.
    rss: f64,
    /// Milliseconds from register read to subscriber, where there is a limit.
    delay: Option<f64>,
    /// Whether every scan has to be in time.
    in_time: bool,
}

pub(super) const DEVICES: u16 = 100;
pub(super) const NARROW: Load = Load {
    name: "mqtt-device",
    tags: 100,
    poll_interval: "100ms",
    values: 100_000.0,
    cpu: 2.0,
    rss: 50.0,
    delay: None,
    in_time: false,
};
pub(super) const WIDE: Load = Load {
    name: "mqtt-wide",
    tags: 1000,
    poll_interval: "1s",
    values: 100_000.0,
    cpu: 0.6,
    rss: 60.0,
    delay: Some(20.0),
    in_time: true,
};
pub(super) const WIDE_FAST: Load = Load {
    name: "mqtt-wide-fast",
    tags: 1000,
    poll_interval: "100ms",
    values: 1_000_000.0,
    cpu: 0.6,
    rss: 100.0,
    delay: None,
    in_time: true,
};

/// The section `messaging` for one MQTT broker on this port, at `QoS` 1, with more keys of it.
pub(super) fn mqtt(port: u16, more: &Value) -> Value {
    let mut broker = json!({ "broker": format!("mqtt://127.0.0.1:{port}"), "qos": 1 });
    if let (Some(broker), Some(more)) = (broker.as_object_mut(), more.as_object()) {
        broker.extend(more.clone());
    }
    json!({ "mqtt": broker })
}

/// What the gateway and its neighbours have taken, at one moment.
struct Moment {
    metrics: Metrics,
    gateway: Usage,
    broker: Usage,
}

impl Moment {
    fn now(gateway: &mut Gateway, broker: &Broker) -> Result<Self, LoadError> {
        Ok(Self { metrics: gateway.metrics()?, gateway: gateway.usage()?, broker: broker.usage()? })
    }
}

/// Measures.
pub(super) fn run(load: &Load, bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    eprintln!("{}: {DEVICES} devices x {} tags at {}", load.name, load.tags, load.poll_interval);
    let broker = Broker::mosquitto()?;
    let audience = Audience::at(broker.port)?;
    let plant = Plant::start(bench, vec![plc("plc", DEVICES, load.tags, None)], 0, None)?;
    let devices: Vec<_> = devices(&plant, DEVICES).collect();
    let messaging = mqtt(broker.port, &json!({}));
    let mut gateway = Gateway::publishing(bench, &devices, load.tags, load.poll_interval, &messaging)?;
    gateway.connected(DEVICES)?;
    audience.hears(DEVICES)?;
    sleep(bench.warm_up());
    let before = Moment::now(&mut gateway, &broker)?;
    let (heard, seconds) = audience.count_for(bench.window());
    let after = Moment::now(&mut gateway, &broker)?;
    tell_delivery(load, &heard, seconds, report);
    tell_cost(load, &heard, &before, &after, report);
    let flaws = audience.flaws(load.tags);
    report.judge(load.name, "values lost", (count(flaws.lost), ""), Target::AtMost(0.0));
    report.tell(load.name, "values repeated", count(flaws.repeated), "");
    Ok(())
}

fn tell_delivery(load: &Load, heard: &Count, seconds: f64, report: &mut Report) {
    let name = load.name;
    // The window's ends cut scans: one per device more or less.
    let due = Target::AtLeast(load.values * 0.99);
    report.judge(name, "values delivered", (count(heard.values) / seconds, "/s"), due);
    report.tell(name, "bytes per value", count(heard.bytes) / count(heard.values), "");
    let delays = heard.delays();
    report.tell(name, "read to subscriber p50", quantile(&delays, 0.5), "ms");
    let p99 = quantile(&delays, 0.99);
    match load.delay {
        Some(most) => report.judge(name, "read to subscriber p99", (p99, "ms"), Target::AtMost(most)),
        None => report.tell(name, "read to subscriber p99", p99, "ms"),
    }
}

fn tell_cost(load: &Load, heard: &Count, before: &Moment, after: &Moment, report: &mut Report) {
    let name = load.name;
    let overruns = "bifrost_scan_overruns_total";
    let overruns = after.metrics.sum(overruns) - before.metrics.sum(overruns);
    if load.in_time {
        report.judge(name, "overruns", (overruns, ""), Target::AtMost(0.0));
    } else {
        report.tell(name, "overruns", overruns, "");
    }
    let per_thousand = |before: Usage, after: Usage| (after.cpu - before.cpu) / count(heard.values) * 1e6;
    let cpu = per_thousand(before.gateway, after.gateway);
    report.judge(name, "CPU per 1,000 tags", (cpu, "ms"), Target::AtMost(load.cpu));
    report.tell(name, "CPU per 1,000 tags, broker", per_thousand(before.broker, after.broker), "ms");
    report.judge(name, "RSS", (after.gateway.rss, "MB"), Target::AtMost(load.rss));
    report.tell(name, "RSS, most ever", after.gateway.peak, "MB");
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(super) fn count(count: u64) -> f64 {
    count as f64
}
