//! How many messages per second reach an MQTT broker, and what they cost:
//! `mqtt_rate URL SECONDS [QOS] [BYTES] [WINDOW]`.
//!
//! Paho alone: one task that keeps the window full and waits for the oldest message. The gateway's session: fed
//! by a spool that hands out one message again and again. Both on one thread, against the same broker, in turn,
//! five times this long each; the medians count. Prints one line of JSON with both rates, the processor time
//! that each takes of this process per message, and the ratio of the rates.

use std::{
    collections::VecDeque,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bifrost_actors::{
    broker::Reply,
    mqtt::MqttSettings,
    router::EventSink,
    supervision::{AddChild, Order},
    supervision::{Arbiters, Notice, OrderKind, Placement, Slot, SupervisionSettings, Tree},
    testing::{FakeSpool, MqttParts, mqtt_session, outgoing},
};
use bifrost_model::TagClass;
use paho_mqtt as mqtt;
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

/// What is measured.
#[derive(Clone)]
struct Load {
    url: String,
    time: Duration,
    qos: u8,
    bytes: usize,
    window: usize,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (Some(url), Some(seconds)) = (arguments.first(), arguments.get(1)) else {
        return Err("usage: mqtt_rate URL SECONDS [QOS] [BYTES] [WINDOW]".into());
    };
    let load = Load {
        url: url.clone(),
        time: Duration::from_secs(seconds.parse()?),
        qos: u8::try_from(number(2, 1)?)?,
        bytes: number(3, 128)?,
        window: number(4, 500)?,
    };
    actix::System::new().block_on(async {
        let (mut paho, mut gateway) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            paho.push(measure(alone(&load)).await?);
            gateway.push(measure(session(&load)).await?);
        }
        let (paho, gateway) = (median(&paho), median(&gateway));
        let ratio = gateway.rate / paho.rate;
        println!("{}", json!({ "paho": paho.shown(), "session": gateway.shown(), "ratio": ratio }));
        Ok(())
    })
}

/// How often each is measured.
const ROUNDS: usize = 5;

/// The median of each figure by itself.
fn median(measured: &[Measured]) -> Measured {
    let middle = |figure: fn(&Measured) -> f64| {
        let mut figures: Vec<_> = measured.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Measured { rate: middle(|one| one.rate), cpu_us: middle(|one| one.cpu_us) }
}

/// How fast it was, and what it cost this process.
struct Measured {
    rate: f64,
    cpu_us: f64,
}

impl Measured {
    fn shown(&self) -> Value {
        json!({ "messages_per_second": self.rate.round(), "cpu_us_per_message": self.cpu_us })
    }
}

async fn measure(run: impl Future<Output = Result<u64, Failure>>) -> Result<Measured, Failure> {
    let (begin, before) = (Instant::now(), cpu()?);
    let count = run.await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of messages in seconds")]
    let count = count as f64;
    Ok(Measured { rate: count / begin.elapsed().as_secs_f64(), cpu_us: (cpu()? - before) / count * 1e6 })
}

/// Seconds of processor time that this process has used.
fn cpu() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("no process state")?;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

async fn alone(load: &Load) -> Result<u64, Failure> {
    let options = mqtt::CreateOptionsBuilder::new().server_uri(load.url.replace("mqtt:", "tcp:"));
    let options = options.client_id("rate-alone").persistence(None).max_buffered_messages(10_000);
    let client = mqtt::AsyncClient::new(options.finalize())?;
    let mut connection = mqtt::ConnectOptionsBuilder::new_v5();
    client.connect(connection.clean_start(true).max_inflight(65_535).finalize()).await?;
    let payload = vec![b'x'; load.bytes];
    let (begin, mut out, mut done) = (Instant::now(), VecDeque::new(), 0);
    while begin.elapsed() < load.time {
        while out.len() < load.window {
            out.push_back(client.publish(mqtt::Message::new("rate", payload.clone(), i32::from(load.qos))));
        }
        if let Some(oldest) = out.pop_front() {
            oldest.await?;
            done += 1;
        }
    }
    client.disconnect(None).await?;
    Ok(done)
}

async fn session(load: &Load) -> Result<u64, Failure> {
    use actix::Actor;
    let settings: MqttSettings =
        serde_json::from_value(json!({ "broker": load.url, "window": load.window, "qos": load.qos }))?;
    let notice = Box::new(|notice: Notice| {
        if !matches!(notice, Notice::Stopped { .. }) {
            eprintln!("{notice:?}");
        }
    });
    let tree = Tree::new(SupervisionSettings::default(), Arbiters::start(0), notice).start();
    let spool = FakeSpool::start(&Slot::empty());
    let parts = MqttParts {
        settings,
        spool: spool.slot(),
        answering: Arc::new(|_| Box::pin(async { Reply { payload: "{}".into(), error: None } })),
        events: EventSink::new(Slot::empty()),
    };
    let spec = mqtt_session(parts, Placement::Home);
    tree.send(AddChild { parent: "/".to_owned(), spec }).await??;
    spool.pour(outgoing("rate", TagClass::Telemetry, vec![b'x'; load.bytes]));
    tokio::time::sleep(load.time).await;
    let delivered = spool.delivered();
    tree.send(Order { path: "/".to_owned(), kind: OrderKind::Stop }).await??;
    Ok(delivered)
}
