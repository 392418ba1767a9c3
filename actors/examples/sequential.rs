//! How fast one device's actor reads one register, one read after the other:
//! `sequential HOST:PORT COUNT [own|other]`.
//!
//! The whole gateway runs, without HTTP: tree, router, sequence store, the device's actor and its link. Each
//! read is a `ReadTags` message to the device's actor; the next is sent when the answer is there. With `own`
//! the caller lives on the device's thread, as a schedule does; with `other` on a thread of its own, as HTTP
//! does. The device's schedule reads once an hour, so that the reads that are counted are the caller's alone.
//!
//! Prints one line of JSON, like `libmodbus_loop`, with which the load test compares it.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use actix::Recipient;
use bifrost_actors::{
    dead_letters::DeadLetterSettings,
    gateway::{Gateway, GatewaySettings, LimitSettings},
    plc::{DeviceSettings, ReadTags},
    supervision::{Arbiters, SupervisionSettings},
};
use serde_json::json;

type Failure = Box<dyn Error>;

const DEVICE: &str = "plc";
/// How long the device may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (address, count, caller) = match arguments.as_slice() {
        [address, count] => (address, count, "own"),
        [address, count, caller] => (address, count, caller.as_str()),
        _ => return Err("usage: sequential HOST:PORT COUNT [own|other]".into()),
    };
    let workers = match caller {
        "own" => 0,
        "other" => 1,
        _ => return Err("the caller is own or other".into()),
    };
    let count = count.parse()?;
    actix::System::new().block_on(measure(address, count, workers))
}

async fn measure(address: &str, count: u32, workers: usize) -> Result<(), Failure> {
    let data_dir = tempfile::tempdir()?;
    let settings = GatewaySettings {
        audit: bifrost_actors::audit::AuditSettings::default(),
        certificates: bifrost_actors::certificate_rotator::RotatorSettings::default(),
        gateway_id: "load".into(),
        site_id: "load".into(),
        hostname: "host".into(),
        brokers: Vec::new(),
        data_dir: data_dir.path().to_owned(),
        supervision: SupervisionSettings::default(),
        limits: LimitSettings::default(),
        dead_letters: DeadLetterSettings::default(),
    };
    let gateway = Gateway::start(settings, Arbiters::start(workers)).await?;
    gateway.put_device(device(address)?).await?;
    let reads = reads_of(&gateway).await?;
    // The first read waits for the connection.
    read(&reads).await?;
    // A task of its own, as actors are; the main future costs the runtime an extra turn for each wake-up.
    let seconds = actix::spawn(read_all(reads, count)).await?.map_err(|error| error.to_string())?;
    let rate = f64::from(count) / seconds;
    println!("{}", json!({ "reads": count, "seconds": seconds, "reads_per_second": rate }));
    gateway.drain(PATIENCE).await;
    Ok(())
}

/// How many seconds so many reads take.
async fn read_all(reads: Recipient<ReadTags>, count: u32) -> Result<f64, Failure> {
    let begin = Instant::now();
    for _ in 0..count {
        read(&reads).await?;
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn device(address: &str) -> Result<DeviceSettings, serde_json::Error> {
    serde_json::from_value(json!({
        "id": DEVICE,
        "protocol": "modbus-tcp",
        "address": address,
        "poll_interval": "1h",
        "tags": [{ "id": "register", "address": "holding:0" }],
    }))
}

/// Where reads are sent, as soon as the device's actor is there.
async fn reads_of(gateway: &Gateway) -> Result<Recipient<ReadTags>, Failure> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(ports) = gateway.device(DEVICE).and_then(|entry| entry.ports.get()) {
            return Ok(ports.read);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err("the device's actor doesn't start".into())
}

/// One read; a value that isn't usable is a failure, half a measurement is none.
async fn read(reads: &Recipient<ReadTags>) -> Result<(), Failure> {
    let tags = reads.send(ReadTags(vec![0])).await??;
    match tags.as_slice() {
        [tag] if !tag.reading.value.is_null() => Ok(()),
        _ => Err("the register couldn't be read".into()),
    }
}
