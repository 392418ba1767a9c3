//! The router's handlers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use actix::{Actor, AsyncContext, Context, Handler, Recipient, dev::SendError};
use bifrost_model::{Alarm, DeviceTags, TagBatch, Timestamp};
use serde_json::json;

use super::{
    alarms::Alarms,
    events::Events,
    last_values::LastValues,
    messages::{
        AcknowledgeAlarm, Filter, ForgetDevice, LastTag, ListAlarms, ListEvents, LoseDevice, News, Numbered,
        Publish, ReadLast, RecordEvent, RegisterDevice, ReportStatus, SetAlarm, Subscribe, SubscriberId,
        Unknown, Unsubscribe,
    },
    sink::RouterPorts,
};
use crate::{
    gateway::LimitSettings,
    metrics::Metrics,
    plc::{DeviceState, DeviceStatus},
    supervised,
    supervision::{Child, ChildKind, ChildSpec, MailboxStats, Placement, Port, Slot, Supervised, Tenancy},
};

/// What every incarnation of the router needs.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) address: Slot<RouterPorts>,
    pub(crate) limits: LimitSettings,
    pub(crate) metrics: Arc<Metrics>,
    /// Devices that exist, to begin with after a rebuild.
    pub(crate) devices: Arc<dyn Fn() -> Vec<Arc<DeviceTags>> + Send + Sync>,
}

/// How to build the router.
pub(crate) fn spec(parts: Parts) -> ChildSpec {
    let mailbox = MailboxStats::new(parts.limits.router_mailbox);
    let legacy = Legacy::default();
    ChildSpec {
        name: "router".to_owned(),
        kind: ChildKind::Router,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| {
            let (parts, mailbox, legacy) = (parts.clone(), Arc::clone(&mailbox), Arc::clone(&legacy));
            Box::pin(async move {
                Ok(Child::new(mailbox.capacity(), |ctx| {
                    let address = parts.address.set(ports(ctx, &mailbox));
                    Router::new(parts, mailbox, address, legacy)
                }))
            })
        }),
    }
}

fn ports(ctx: &Context<Router>, mailbox: &Arc<MailboxStats>) -> RouterPorts {
    let router = ctx.address();
    RouterPorts {
        publish: Port::new(router.clone().recipient(), Arc::clone(mailbox)),
        status: Port::new(router.clone().recipient(), Arc::clone(mailbox)),
        events: Port::new(router.clone().recipient(), Arc::clone(mailbox)),
        alarms: router.clone().recipient(),
        register: router.clone().recipient(),
        forget: router.clone().recipient(),
        lose: router.clone().recipient(),
        read_last: router.clone().recipient(),
        list_events: router.clone().recipient(),
        list_alarms: router.clone().recipient(),
        acknowledge: router.clone().recipient(),
        subscribe: router.clone().recipient(),
        unsubscribe: router.recipient(),
    }
}

struct Subscriber {
    to: Recipient<News>,
    filter: Filter,
    missed: u64,
}

struct Router {
    parts: Parts,
    _address: Tenancy<RouterPorts>,
    mailbox: Arc<MailboxStats>,
    memory: Memory,
    legacy: Legacy,
    scans: u64,
    values: u64,
}

/// What a rebuilt router must know, since nobody tells it again: a tag within its deadband isn't published,
/// a status is told when it changes, and an alarm when it comes. Subscribers come again, but later than news.
struct Memory {
    last: LastValues,
    statuses: HashMap<Arc<str>, Arc<DeviceStatus>>,
    events: Events,
    alarms: Alarms,
    subscribers: HashMap<SubscriberId, Subscriber>,
}

/// Where an incarnation leaves its memory to the next.
type Legacy = Arc<Mutex<Option<Memory>>>;

impl Memory {
    fn new(limits: &LimitSettings) -> Self {
        let (events, alarms) = (Events::new(limits.events), Alarms::new(limits.cleared_alarms));
        let (statuses, subscribers) = (HashMap::new(), HashMap::new());
        Self { last: LastValues::default(), statuses, events, alarms, subscribers }
    }

    /// Devices may have come, changed or gone while there was no router.
    fn catch_up(&mut self, devices: Vec<Arc<DeviceTags>>) {
        let exists = |id: &Arc<str>| devices.iter().any(|tags| tags.device_id() == id);
        self.statuses.retain(|id, _| exists(id));
        self.last.retain(exists);
        for tags in devices {
            self.last.register(tags);
        }
    }
}

impl Router {
    fn new(parts: Parts, mailbox: Arc<MailboxStats>, address: Tenancy<RouterPorts>, legacy: Legacy) -> Self {
        let left = legacy.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut memory = left.unwrap_or_else(|| Memory::new(&parts.limits));
        memory.catch_up((parts.devices)());
        Self { parts, _address: address, mailbox, memory, legacy, scans: 0, values: 0 }
    }

    /// Hands news to every subscriber whose filter it passes; drops subscribers that are gone.
    fn tell(&mut self, news: &News, passes: impl Fn(&Filter) -> bool) {
        let metrics = &self.parts.metrics;
        self.memory.subscribers.retain(|_, subscriber| {
            if !passes(&subscriber.filter) {
                return true;
            }
            if subscriber.missed > 0 && subscriber.to.try_send(News::Missed(subscriber.missed)).is_ok() {
                subscriber.missed = 0;
            }
            match subscriber.to.try_send(news.clone()) {
                Ok(()) => true,
                Err(SendError::Full(_)) => {
                    subscriber.missed += 1;
                    metrics.subscriber_drops.inc();
                    true
                }
                Err(SendError::Closed(_)) => false,
            }
        });
    }

    fn tell_scan(&mut self, batch: Arc<TagBatch>) {
        let device = Arc::clone(batch.device.device_id());
        self.tell(&News::Scan(batch), |filter| filter.topics.device_data && filter.passes_device(&device));
    }

    fn tell_alarm(&mut self, alarm: Arc<Alarm>) {
        let device = Arc::clone(&alarm.device_id);
        self.tell(&News::Alarm(alarm), |filter| filter.topics.alarms && filter.passes_device(&device));
    }

    fn start_for(&self, filter: &Filter) -> Vec<News> {
        let mut news = Vec::new();
        if filter.topics.descriptions {
            news.extend(self.memory.last.devices().map(News::Described));
        }
        if filter.topics.device_status {
            let statuses =
                self.memory.statuses.values().filter(|status| filter.passes_device(&status.device_id));
            news.extend(statuses.cloned().map(News::Status));
        }
        if filter.topics.alarms {
            let alarms = self.memory.alarms.active().filter(|alarm| filter.passes_device(&alarm.device_id));
            news.extend(alarms.cloned().map(News::Alarm));
        }
        if filter.topics.device_data && !filter.news_only {
            news.extend(self.memory.last.snapshot(filter).into_iter().map(News::LastKnown));
        }
        news
    }
}

impl Actor for Router {
    type Context = Context<Self>;
}

impl Drop for Router {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory::new(&self.parts.limits));
        *self.legacy.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory);
    }
}

impl Handler<Publish> for Router {
    type Result = ();

    fn handle(&mut self, Publish(batch): Publish, _: &mut Self::Context) {
        self.mailbox.taken();
        if self.memory.last.take(&batch) {
            self.scans += 1;
            self.values += batch.readings.len() as u64;
            self.tell_scan(batch);
        }
    }
}

impl Handler<ReportStatus> for Router {
    type Result = ();

    fn handle(&mut self, ReportStatus(status): ReportStatus, _: &mut Self::Context) {
        self.mailbox.taken();
        let device = Arc::clone(&status.device_id);
        self.memory.statuses.insert(Arc::clone(&device), Arc::clone(&status));
        let passes = |filter: &Filter| filter.topics.device_status && filter.passes_device(&device);
        self.tell(&News::Status(status), passes);
    }
}

impl Handler<RecordEvent> for Router {
    type Result = ();

    fn handle(&mut self, RecordEvent(event): RecordEvent, _: &mut Self::Context) {
        self.mailbox.taken();
        let event = self.memory.events.add(event);
        let device = Arc::clone(&event.device_id);
        self.tell(&News::Event(event), |filter| filter.topics.events && filter.passes_device(&device));
    }
}

impl Handler<SetAlarm> for Router {
    type Result = ();

    fn handle(&mut self, SetAlarm(alarm): SetAlarm, _: &mut Self::Context) {
        if let Some(alarm) = self.memory.alarms.set(alarm) {
            self.tell_alarm(alarm);
        }
    }
}

impl Handler<AcknowledgeAlarm> for Router {
    type Result = bool;

    fn handle(&mut self, AcknowledgeAlarm(id): AcknowledgeAlarm, _: &mut Self::Context) -> bool {
        let alarm = self.memory.alarms.acknowledge(&id);
        let found = alarm.is_some();
        if let Some(alarm) = alarm {
            self.tell_alarm(alarm);
        }
        found
    }
}

impl Handler<RegisterDevice> for Router {
    type Result = ();

    fn handle(&mut self, RegisterDevice(tags): RegisterDevice, _: &mut Self::Context) {
        self.memory.last.register(Arc::clone(&tags));
        self.tell(&News::Described(tags), |filter| filter.topics.descriptions);
    }
}

impl Handler<ForgetDevice> for Router {
    type Result = ();

    fn handle(&mut self, ForgetDevice(id): ForgetDevice, _: &mut Self::Context) {
        self.memory.last.forget(&id);
        self.memory.statuses.remove(&id);
        self.tell(&News::Forgotten(id), |filter| filter.topics.descriptions);
    }
}

impl Handler<LoseDevice> for Router {
    type Result = ();

    fn handle(&mut self, LoseDevice(device): LoseDevice, _: &mut Self::Context) {
        let status =
            self.memory.statuses.get_mut(&device).filter(|status| status.state != DeviceState::Offline);
        if let Some(status) = status {
            let last_error = Some("nobody reads it: its actor is stopped or can't be kept alive".to_owned());
            let (connected, state, since) = (false, DeviceState::Offline, Timestamp::now());
            let lost = DeviceStatus { connected, state, last_error, since, ..(**status).clone() };
            *status = Arc::new(lost);
            let news = News::Status(Arc::clone(status));
            self.tell(&news, |filter| filter.topics.device_status && filter.passes_device(&device));
        }
        if let Some(values) = self.memory.last.lose(&device) {
            let passes = |filter: &Filter| filter.topics.device_data && filter.passes_device(&device);
            self.tell(&News::LastKnown(values), passes);
        }
    }
}

impl Handler<ReadLast> for Router {
    type Result = Result<Vec<LastTag>, Unknown>;

    fn handle(&mut self, wanted: ReadLast, _: &mut Self::Context) -> Self::Result {
        self.memory.last.read(&wanted.device_id, wanted.tag_ids.as_deref())
    }
}

impl Handler<ListEvents> for Router {
    type Result = Vec<Numbered<bifrost_model::Event>>;

    fn handle(&mut self, wanted: ListEvents, _: &mut Self::Context) -> Self::Result {
        self.memory.events.list(&wanted)
    }
}

impl Handler<ListAlarms> for Router {
    type Result = Vec<Arc<Alarm>>;

    fn handle(&mut self, wanted: ListAlarms, _: &mut Self::Context) -> Self::Result {
        self.memory.alarms.list(wanted.active_only)
    }
}

impl Handler<Subscribe> for Router {
    type Result = Vec<News>;

    fn handle(&mut self, wanted: Subscribe, _: &mut Self::Context) -> Self::Result {
        let start = self.start_for(&wanted.filter);
        // What it missed since it was last told so isn't forgotten.
        let missed = self.memory.subscribers.get(&wanted.id).map_or(0, |known| known.missed);
        let subscriber = Subscriber { to: wanted.to, filter: wanted.filter, missed };
        self.memory.subscribers.insert(wanted.id, subscriber);
        start
    }
}

impl Handler<Unsubscribe> for Router {
    type Result = ();

    fn handle(&mut self, Unsubscribe(id): Unsubscribe, _: &mut Self::Context) {
        self.memory.subscribers.remove(&id);
    }
}

impl Supervised for Router {
    fn observe(&self) -> serde_json::Value {
        let (devices, tags) = self.memory.last.counts();
        let missed: u64 = self.memory.subscribers.values().map(|subscriber| subscriber.missed).sum();
        json!({
            "devices": devices,
            "tags": tags,
            "scans": self.scans,
            "values": self.values,
            "subscribers": self.memory.subscribers.len(),
            "missed_by_subscribers": missed,
            "events": self.memory.events.len(),
        })
    }
}

supervised!(Router);
