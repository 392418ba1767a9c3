//! How many requests one core answers: `cargo run --release -p bifrost-simulator --example rate`.
//!
//! The server has a thread and a runtime of its own; what counts is the CPU time of that thread, as the
//! kernel accounts for it (Linux: `/proc/thread-self/schedstat`), so that clients on the same machine don't
//! blur it. Every request is FC 3. Prints one line of JSON for each case.
//!
//! With one request in flight and client and server on two cores, each request wakes a sleeping core up twice,
//! and the kernel counts the waking as the server's time. Where that is dear, as in a virtual machine, that
//! case measures it and nothing else, whatever the server; it changes several times over with where the
//! scheduler puts the threads. `taskset -c 0` before the command takes it out.

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bifrost_simulator::{DeviceSpec, PlcSettings, Scenario, SimulatedPlc};
use tokio::sync::oneshot;

type Failure = Box<dyn Error + Send + Sync>;

/// How long each case is measured.
const DURATION: Duration = Duration::from_secs(3);
/// Client threads.
const CLIENTS: usize = 2;

struct Case {
    name: &'static str,
    connections: usize,
    in_flight: usize,
    registers: u8,
    /// Whether the registers move.
    moving: bool,
}

const CASES: [Case; 6] = [
    Case { name: "1 connection, 1 in flight", connections: 1, in_flight: 1, registers: 1, moving: false },
    Case { name: "2 connections, 16 in flight", connections: 2, in_flight: 16, registers: 10, moving: false },
    Case { name: "16 connections, 1 in flight", connections: 16, in_flight: 1, registers: 10, moving: false },
    Case {
        name: "200 connections, 1 in flight",
        connections: 200,
        in_flight: 1,
        registers: 10,
        moving: false,
    },
    Case {
        name: "200 connections, 16 in flight",
        connections: 200,
        in_flight: 16,
        registers: 10,
        moving: false,
    },
    Case {
        name: "200 connections, 100 moving",
        connections: 200,
        in_flight: 1,
        registers: 100,
        moving: true,
    },
];

/// What the server thread did.
struct Served {
    requests: u64,
    cpu: Duration,
}

fn main() -> Result<(), Failure> {
    for case in &CASES {
        let start = Instant::now();
        let served = measure(case)?;
        println!(
            "{{\"case\":\"{}\",\"requests\":{},\"per_second\":{:.0},\"per_cpu_second\":{:.0}}}",
            case.name,
            served.requests,
            per_second(served.requests, start.elapsed()),
            per_second(served.requests, served.cpu),
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
fn per_second(requests: u64, time: Duration) -> f64 {
    requests as f64 / time.as_secs_f64()
}

fn measure(case: &Case) -> Result<Served, Failure> {
    let settings = settings(case)?;
    let (address_out, address_in) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let server = thread::spawn(move || serve(settings, &address_out, stopped));
    let address = address_in.recv()?;
    let clients: Vec<_> = (0..CLIENTS.min(case.connections))
        .map(|index| {
            let connections = (case.connections + index) / CLIENTS.min(case.connections);
            let (in_flight, registers) = (case.in_flight, case.registers);
            thread::spawn(move || load(address, connections, in_flight, registers))
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| "a client panicked")??;
    }
    drop(stop);
    server.join().map_err(|_| "the server panicked")?
}

fn settings(case: &Case) -> Result<PlcSettings, Failure> {
    if !case.moving {
        return Ok(PlcSettings::default());
    }
    let mut scenario = Scenario::uniform(1, case.registers.into());
    let device = DeviceSpec { count: None, ..scenario.devices.remove(0) };
    let listeners = Scenario { tls: None, devices: vec![device] }.listeners([127, 0, 0, 1].into(), None)?;
    Ok(listeners.into_iter().next().ok_or("no device")?.settings)
}

/// The whole server thread; its CPU time without the making of thread and runtime.
fn serve(
    settings: PlcSettings,
    address: &mpsc::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) -> Result<Served, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let plc = SimulatedPlc::bind(([127, 0, 0, 1], 0).into(), settings)?;
        address.send(plc.local_addr()?)?;
        let before = cpu_time()?;
        // It says nothing: it is dropped.
        stopped.await.unwrap_or_default();
        Ok(Served { requests: plc.stats().requests, cpu: cpu_time()?.saturating_sub(before) })
    })
}

/// Of the calling thread.
fn cpu_time() -> Result<Duration, Failure> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().ok_or("an empty schedstat")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// Keeps so many requests in flight on each of so many connections.
fn load(address: SocketAddr, connections: usize, in_flight: usize, registers: u8) -> Result<(), Failure> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let request = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, registers];
    let requests = request.repeat(in_flight);
    let mut answers = vec![0; (9 + 2 * usize::from(registers)) * in_flight];
    let end = Instant::now() + DURATION;
    while Instant::now() < end {
        for stream in &mut streams {
            stream.write_all(&requests)?;
        }
        for stream in &mut streams {
            stream.read_exact(&mut answers)?;
        }
    }
    Ok(())
}
