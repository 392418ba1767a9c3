//! How fast is one connection, one register after the other, through a device's actor and beside libmodbus?
//!
//! With one request in flight the kernel's waking of sleeping threads counts for more than either program,
//! and where the scheduler puts them changes everything several times over. So both are bound to cores, in
//! two ways: apart, which pays for waking another core up as a network would, and together on one core, where
//! only the work of both sides counts. Runs alternate, and ratios are of neighbours.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{
    bench::Bench,
    error::LoadError,
    harness::{Plant, finish, median, pinned, plc},
    report::{Report, Target},
};

const NAME: &str = "sequential";
/// The simulator's core.
const SERVER: usize = 0;

/// One way to place client and server.
struct Placement {
    name: &'static str,
    client: Option<usize>,
}

/// Reads per second of one round's neighbours.
struct Round {
    libmodbus: f64,
    /// The caller lives on the device's thread.
    own: f64,
    /// The caller lives on another thread.
    other: f64,
}

/// Measures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    let placements = if bench.pins {
        vec![
            Placement { name: "two cores", client: Some(1) },
            Placement { name: "one core", client: Some(0) },
        ]
    } else {
        vec![Placement { name: "not bound to cores", client: None }]
    };
    let server = bench.pins.then_some(SERVER);
    let plant = Plant::start(bench, vec![plc("plc", 1, 10, None)], 0, server)?;
    for placement in placements {
        eprintln!("{NAME}: {}", placement.name);
        let rounds = if bench.quick { 2 } else { 5 };
        let rounds = (0..rounds).map(|_| round(bench, plant.port, placement.client));
        tell(placement.name, &rounds.collect::<Result<Vec<_>, _>>()?, report);
    }
    Ok(())
}

fn round(bench: &Bench, port: u16, core: Option<usize>) -> Result<Round, LoadError> {
    let count = if bench.quick { "5000" } else { "40000" };
    let program = |path: &Path| pinned(path, core);
    let (sequential, address) = (bench.sequential()?, format!("127.0.0.1:{port}"));
    let libmodbus = bench.libmodbus_loop()?;
    Ok(Round {
        libmodbus: rate(program(&libmodbus).args(["127.0.0.1", &port.to_string(), count]))?,
        own: rate(program(&sequential).args([&address, count, "own"]))?,
        other: rate(program(&sequential).args([&address, count, "other"]))?,
    })
}

/// Reads per second, as the program says.
fn rate(command: &mut Command) -> Result<f64, LoadError> {
    let said = finish(command)?;
    let parsed: Option<Value> = serde_json::from_str(&said).ok();
    let rate = parsed.as_ref().and_then(|line| line["reads_per_second"].as_f64());
    rate.ok_or(LoadError::Unreadable(said))
}

fn tell(place: &str, rounds: &[Round], report: &mut Report) {
    let of = |figure: fn(&Round) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
    let row = |what: &str| format!("{what}, {place}");
    report.tell(NAME, &row("libmodbus"), of(|round| round.libmodbus), "reads/s");
    report.tell(NAME, &row("PLC actor"), of(|round| round.own), "reads/s");
    report.tell(NAME, &row("PLC actor, other thread"), of(|round| round.other), "reads/s");
    let ratio = of(|round| round.own / round.libmodbus);
    report.judge(NAME, &row("PLC actor / libmodbus"), (ratio, "x"), Target::AtLeast(0.8));
    let other = of(|round| round.other / round.libmodbus);
    report.tell(NAME, &row("other thread / libmodbus"), other, "x");
}
