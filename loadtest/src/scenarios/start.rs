//! How soon do the reachable ones of 1,000 devices deliver, when half of all can't be reached?
//!
//! A quarter of all refuses connections, a quarter accepts them and says nothing. Time counts from the
//! execution of the program to the moment when every tag of every reachable device has had a usable value.

use std::time::Instant;

use bifrost_simulator::Fault;

use super::many::TAGS;
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Device, Gateway, Metrics, Plant, plc},
    report::{Report, Target},
};

const NAME: &str = "start";
const REACHABLE: u16 = 500;
const SILENT: u16 = 250;
const CLOSED: u16 = 250;

/// Measures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    eprintln!("{NAME}: {REACHABLE} devices reachable, {SILENT} silent, {CLOSED} refusing");
    let plant = vec![plc("well", REACHABLE, TAGS, None), plc("silent", SILENT, TAGS, Some(Fault::Silence))];
    let plant = Plant::start(bench, plant, CLOSED, None)?;
    let devices: Vec<_> = mixed(plant.port).collect();
    let mut gateway = Gateway::start(bench, &devices, TAGS, "1s")?;
    let started = gateway.started;
    let ready = gateway.until("isn't ready", |door| {
        let answer = door.open().and_then(|mut connection| connection.get("/readiness"));
        Ok(answer.ok().map(|_| seconds(started)))
    })?;
    let all = gateway.until("doesn't read its reachable devices", |door| {
        let Ok(mut connection) = door.open() else { return Ok(None) };
        let metrics = Metrics::parse(&connection.get("/metrics")?);
        let read = metrics.by_device("bifrost_tag_reads_total");
        let delivering = read.values().filter(|count| **count >= f64::from(TAGS)).count();
        Ok((delivering >= usize::from(REACHABLE)).then(|| seconds(started)))
    })?;
    report.tell(NAME, "until ready", ready, "s");
    report.judge(NAME, "until all 500 reachable deliver", (all, "s"), Target::AtMost(2.0));
    report.tell(NAME, "RSS, most ever", gateway.usage()?.peak, "MB");
    Ok(())
}

/// Reachable and unreachable ones in turn, as in a list that nobody sorted by what is broken.
fn mixed(first: u16) -> impl Iterator<Item = Device> {
    let device = move |index: u16| Device { id: format!("plc-{index}"), port: first + index };
    (0..CLOSED).flat_map(move |turn| {
        let (silent, closed) = (REACHABLE + turn, REACHABLE + SILENT + turn);
        [2 * turn, silent, 2 * turn + 1, closed].map(device)
    })
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_port_is_one_devices() {
        let ports: HashSet<_> = mixed(10_000).map(|device| device.port).collect();
        assert_eq!(ports, (10_000..11_000).collect());
    }
}
