//! What security takes: handshakes, requests over TLS beside plain ones, writes that wait for the audit trail.
//!
//! Two gateways run beside each other with the same devices, one over HTTPS and one plain; they are asked in
//! turns, each request with a token. Everything runs on the same two cores, the client too: ratios count.

use std::{
    thread::{self, sleep},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::many::devices;
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Connection, Device, Door, Gateway, Plant, Usage, median, plc, quantile},
    report::{Report, Target},
};

const TLS: &str = "tls";
const AUDIT: &str = "audit";
const DEVICES: u16 = 20;
const TAGS: u16 = 100;
const POLL: &str = "1s";
/// Connections that ask at a time.
const CLIENTS: usize = 4;
/// Turns that each kind of request gets.
const TURNS: usize = 3;

/// Measures handshakes and requests.
pub(super) fn tls(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    eprintln!("{TLS}: {CLIENTS} clients, {DEVICES} devices x {TAGS} tags at {POLL}");
    let plant = Plant::start(bench, vec![plc("plc", DEVICES, TAGS, None)], 0, None)?;
    let devices: Vec<_> = devices(&plant, DEVICES).collect();
    let mut secure = Gateway::with(bench, &devices, (TAGS, POLL), &json!({}), true)?;
    let mut plain = Gateway::with(bench, &devices, (TAGS, POLL), &json!({}), false)?;
    secure.connected(DEVICES)?;
    plain.connected(DEVICES)?;
    sleep(bench.warm_up());
    handshakes(&secure, bench, report)?;
    for (what, cached) in [("last known values of 10 tags", true), ("10 tags read from the device", false)] {
        requests(what, cached, &secure, &plain, bench, report)?;
    }
    Ok(())
}

/// Full and abbreviated ones, each with a request behind it, since tickets come after the handshake.
fn handshakes(secure: &Gateway, bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    for (what, door) in [("full", secure.door.clone()), ("resumed", secure.resuming_door()?)] {
        // The first is a full one in any case.
        door.open()?.get("/health")?;
        let before = secure.usage()?;
        let (count, resumed) = together(CLIENTS, each(bench), || {
            let mut connection = door.open()?;
            connection.get("/health")?;
            Ok(connection.was_resumed())
        })?;
        let took = cpu(before, secure.usage()?);
        let seconds = each(bench).as_secs_f64();
        report.tell(TLS, &format!("handshakes with a request, {what}"), number(count) / seconds, "/s");
        report.tell(
            TLS,
            &format!("of these resumed, {what}"),
            number(resumed) / number(count.max(1)),
            "of all",
        );
        report.tell(TLS, &format!("CPU per handshake, {what}"), took / number(count.max(1)) * 1e3, "ms");
    }
    Ok(())
}

fn requests(
    what: &str,
    cached: bool,
    secure: &Gateway,
    plain: &Gateway,
    bench: &Bench,
    report: &mut Report,
) -> Result<(), LoadError> {
    let (mut over_tls, mut in_plain) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        for (gateway, rates) in [(secure, &mut over_tls), (plain, &mut in_plain)] {
            rates.push(rate(&gateway.door, cached, bench)?);
        }
    }
    report.tell(TLS, &format!("{what}, plain with a token"), median(&in_plain), "/s");
    report.tell(TLS, &format!("{what}, TLS with a token"), median(&over_tls), "/s");
    let ratio = median(&over_tls) / median(&in_plain);
    report.judge(TLS, &format!("{what}, TLS / plain"), (ratio, "x"), Target::AtLeast(0.5));
    Ok(())
}

/// Requests per second on connections that stay open.
fn rate(door: &Door, cached: bool, bench: &Bench) -> Result<f64, LoadError> {
    let ids: Vec<_> = (0..10).map(|tag| format!("tag_{tag}")).collect();
    let workers: Vec<_> = (0..CLIENTS)
        .map(|worker| {
            let (door, ids, window) = (door.clone(), ids.clone(), each(bench));
            thread::spawn(move || -> Result<usize, LoadError> {
                let mut connection = door.open()?;
                let end = Instant::now() + window;
                let mut count = 0;
                while Instant::now() < end {
                    let device = format!("plc-{}", (worker + count * CLIENTS) % usize::from(DEVICES) + 1);
                    let asked = json!({ "device_id": device, "tag_ids": ids, "cached": cached });
                    connection.post("/api/tags/read", &asked)?;
                    count += 1;
                }
                Ok(count)
            })
        })
        .collect();
    let mut all = 0;
    for worker in workers {
        all += worker.join().map_err(|_| LoadError::Unreadable("a client's end".to_owned()))??;
    }
    Ok(number(all) / each(bench).as_secs_f64())
}

/// Does something again and again on several threads; answers how often, and how often it said yes.
fn together(
    threads: usize,
    window: Duration,
    task: impl Fn() -> Result<bool, LoadError> + Sync,
) -> Result<(usize, usize), LoadError> {
    let end = Instant::now() + window;
    let work = || -> Result<(usize, usize), LoadError> {
        let (mut count, mut yes) = (0, 0);
        while Instant::now() < end {
            yes += usize::from(task()?);
            count += 1;
        }
        Ok((count, yes))
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = (0, 0);
        for worker in workers {
            let (count, yes) =
                worker.join().map_err(|_| LoadError::Unreadable("a client's end".to_owned()))??;
            all = (all.0 + count, all.1 + yes);
        }
        Ok(all)
    })
}

/// Measures what it costs that each write is on record: afterwards, as by default, and before it is sent.
pub(super) fn audit(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    eprintln!("{AUDIT}: writes to {DEVICES} devices, recorded afterwards and before");
    let plant = Plant::start(bench, vec![plc("plc", DEVICES, TAGS, None)], 0, None)?;
    let devices: Vec<_> = devices(&plant, DEVICES).collect();
    let first = json!({ "security": { "audit": { "record_writes_first": true } } });
    let mut before = Gateway::with(bench, &devices, (TAGS, POLL), &first, false)?;
    let mut after = Gateway::with(bench, &devices, (TAGS, POLL), &json!({}), false)?;
    before.connected(DEVICES)?;
    after.connected(DEVICES)?;
    sleep(bench.warm_up());
    let count = if bench.quick { 200 } else { 1000 };
    for (what, gateway) in [("recorded afterwards", &after), ("recorded before it is sent", &before)] {
        let started = gateway.usage()?;
        let times = writes(gateway, &devices, count)?;
        let cpu = cpu(started, gateway.usage()?) / number(count) * 1e3;
        report.tell(AUDIT, &format!("write p50, {what}"), quantile(&times, 0.5) * 1e3, "ms");
        report.tell(AUDIT, &format!("write p99, {what}"), quantile(&times, 0.99) * 1e3, "ms");
        report.tell(AUDIT, &format!("CPU per write, {what}"), cpu, "ms");
    }
    Ok(())
}

fn writes(gateway: &Gateway, devices: &[Device], count: usize) -> Result<Vec<f64>, LoadError> {
    let mut connection: Connection = gateway.door.open()?;
    let turns = devices.iter().cycle().take(count).enumerate();
    turns
        .map(|(turn, device)| {
            let order = json!({ "device_id": device.id, "tag_id": format!("tag_{}", TAGS - 1), "value": turn % 1000 });
            let begin = Instant::now();
            let result: Value = connection.post("/api/tags/write", &order)?;
            let took = begin.elapsed().as_secs_f64();
            if result["status"] == "ok" { Ok(took) } else { Err(LoadError::Unreadable(format!("the write's {result}"))) }
        })
        .collect()
}

fn each(bench: &Bench) -> Duration {
    bench.window() / 4
}

/// Seconds of CPU between two looks.
fn cpu(before: Usage, after: Usage) -> f64 {
    after.cpu - before.cpu
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn number(count: usize) -> f64 {
    count as f64
}
