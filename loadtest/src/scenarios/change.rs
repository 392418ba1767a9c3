//! How soon does a change in a PLC reach a subscriber, at 10 ms polling?
//!
//! The PLC is simulated in this process; its register gets a new number at moments that have nothing to do
//! with the polling. Time counts from just before that to the arrival of the first message with the number.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use bifrost_simulator::{PlcSettings, SimulatedPlc};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::brokers::{count, mqtt};
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Broker, Device, Gateway, Subscriber, number, quantile},
    report::{Report, Target},
};

const NAME: &str = "change-latency";
/// The device's tags; the first is the one that counts.
const TAGS: u16 = 4;
const POLL: &str = "10ms";
/// As the tag file names the first.
const KEY: &[u8] = b"\"tag_0\":";

/// When which number came first.
type Arrivals = Arc<Mutex<Vec<(u64, Instant)>>>;

/// Measures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    let number_of_changes = if bench.quick { 200 } else { 2000 };
    eprintln!("{NAME}: {number_of_changes} changes at {POLL}");
    let (_runtime, plc, port) = simulated()?;
    let broker = Broker::mosquitto()?;
    let (_subscriber, arrivals) = listen(broker.port)?;
    let device = Device { id: "plc-1".to_owned(), port };
    let messaging = mqtt(broker.port, &json!({}));
    let mut gateway = Gateway::publishing(bench, &[device], TAGS, POLL, &messaging)?;
    gateway.connected(1)?;
    sleep(bench.warm_up());
    let changed = change(&plc, number_of_changes);
    // The last one needs its time, too.
    sleep(Duration::from_secs(1));
    let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let delays = delays(&changed, &arrivals);
    report.judge(NAME, "p50", (quantile(&delays, 0.5), "ms"), Target::AtMost(7.0));
    report.judge(NAME, "p99", (quantile(&delays, 0.99), "ms"), Target::AtMost(15.0));
    report.tell(NAME, "slowest", quantile(&delays, 1.0), "ms");
    let unheard = changed.len().saturating_sub(delays.len());
    report.judge(NAME, "changes not heard", (count(unheard as u64), ""), Target::AtMost(0.0));
    Ok(())
}

/// A PLC in this process, and its port.
fn simulated() -> Result<(Runtime, SimulatedPlc, u16), LoadError> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(LoadError::at("a runtime"))?;
    let inside = runtime.enter();
    let plc = SimulatedPlc::bind((Ipv4Addr::LOCALHOST, 0).into(), PlcSettings::default());
    let plc = plc.map_err(LoadError::at("a simulated PLC"))?;
    let address = plc.local_addr().map_err(LoadError::at("a simulated PLC"))?;
    drop(inside);
    Ok((runtime, plc, address.port()))
}

/// Notes when each number is heard first.
fn listen(port: u16) -> Result<(Subscriber, Arrivals), LoadError> {
    let arrivals = Arrivals::default();
    let into = Arc::clone(&arrivals);
    let subscriber = Subscriber::start(port, "bifrost/telemetry/#", move |payload| {
        let at = Instant::now();
        let Some(heard) = number(payload, KEY) else { return };
        let mut arrivals = into.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.last().is_none_or(|(last, _)| *last != heard) {
            arrivals.push((heard, at));
        }
    })?;
    Ok((subscriber, arrivals))
}

/// Counts the register up from 1, every 20 to 60 ms, and says when.
fn change(plc: &SimulatedPlc, last: u16) -> Vec<(u64, Instant)> {
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut changed = Vec::new();
    for number in 1..=last {
        // xorshift64: any sequence will do that has no rhythm.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        sleep(Duration::from_micros(20_000 + random % 40_000));
        let at = Instant::now();
        if plc.memory().set_holding(0, number) {
            changed.push((u64::from(number), at));
        }
    }
    changed
}

/// Milliseconds from each change to its arrival; none for those that never came.
fn delays(changed: &[(u64, Instant)], arrivals: &[(u64, Instant)]) -> Vec<f64> {
    let arrival = |(number, at): &(u64, Instant)| {
        let index = arrivals.binary_search_by_key(number, |(heard, _)| *heard).ok()?;
        arrivals.get(index).map(|(_, heard)| heard.duration_since(*at).as_secs_f64() * 1e3)
    };
    changed.iter().filter_map(arrival).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_to_its_own_arrival() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let found = delays(&[(1, at(0)), (2, at(20)), (3, at(40))], &[(0, at(0)), (1, at(4)), (3, at(50))]);
        assert_eq!(found.len(), 2);
        assert!((found[0] - 4.0).abs() < 1e-9 && (found[1] - 10.0).abs() < 1e-9, "{found:?}");
    }
}
