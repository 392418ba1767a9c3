//! Do broken devices harm the others? Of 100, one is silent, one comes and goes, one sends garbage.

use std::{collections::BTreeMap, thread::sleep, time::Duration};

use bifrost_simulator::Fault;

use super::many::{TAGS, devices};
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Gateway, Metrics, Plant, plc},
    report::{Report, Target},
};

const NAME: &str = "faults";
/// Devices that are well; they come first.
const WELL: u16 = 97;
/// Devices that aren't.
const BROKEN: u16 = 3;
/// Scans per device and second.
const SCANS: f64 = 10.0;

/// Measures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    eprintln!("{NAME}: {} devices x {TAGS} tags at 100ms, {BROKEN} of them broken", WELL + BROKEN);
    let flapping = Fault::Flapping { up: Duration::from_secs(2), down: Duration::from_secs(1) };
    let plant = vec![
        plc("well", WELL, TAGS, None),
        plc("silent", 1, TAGS, Some(Fault::Silence)),
        plc("flapping", 1, TAGS, Some(flapping)),
        plc("garbage", 1, TAGS, Some(Fault::Garbage)),
    ];
    let plant = Plant::start(bench, plant, 0, None)?;
    let all: Vec<_> = devices(&plant, WELL + BROKEN).collect();
    let mut gateway = Gateway::start(bench, &all, TAGS, "100ms")?;
    gateway.connected(WELL)?;
    sleep(bench.warm_up());
    let before = gateway.metrics()?;
    sleep(bench.window());
    let after = gateway.metrics()?;
    let well: Vec<_> = all.iter().take(usize::from(WELL)).map(|device| device.id.as_str()).collect();
    tell(&well, &before, &after, bench, report);
    Ok(())
}

fn tell(well: &[&str], before: &Metrics, after: &Metrics, bench: &Bench, report: &mut Report) {
    let counted = |metric: &str| {
        let (old, new) = (before.by_device(metric), after.by_device(metric));
        let since = new.into_iter().map(|(id, count)| (id, count - old.get(id).copied().unwrap_or(0.0)));
        since.collect::<BTreeMap<_, _>>()
    };
    let of_the_well = |counts: &BTreeMap<&str, f64>| -> Vec<f64> {
        well.iter().map(|id| counts.get(id).copied().unwrap_or(0.0)).collect()
    };
    let total = |metric| of_the_well(&counted(metric)).into_iter().fold(0.0, |sum, count| sum + count);
    let overruns = total("bifrost_scan_overruns_total");
    report.judge(NAME, "overruns of the other 97", (overruns, ""), Target::AtMost(0.0));
    let failed = total("bifrost_scans_failed_total");
    report.judge(NAME, "failed scans of the other 97", (failed, ""), Target::AtMost(0.0));
    let scans = of_the_well(&counted("bifrost_scans_total"));
    let fewest = scans.into_iter().fold(f64::INFINITY, f64::min) / (SCANS * bench.window().as_secs_f64());
    // The window's ends are as sharp as two requests for metrics are: one scan more or less.
    report.judge(NAME, "scans of the slowest of them", (fewest, "of all"), Target::AtLeast(0.99));
    let broken = |metric: &str| {
        let counts = counted(metric);
        counts.iter().filter(|(id, _)| !well.contains(id)).fold(0.0, |sum, (_, count)| sum + count)
    };
    report.tell(NAME, "failed scans of the 3", broken("bifrost_scans_failed_total"), "");
    report.tell(NAME, "good scans of the 3", broken("bifrost_scans_total"), "");
}
