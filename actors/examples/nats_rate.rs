//! How fast the NATS session carries one message per tag to JetStream, beside async-nats alone:
//! `nats_rate URL [COUNT [WINDOW [ROUNDS]]]`.
//!
//! Both publish messages of about 150 bytes with a `Nats-Msg-Id` to the same stream with file storage, both keep
//! WINDOW of them unacknowledged, both on one thread. The library alone is used as its documentation says, with
//! the acknowledgements awaited in a `FuturesUnordered`. The session is the whole actor under the tree, fed by a
//! stand-in for the spool on the same thread. Rounds alternate. CPU is that of this process, without the server.
//!
//! Prints one line of JSON per round, and the medians.

use std::{
    cell::Cell,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Recipient};
use bifrost_actors::{
    broker::{
        Answering, Attach, CommandRoutes, Deliver, Detach, Identity, Kind, Outcome, Outgoing, Reply, Settled,
        SpoolPorts,
    },
    nats::{NatsSettings, Parts, spec},
    router::EventSink,
    supervised,
    supervision::{
        AddChild, Arbiters, Child, ChildKind, ChildSpec, MailboxStats, Order, OrderKind, Placement, Slot,
        Supervised, SupervisionSettings, Tree,
    },
};
use bifrost_model::{TagClass, Timestamp};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use nats::{HeaderMap, jetstream::context::ContextBuilder};
use serde_json::json;
use tokio::sync::Notify;

type Failure = Box<dyn Error>;

const SUBJECT: &str = "bifrost.telemetry.rate.press-1";
const STREAM: &str = "BIFROST_rate";

/// One run's figures.
#[derive(Debug, Clone, Copy)]
struct Run {
    per_second: f64,
    cpu_us: f64,
}

struct Arguments {
    url: String,
    count: usize,
    window: usize,
    rounds: usize,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise: usize| {
        arguments.get(index).map_or(Ok(otherwise), |text| text.parse::<usize>())
    };
    let url = arguments.first().ok_or("usage: nats_rate URL [COUNT [WINDOW [ROUNDS]]]")?.clone();
    let arguments =
        Arguments { url, count: number(1, 300_000)?, window: number(2, 256)?, rounds: number(3, 5)? };
    let (mut alone, mut session) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        let with = measured(arguments.count, || run_session(&arguments, round))?;
        let without = measured(arguments.count, || run_alone(&arguments, round))?;
        println!("{}", json!({"round": round, "session": with.per_second, "alone": without.per_second}));
        session.push(with);
        alone.push(without);
    }
    let (session, alone) = (median(session), median(alone));
    let ratio = session.per_second / alone.per_second;
    println!("session {:.0}/s, {:.2} us of CPU a message", session.per_second, session.cpu_us);
    println!("alone   {:.0}/s, {:.2} us of CPU a message", alone.per_second, alone.cpu_us);
    println!("ratio   {ratio:.2}");
    Ok(())
}

fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    runs.get(runs.len() / 2).copied().unwrap_or(Run { per_second: 0.0, cpu_us: 0.0 })
}

/// Ticks of 10 ms that this process has used.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn measured(count: usize, run: impl FnOnce() -> Result<Duration, Failure>) -> Result<Run, Failure> {
    let before = cpu();
    let took = run()?;
    #[expect(clippy::cast_precision_loss, reason = "counts of messages are small")]
    let count = count as f64;
    Ok(Run { per_second: count / took.as_secs_f64(), cpu_us: (cpu() - before) * 1e6 / count })
}

/// About 150 bytes, as one tag's message has without its description.
fn payload(seq: usize) -> Bytes {
    Bytes::from(format!(
        r#"{{"id":"temperature","device_id":"press-1","data_type":"float32","value":25.4,"quality":"GOOD","timestamp":"2026-01-31T12:00:00.123456Z","seq":{seq}}}"#
    ))
}

fn run_alone(arguments: &Arguments, round: usize) -> Result<Duration, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = nats::connect(&arguments.url).await?;
        let context = ContextBuilder::new().max_ack_inflight(2 * arguments.window).build(client);
        context.get_stream(STREAM).await?.purge().await?;
        let began = Instant::now();
        let mut unacknowledged = FuturesUnordered::new();
        for seq in 0..arguments.count {
            if unacknowledged.len() >= arguments.window
                && let Some(acknowledged) = unacknowledged.next().await
            {
                let _: nats::jetstream::publish::PublishAck = acknowledged?;
            }
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("alone-{round}-{seq}"));
            let published = context.publish_with_headers(SUBJECT, headers, payload(seq)).await?;
            unacknowledged.push(published.into_future());
        }
        while let Some(acknowledged) = unacknowledged.next().await {
            acknowledged?;
        }
        Ok(began.elapsed())
    })
}

fn run_session(arguments: &Arguments, round: usize) -> Result<Duration, Failure> {
    let settings: NatsSettings = serde_json::from_value(json!({
        "servers": [arguments.url], "window": arguments.window, "jetstream": {"enabled": true},
    }))?;
    actix::System::new().block_on(async {
        let arbiters = Arbiters::start(0).with_brokers(1);
        let tree = Tree::new(SupervisionSettings::default(), arbiters, Box::new(|_| {})).start();
        let feed = Feed {
            ports: Slot::empty(),
            round,
            count: arguments.count,
            settled: Arc::default(),
            done: Arc::default(),
            begin: Arc::default(),
        };
        for spec in [feed_spec(feed.clone()), spec(parts(settings, &feed), Placement::Broker(0))] {
            tree.send(AddChild { parent: "/".to_owned(), spec }).await??;
        }
        purge(&arguments.url).await?;
        let began = Instant::now();
        feed.begin.notify_one();
        feed.done.notified().await;
        let took = began.elapsed();
        tree.send(Order { path: "/".to_owned(), kind: OrderKind::Stop }).await??;
        Ok(took)
    })
}

async fn purge(url: &str) -> Result<(), Failure> {
    let context = nats::jetstream::new(nats::connect(url).await?);
    context.get_stream(STREAM).await?.purge().await?;
    Ok(())
}

fn parts(settings: NatsSettings, feed: &Feed) -> Parts {
    let answering: Answering = Arc::new(|_| Box::pin(async { Reply { payload: Bytes::new(), error: None } }));
    let identity = Identity { gateway_id: "gw".into(), site_id: "rate".into(), hostname: "host".into() };
    Parts {
        name: "nats".into(),
        settings: Arc::new(settings),
        identity,
        spool: feed.ports.clone(),
        answering,
        routes: Arc::new(NoCommands),
        status: Arc::new(|_| message("bifrost.events.rate.status", "{}".into(), 0, 0)),
        stream_subjects: vec!["bifrost.telemetry.rate.*".to_owned()],
        events: EventSink::new(Slot::empty()),
    }
}

struct NoCommands;

impl CommandRoutes for NoCommands {
    fn subscriptions(&self) -> Vec<String> {
        Vec::new()
    }

    fn command(&self, _: &str) -> Option<(Option<String>, String)> {
        None
    }
}

fn message(topic: &str, payload: Bytes, round: usize, seq: usize) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        payload,
        kind: Kind::Telemetry,
        class: TagClass::Telemetry,
        retain: false,
        device: format!("press-1-{round}").into(),
        seq: seq as u64 + 1,
        values: 1,
        part: "temperature".into(),
        made: Timestamp::now(),
        historical: false,
    }
}

/// Stands for the spool: keeps the session's window full.
#[derive(Clone)]
struct Feed {
    ports: Slot<SpoolPorts>,
    round: usize,
    count: usize,
    settled: Arc<AtomicUsize>,
    done: Arc<Notify>,
    begin: Arc<Notify>,
}

struct FeedActor {
    feed: Feed,
    session: Option<(Recipient<Deliver>, usize)>,
    begun: bool,
    next: usize,
    out: usize,
    again: Cell<usize>,
    _place: bifrost_actors::supervision::Tenancy<SpoolPorts>,
}

fn feed_spec(feed: Feed) -> ChildSpec {
    ChildSpec {
        name: "feed".to_owned(),
        kind: ChildKind::Spool,
        placement: Placement::Broker(0),
        mailbox: MailboxStats::new(64),
        factory: Box::new(move |_| {
            let feed = feed.clone();
            Box::pin(async move {
                Ok(Child::new(64, |ctx: &mut Context<FeedActor>| {
                    let (attach, detach, settled) =
                        (ctx.address().recipient(), ctx.address().recipient(), ctx.address().recipient());
                    let place = feed.ports.set(SpoolPorts { attach, detach, settled });
                    let (session, again) = (None, Cell::new(0));
                    FeedActor { feed, session, begun: false, next: 0, out: 0, again, _place: place }
                }))
            })
        }),
    }
}

impl FeedActor {
    fn pump(&mut self) {
        let Some((to, window)) = &self.session else { return };
        if !self.begun {
            return;
        }
        let room = (window - self.out).min(self.feed.count - self.next);
        let fresh = self.next..self.next + room;
        let batch =
            fresh.map(|seq| (seq as u64, Arc::new(message(SUBJECT, payload(seq), self.feed.round, seq))));
        let batch: Vec<_> = batch.collect();
        self.next += room;
        self.out += room;
        if !batch.is_empty() {
            to.do_send(Deliver(batch));
        }
    }
}

impl Actor for FeedActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        use actix::{ActorFutureExt, WrapFuture};
        let begin = Arc::clone(&self.feed.begin);
        let start = async move { begin.notified().await };
        ctx.spawn(start.into_actor(self).map(|(), actor, _| {
            actor.begun = true;
            actor.pump();
        }));
    }
}

impl Handler<Attach> for FeedActor {
    type Result = ();

    fn handle(&mut self, attach: Attach, _: &mut Self::Context) {
        self.session = Some((attach.to, attach.window));
        self.pump();
    }
}

impl Handler<Detach> for FeedActor {
    type Result = ();

    fn handle(&mut self, _: Detach, _: &mut Self::Context) {
        self.session = None;
    }
}

impl Handler<Settled> for FeedActor {
    type Result = ();

    fn handle(&mut self, settled: Settled, _: &mut Self::Context) {
        let lost = settled.outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Delivered).count();
        self.again.set(self.again.get() + lost);
        self.out -= settled.outcomes.len();
        let all =
            self.feed.settled.fetch_add(settled.outcomes.len(), Ordering::Relaxed) + settled.outcomes.len();
        if all >= self.feed.count {
            self.feed.done.notify_one();
        }
        self.pump();
    }
}

impl Supervised for FeedActor {
    fn observe(&self) -> serde_json::Value {
        json!({ "out": self.out, "not_delivered": self.again.get() })
    }
}

supervised!(FeedActor);
