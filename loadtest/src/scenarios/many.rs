//! Many devices, polled without a sink but the router: is every scan there and on time, and what does it take?

use std::thread::sleep;

use super::write;
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Device, Gateway, Metrics, Plant, Usage, plc},
    report::{Report, Target},
};

/// Tags of each device: one request's worth.
pub(super) const TAGS: u16 = 100;

/// Tags of each wide device: eight requests' worth.
const WIDE: u16 = 1000;

/// So many devices, so often.
#[derive(Debug)]
pub(super) struct Load {
    name: &'static str,
    devices: u16,
    tags: u16,
    poll_interval: &'static str,
    /// MB.
    rss: f64,
    /// Milliseconds for 1,000 tags, where there is a limit.
    cpu: Option<f64>,
    /// Whether the issue is scans in time.
    on_time: bool,
}

pub(super) const FAST: Load = Load {
    name: "many-fast",
    devices: 100,
    tags: TAGS,
    poll_interval: "100ms",
    rss: 40.0,
    cpu: None,
    on_time: false,
};
pub(super) const SLOW: Load = Load {
    name: "many-slow",
    devices: 1000,
    tags: TAGS,
    poll_interval: "1s",
    rss: 60.0,
    cpu: None,
    on_time: true,
};
pub(super) const WIDE_SLOW: Load = Load {
    name: "wide-slow",
    devices: 100,
    tags: WIDE,
    poll_interval: "1s",
    rss: 50.0,
    cpu: Some(0.4),
    on_time: true,
};
pub(super) const WIDE_FAST: Load = Load {
    name: "wide-fast",
    devices: 100,
    tags: WIDE,
    poll_interval: "100ms",
    rss: 80.0,
    cpu: Some(0.4),
    on_time: false,
};

/// Everything that counts, at one moment.
struct Moment {
    metrics: Metrics,
    gateway: Usage,
    plant: Usage,
}

impl Moment {
    fn now(gateway: &mut Gateway, plant: &Plant) -> Result<Self, LoadError> {
        Ok(Self { metrics: gateway.metrics()?, gateway: gateway.usage()?, plant: plant.usage()? })
    }
}

/// Measures scans, and then writes in the same load, if either is wanted.
pub(super) fn run(
    load: &Load,
    scans: bool,
    writes: bool,
    bench: &Bench,
    report: &mut Report,
) -> Result<(), LoadError> {
    eprintln!("{}: {} devices x {} tags at {}", load.name, load.devices, load.tags, load.poll_interval);
    let plant = Plant::start(bench, vec![plc("plc", load.devices, load.tags, None)], 0, None)?;
    let devices: Vec<_> = devices(&plant, load.devices).collect();
    let mut gateway = Gateway::start(bench, &devices, load.tags, load.poll_interval)?;
    gateway.connected(load.devices)?;
    sleep(bench.warm_up());
    if scans {
        let before = Moment::now(&mut gateway, &plant)?;
        sleep(bench.window());
        let after = Moment::now(&mut gateway, &plant)?;
        tell(load, &before, &after, bench, report);
    }
    if writes {
        write::measure(load.name, &devices, &gateway, bench, report)?;
    }
    Ok(())
}

/// The devices of a plant's first PLCs.
pub(super) fn devices(plant: &Plant, count: u16) -> impl Iterator<Item = Device> {
    let first = plant.port;
    (0..count).map(move |index| Device { id: format!("plc-{}", index + 1), port: first + index })
}

fn tell(load: &Load, before: &Moment, after: &Moment, bench: &Bench, report: &mut Report) {
    let name = load.name;
    let counted = |metric: &str| after.metrics.sum(metric) - before.metrics.sum(metric);
    let values = counted("bifrost_tag_reads_total");
    report.tell(name, "values read", values / bench.window().as_secs_f64(), "/s");
    let overruns = counted("bifrost_scan_overruns_total");
    report.judge(name, "overruns", (overruns, ""), Target::AtMost(0.0));
    report.tell(name, "scans not published", counted("bifrost_batches_dropped_total"), "");
    let delay = after.metrics.quantile_bound(&before.metrics, "bifrost_scan_delay_seconds", 0.99) * 1e3;
    if load.on_time {
        report.judge(name, "scan delay p99, at most", (delay, "ms"), Target::AtMost(50.0));
    } else {
        report.tell(name, "scan delay p99, at most", delay, "ms");
    }
    let per_thousand = |before: Usage, after: Usage| (after.cpu - before.cpu) / values * 1e6;
    let (gateway, plant) = (after.gateway, after.plant);
    let cpu = per_thousand(before.gateway, gateway);
    match load.cpu {
        Some(limit) => report.judge(name, "CPU per 1,000 tags", (cpu, "ms"), Target::AtMost(limit)),
        None => report.tell(name, "CPU per 1,000 tags", cpu, "ms"),
    }
    report.tell(name, "CPU per 1,000 tags, simulator", per_thousand(before.plant, plant), "ms");
    report.judge(name, "RSS", (gateway.rss, "MB"), Target::AtMost(load.rss));
    report.tell(name, "RSS, most ever", gateway.peak, "MB");
}
