//! How long a write takes while everything is polled: from REST to acknowledged by the PLC.
//!
//! One keep-alive connection, one write after the other, at devices all over the plant. Beside it the same
//! writes without a gateway, from one socket to the PLC: what machine and simulator take under that load.

use std::time::Instant;

use serde_json::json;

use super::many::TAGS;
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{BareClient, Device, Gateway, quantile},
    report::{Report, Target},
};

/// Coprime with every number of devices here: each gets its turn, and neighbours aren't asked in a row.
const STRIDE: usize = 7919;

/// Measures under the load that runs.
pub(super) fn measure(
    load: &str,
    devices: &[Device],
    gateway: &Gateway,
    bench: &Bench,
    report: &mut Report,
) -> Result<(), LoadError> {
    let count: u16 = if bench.quick { 400 } else { 2000 };
    eprintln!("write: {count} under {load}");
    let through = through_the_gateway(devices, gateway, count)?;
    let bare = bare(devices, count)?;
    let row = |what: &str| format!("{what}, under {load}");
    let ms = |times: &[f64], share| quantile(times, share) * 1e3;
    report.judge("write", &row("p50"), (ms(&through, 0.5), "ms"), Target::AtMost(1.0));
    report.judge("write", &row("p99"), (ms(&through, 0.99), "ms"), Target::AtMost(4.0));
    report.tell("write", &row("slowest"), ms(&through, 1.0), "ms");
    report.tell("write", &row("p50 without a gateway"), ms(&bare, 0.5), "ms");
    report.tell("write", &row("p99 without a gateway"), ms(&bare, 0.99), "ms");
    Ok(())
}

/// Which device comes at which turn.
fn turns(devices: &[Device], count: u16) -> impl Iterator<Item = (u16, &Device)> {
    let turns = (0..count).map(|turn| (turn, usize::from(turn) * STRIDE % devices.len().max(1)));
    turns.filter_map(|(turn, index)| devices.get(index).map(|device| (turn, device)))
}

/// Seconds from each write to its acknowledgement; one that isn't acknowledged ends the measurement.
fn through_the_gateway(devices: &[Device], gateway: &Gateway, count: u16) -> Result<Vec<f64>, LoadError> {
    let mut connection = gateway.door.open()?;
    let tag = format!("tag_{}", TAGS - 1);
    let write = |(turn, device): (u16, &Device)| {
        let order = json!({ "device_id": device.id, "tag_id": tag, "value": turn });
        let begin = Instant::now();
        let result = connection.post("/api/tags/write", &order)?;
        let took = begin.elapsed().as_secs_f64();
        if result["status"] == "ok" {
            Ok(took)
        } else {
            Err(LoadError::Unreadable(format!("the write's {result}")))
        }
    };
    turns(devices, count).map(write).collect()
}

fn bare(devices: &[Device], count: u16) -> Result<Vec<f64>, LoadError> {
    let write = |(turn, device): (u16, &Device)| {
        let mut plc = BareClient::open(device.port)?;
        let begin = Instant::now();
        plc.write(TAGS - 1, turn)?;
        Ok(begin.elapsed().as_secs_f64())
    };
    turns(devices, count / 4).map(write).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_device_gets_its_turn() {
        for count in [100, 1000] {
            let devices: Vec<_> = (0..count).map(|port| Device { id: port.to_string(), port }).collect();
            let asked: HashSet<_> = turns(&devices, count).map(|(_, device)| device.port).collect();
            assert_eq!(asked.len(), usize::from(count));
        }
    }
}
