//! A device's actor: lifecycle, schedule and messages. What follows from a scan is in [`super::scan`].

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture, WrapFuture,
};
use bifrost_drivers::{
    DeviceError, Driver,
    modbus::{ModbusDriver, Point},
};
use bifrost_model::{Event, Quality, Reading, Reason, Severity, Timestamp, Value};
use bifrost_security::audit::AuditSink;
use serde_json::json;
use tokio::time::Instant;

use super::{
    commands::Desk,
    compile::CompiledDevice,
    messages::{
        DeviceObservation, DevicePorts, DeviceState, DeviceStatus, ForgetLearned, ObserveDevice,
        PointReading, ReadPoint, ReadTags,
    },
    quality::TagState,
    scan::with_role,
    schedule::{Pause, Phases, Rhythm},
    settings::DeviceSettings,
    stats::Counters,
    turns::Turns,
};
use crate::{
    commands::LedgerPorts,
    gateway::LimitSettings,
    link::{LinkClient, LinkLine, Traffic},
    metrics::{DeviceMetrics, Metrics},
    router::{EventSink, LastTag, RouterPorts},
    sequence::{Block, Extend, Open, SequencePorts},
    supervised,
    supervision::{Birth, Child, ChildKind, ChildSpec, MailboxStats, Placement, Slot, Supervised, Tenancy},
};

/// Pause between attempts to reserve numbers on a disk that doesn't take them.
const EXTEND_PAUSE: Duration = Duration::from_secs(5);

/// What all devices share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) router: Slot<RouterPorts>,
    pub(crate) sequence: Slot<SequencePorts>,
    /// Where command ids are noted that must survive.
    pub(crate) ledger: Slot<LedgerPorts>,
    pub(crate) events: EventSink,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phases: Arc<Phases>,
    pub(crate) limits: LimitSettings,
    pub(crate) audit: Arc<dyn AuditSink>,
    /// Whether a write waits until it is on record.
    pub(crate) record_writes_first: bool,
}

/// Builds a driver on the device's own thread; tests put in drivers of their own.
pub(crate) type MakeDriver = dyn Fn(&Parts, Rc<Traffic>) -> Rc<dyn Driver> + Send + Sync;

/// What every incarnation of one device's actor needs.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) settings: Arc<DeviceSettings>,
    pub(crate) device: Arc<CompiledDevice>,
    pub(crate) line: Arc<LinkLine>,
    pub(crate) address: Slot<DevicePorts>,
    pub(crate) shared: Shared,
    pub(crate) driver: Arc<MakeDriver>,
    /// Where in its period each group is read, from 0 to 1: the same for every incarnation.
    pub(crate) phases: Arc<[f64]>,
}

/// A Modbus driver over the device's link.
pub(crate) fn modbus(parts: &Parts, traffic: Rc<Traffic>) -> Rc<dyn Driver> {
    Rc::new(driver_for(parts, Arc::clone(&parts.device.points), traffic))
}

fn driver_for(parts: &Parts, points: Arc<[Point]>, traffic: Rc<Traffic>) -> ModbusDriver<LinkClient> {
    let settings = &parts.settings;
    let link = LinkClient::new(Arc::clone(&parts.line), settings.timeout, settings.late_reply_wait, traffic);
    ModbusDriver::new(link, parts.device.unit, points, parts.device.driver.clone())
}

/// How to build a device's actor.
pub(crate) fn spec(parts: Parts, placement: Placement) -> ChildSpec {
    let mailbox = MailboxStats::new(parts.shared.limits.device_mailbox);
    let capacity = mailbox.capacity();
    ChildSpec {
        name: parts.settings.id.clone(),
        kind: ChildKind::PlcConnection,
        placement,
        mailbox,
        factory: Box::new(move |birth| Box::pin(build(parts.clone(), birth, capacity))),
    }
}

async fn build(parts: Parts, _: Birth, capacity: usize) -> Result<Child, String> {
    let sequence = parts.shared.sequence.get().ok_or("the sequence store isn't there yet")?;
    let opened = sequence.open.send(Open(Arc::clone(parts.device.tags.device_id()))).await;
    let block = opened.map_err(|error| error.to_string())??;
    Ok(Child::new(capacity, |ctx| {
        let address = parts.address.set(DevicePorts {
            write: ctx.address().recipient(),
            read: ctx.address().recipient(),
            read_point: ctx.address().recipient(),
            observe: ctx.address().recipient(),
            forget: ctx.address().recipient(),
        });
        PlcConnection::new(parts, block, address)
    }))
}

struct GroupRun {
    tags: Arc<[u32]>,
    rhythm: Rhythm,
    due: Instant,
    running: bool,
}

pub(super) struct PlcConnection {
    pub(super) parts: Parts,
    address: Tenancy<DevicePorts>,
    pub(super) metrics: DeviceMetrics,
    pub(super) states: Vec<TagState>,
    pub(super) status: DeviceStatus,
    /// Whether the router has taken it.
    pub(super) status_told: bool,
    pub(super) counters: Counters,
    pub(super) pause: Pause,
    /// Why it pauses.
    pub(super) left_alone_for: DeviceError,
    pub(super) traffic: Rc<Traffic>,
    /// The device's last answer when a scan was last judged.
    pub(super) last_answer_seen: Option<Instant>,
    pub(super) driver: Rc<dyn Driver>,
    groups: Vec<GroupRun>,
    block: Block,
    extending: bool,
    /// Since numbers couldn't be reserved: when to ask again.
    extend_after: Option<Instant>,
    pub(super) desk: Rc<RefCell<Desk>>,
    /// Writes go one after the other, in the order they came.
    pub(super) turns: Turns,
}

impl PlcConnection {
    fn new(parts: Parts, block: Block, address: Tenancy<DevicePorts>) -> Self {
        let id = Arc::clone(parts.device.tags.device_id());
        let metrics = parts.shared.metrics.device(&id, parts.settings.protocol.as_str());
        let traffic = Rc::new(Traffic::new(metrics.response_time.clone()));
        let driver = (parts.driver)(&parts, Rc::clone(&traffic));
        let (now, zero) = (Instant::now(), parts.shared.phases.zero());
        let groups = parts.device.groups.iter().zip(parts.phases.iter()).map(|(group, phase)| {
            let rhythm = Rhythm::new(now, group.period, *phase, zero);
            GroupRun { tags: Arc::clone(&group.tags), rhythm, due: rhythm.first(), running: false }
        });
        let limits = &parts.shared.limits;
        let status = DeviceStatus {
            device_id: id,
            connected: false,
            state: DeviceState::Starting,
            last_seen: None,
            last_error: None,
            since: Timestamp::now(),
        };
        Self {
            states: vec![TagState::default(); parts.device.points.len()],
            pause: Pause::new(parts.settings.timeout, parts.settings.retry_max),
            left_alone_for: DeviceError::Timeout(parts.settings.timeout),
            groups: groups.collect(),
            desk: Rc::new(RefCell::new(Desk::new(limits.command_ids, limits.device_writes))),
            turns: Turns::default(),
            counters: Counters::default(),
            extending: false,
            extend_after: None,
            last_answer_seen: None,
            parts,
            address,
            metrics,
            status,
            status_told: false,
            driver,
            traffic,
            block,
        }
    }

    pub(super) fn id(&self) -> &str {
        self.parts.device.tags.device_id()
    }

    fn schedule(&self, group: usize, ctx: &mut Context<Self>) {
        if let Some(run) = self.groups.get(group) {
            let wait = run.due.saturating_duration_since(Instant::now());
            ctx.run_later(wait, move |actor, ctx| actor.on_due(group, ctx));
        }
    }

    /// A group's time has come: read it, or count why not; and in any case wait for its next time.
    fn on_due(&mut self, group: usize, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let Some(run) = self.groups.get_mut(group) else { return };
        let delay = now.saturating_duration_since(run.due);
        let (next, missed) = run.rhythm.after(run.due, now);
        run.due = next;
        let running = run.running;
        self.count_overruns(missed);
        if running {
            self.count_overruns(1);
            self.notice_stall(now);
        } else if self.pause.holds(now) {
            self.age(group);
        } else {
            self.note_delay(delay);
            self.scan(group, ctx);
        }
        self.schedule(group, ctx);
    }

    fn count_overruns(&mut self, count: u64) {
        self.counters.overruns += count;
        self.metrics.overruns.inc_by(count);
    }

    fn note_delay(&mut self, delay: Duration) {
        self.counters.last_delay = delay;
        self.counters.max_delay = self.counters.max_delay.max(delay);
        self.parts.shared.metrics.scan_delay.observe(delay.as_secs_f64());
    }

    /// A scan that waits and waits must not leave the device looking well.
    fn notice_stall(&mut self, now: Instant) {
        let limit = self.parts.device.rules.first_stale();
        let silent = self.traffic.last_answer.get().zip(limit).filter(|(last, limit)| now > *last + *limit);
        if let Some((last, _)) = silent {
            let age = now.duration_since(last);
            self.enter(DeviceState::Offline, Some(format!("no answer for {:.1} s", age.as_secs_f64())));
        }
    }

    fn scan(&mut self, group: usize, ctx: &mut Context<Self>) {
        let Some(run) = self.groups.get_mut(group) else { return };
        run.running = true;
        let (driver, tags) = (Rc::clone(&self.driver), Arc::clone(&run.tags));
        let scan = async move {
            let mut read = Vec::with_capacity(tags.len());
            let outcome = driver.read(&tags, &mut read).await;
            (outcome, read)
        };
        ctx.spawn(scan.into_actor(self).map(move |(outcome, read), actor, ctx| {
            if let Some(run) = actor.groups.get_mut(group) {
                run.running = false;
            }
            actor.take_scan(group, &outcome, read);
            actor.extend_numbers(ctx);
            actor.retry_early(group, outcome.is_err(), ctx);
        }));
    }

    /// A group that is read seldom isn't left for its whole period after a failure.
    fn retry_early(&mut self, group: usize, failed: bool, ctx: &mut Context<Self>) {
        let soon = Instant::now() + self.parts.settings.retry_max;
        let Some(run) = self.groups.get(group) else { return };
        if failed && run.due > soon + self.parts.settings.retry_max {
            ctx.run_later(self.parts.settings.retry_max, move |actor, ctx| {
                if actor.groups.get(group).is_some_and(|run| !run.running) {
                    actor.scan(group, ctx);
                }
            });
        }
    }

    /// The next sequence number, if one is reserved.
    pub(super) fn take_number(&mut self) -> Option<u64> {
        self.block.take()
    }

    /// Asks for more numbers while there are still some.
    fn extend_numbers(&mut self, ctx: &mut Context<Self>) {
        let wait = self.extend_after.is_some_and(|after| Instant::now() < after);
        if self.extending || wait || self.block.left() > self.parts.shared.limits.sequence_block / 2 {
            return;
        }
        let Some(sequence) = self.parts.shared.sequence.get() else { return };
        self.extending = true;
        let more = sequence.extend.send(Extend(Arc::clone(self.parts.device.tags.device_id())));
        ctx.spawn(more.into_actor(self).map(|answer, actor, _| {
            actor.extending = false;
            let alarm = format!("sequence/{}", actor.id());
            let events = &actor.parts.shared.events;
            match answer.map_err(|error| error.to_string()).and_then(|answer| answer) {
                Ok(end) => {
                    actor.block.end = actor.block.end.max(end);
                    if actor.extend_after.take().is_none() {
                        return;
                    }
                    events.clear(&alarm, "sequence_numbers", actor.id(), "sequence numbers can be reserved");
                }
                Err(error) => {
                    // A disk that is full isn't asked at every scan.
                    if actor.extend_after.replace(Instant::now() + EXTEND_PAUSE).is_some() {
                        return;
                    }
                    let message = format!("no more sequence numbers can be reserved: {error}");
                    events.raise(&alarm, "sequence_numbers", Severity::Critical, actor.id(), &message);
                }
            }
        }));
    }

    fn tell_skipped(&mut self) {
        let Some(skipped) = self.block.skipped.take() else { return };
        let (from, to, exact) = (skipped.from, skipped.to, skipped.exact);
        let message = if exact {
            format!(
                "sequence numbers {from} to {to} were reserved and never used: the gateway had ended unasked"
            )
        } else {
            format!(
                "sequence numbers {from} to {to} were reserved; after the machine's crash it isn't certain which of the first were used, none will be used again"
            )
        };
        let event = Event::new(self.id(), "seq_skipped", Severity::Warning, message);
        self.parts.shared.events.record(event.with(json!({ "from": from, "to": to, "exact": exact })));
    }

    fn observation(&self) -> DeviceObservation {
        DeviceObservation {
            status: self.status.clone(),
            stats: self.counters.stats(&self.traffic),
            learned: self.driver.learned(),
            next_seq: Some(self.block.next()),
            writes_pending: self.desk.borrow().pending(),
        }
    }
}

impl Actor for PlcConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tell_skipped();
        self.report_status();
        for group in 0..self.groups.len() {
            self.schedule(group, ctx);
        }
    }
}

impl Drop for PlcConnection {
    fn drop(&mut self) {
        // One that was written off must not speak for its successor.
        if self.address.is_current() {
            self.metrics.connected.set(0);
        }
    }
}

impl Supervised for PlcConnection {
    fn observe(&self) -> serde_json::Value {
        serde_json::to_value(self.observation()).unwrap_or_default()
    }

    /// The last thing said of a device that is no longer polled is that its values are no longer confirmed.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        use actix::ActorContext;
        let last = (0..).zip(&mut self.states).filter_map(|(tag, state)| state.stopped(tag)).collect();
        self.publish(last);
        self.status.connected = false;
        (self.status.state, self.status.last_error) = (DeviceState::Offline, Some("stopped".to_owned()));
        self.report_status();
        ctx.stop();
    }
}

supervised!(PlcConnection);

impl Handler<ObserveDevice> for PlcConnection {
    type Result = MessageResult<ObserveDevice>;

    fn handle(&mut self, _: ObserveDevice, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.observation())
    }
}

impl Handler<ForgetLearned> for PlcConnection {
    type Result = ();

    fn handle(&mut self, _: ForgetLearned, _: &mut Self::Context) {
        self.driver.forget();
        self.pause.reset();
    }
}

impl Handler<ReadTags> for PlcConnection {
    type Result = ResponseFuture<Result<Vec<LastTag>, DeviceError>>;

    fn handle(&mut self, ReadTags(tags): ReadTags, _: &mut Self::Context) -> Self::Result {
        let (driver, device) = (Rc::clone(&self.driver), Arc::clone(&self.parts.device.tags));
        let has_role = self.parts.device.link.tls.is_some();
        Box::pin(async move {
            let mut read = Vec::with_capacity(tags.len());
            driver.read(&tags, &mut read).await?;
            let timestamp = Timestamp::now();
            let by_tag: std::collections::HashMap<u32, Reading> =
                read.into_iter().map(|reading| (reading.tag, reading)).collect();
            let in_order = tags.iter().filter_map(|tag| by_tag.get(tag).cloned());
            let joined = in_order.map(|reading| LastTag {
                device: Arc::clone(&device),
                reading: with_role(reading, has_role),
                timestamp,
                seq: None,
            });
            Ok(joined.collect())
        })
    }
}

impl Handler<ReadPoint> for PlcConnection {
    type Result = ResponseFuture<Result<PointReading, DeviceError>>;

    fn handle(&mut self, ReadPoint(point): ReadPoint, _: &mut Self::Context) -> Self::Result {
        let driver = driver_for(&self.parts, [point].into(), Rc::clone(&self.traffic));
        let has_role = self.parts.device.link.tls.is_some();
        Box::pin(async move {
            let mut read = Vec::with_capacity(1);
            driver.read(&[0], &mut read).await?;
            let unread =
                Reading { tag: 0, quality: Quality::Bad, reason: Reason::Timeout, value: Value::Null };
            let reading = with_role(read.pop().unwrap_or(unread), has_role);
            Ok(PointReading { reading, timestamp: Timestamp::now() })
        })
    }
}
