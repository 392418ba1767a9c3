//! How fast does a backlog get through after an outage, and do live values suffer?
//!
//! Wide devices publish through a gate that is closed until the spool holds as many values as are wanted, and
//! then opened. The subscriber is at the broker itself and hears everything. The backlog's rate counts from
//! the arrival of its first message to that of its last.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    brokers::{DEVICES, count, mqtt},
    many::devices,
};
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Audience, Broker, Count, Gate, Gateway, Plant, plc, quantile},
    report::{Report, Target},
};

const NAME: &str = "replay";
const TAGS: u16 = 1000;
/// 200,000 values per second.
const POLL: &str = "500ms";
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Without a message of the backlog for so long, it is over.
const QUIET: Duration = Duration::from_secs(5);
/// How long the first may take after the outage.
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    let wanted = if bench.quick { 1e6 } else { 1e7 };
    eprintln!("{NAME}: {wanted} values, {DEVICES} devices x {TAGS} tags at {POLL}");
    let broker = Broker::mosquitto()?;
    let audience = Audience::at(broker.port)?;
    let gate = Gate::to(broker.port)?;
    let plant = Plant::start(bench, vec![plc("plc", DEVICES, TAGS, None)], 0, None)?;
    let devices: Vec<_> = devices(&plant, DEVICES).collect();
    let messaging = mqtt(gate.port, &json!({}));
    let mut gateway = Gateway::publishing(bench, &devices, TAGS, POLL, &messaging)?;
    gateway.connected(DEVICES)?;
    audience.hears(DEVICES)?;
    sleep(bench.warm_up());
    let (before, _) = audience.count_for(bench.window());
    gate.close();
    outage(&mut gateway, wanted)?;
    gate.open();
    let opened = Instant::now();
    let (live, backlog) = replayed(&audience)?;
    tell(&before, &live, &backlog, opened, report);
    let flaws = audience.flaws(TAGS);
    report.judge(NAME, "values lost", (count(flaws.lost), ""), Target::AtMost(0.0));
    report.tell(NAME, "values repeated", count(flaws.repeated), "");
    report.tell(NAME, "RSS, most ever", gateway.usage()?.peak, "MB");
    Ok(())
}

/// Waits until so many more values were read.
fn outage(gateway: &mut Gateway, wanted: f64) -> Result<(), LoadError> {
    let read =
        |gateway: &mut Gateway| gateway.metrics().map(|metrics| metrics.sum("bifrost_tag_reads_total"));
    let begin = read(gateway)?;
    while read(gateway)? - begin < wanted {
        sleep(LOOK);
    }
    Ok(())
}

/// Waits for the backlog's end; what came live meanwhile, and the backlog.
fn replayed(audience: &Audience) -> Result<(Count, Count), LoadError> {
    audience.begin();
    let begin = Instant::now();
    while audience.backlog() == 0 {
        if begin.elapsed() > PATIENCE {
            return Err(LoadError::Unreadable(format!("the spool: no backlog came within {PATIENCE:?}")));
        }
        sleep(LOOK);
    }
    // What piled up while the gateway reconnected counts neither as backlog nor as live.
    audience.begin_live();
    let mut last = Instant::now();
    let mut seen = (0, audience.counts());
    while last.elapsed() < QUIET {
        let now = audience.backlog();
        if now > seen.0 {
            last = Instant::now();
            seen = (now, audience.counts());
        }
        sleep(LOOK);
    }
    Ok(seen.1)
}

fn tell(before: &Count, live: &Count, backlog: &Count, opened: Instant, report: &mut Report) {
    let (first, last) = backlog.span.unwrap_or((opened, opened));
    let seconds = last.duration_since(first).as_secs_f64();
    report.tell(NAME, "backlog", count(backlog.values), "values");
    report.tell(NAME, "until it begins to come", first.saturating_duration_since(opened).as_secs_f64(), "s");
    report.judge(NAME, "backlog", (count(backlog.values) / seconds, "/s"), Target::AtLeast(200_000.0));
    report.tell(NAME, "live beside it", count(live.values) / seconds, "/s");
    let quantiles = |count: &Count| {
        let delays = count.delays();
        (quantile(&delays, 0.5), quantile(&delays, 0.99))
    };
    let ((p50_before, p99_before), (p50, p99)) = (quantiles(before), quantiles(live));
    report.tell(NAME, "live p50, before the outage", p50_before, "ms");
    report.tell(NAME, "live p99, before the outage", p99_before, "ms");
    report.tell(NAME, "live p50, beside the backlog", p50, "ms");
    // Within the same order of magnitude.
    report.judge(NAME, "live p99, beside the backlog", (p99, "ms"), Target::AtMost(p99_before * 10.0));
}
