//! The router's handlers.

use std::{collections::HashMap, sync::Arc};

use actix::{Actor, AsyncContext, Context, Handler, Recipient, dev::SendError};
use bifrost_model::{Alarm, TagBatch};
use serde_json::json;

use super::{
    alarms::Alarms,
    events::Events,
    last_values::LastValues,
    messages::{
        AcknowledgeAlarm, Filter, ForgetDevice, LastTag, ListAlarms, ListEvents, News, Numbered, Publish,
        ReadLast, RecordEvent, RegisterDevice, ReportStatus, SetAlarm, Subscribe, SubscriberId, Unknown,
        Unsubscribe,
    },
    sink::RouterPorts,
};
use crate::{
    gateway::LimitSettings,
    metrics::Metrics,
    plc::DeviceStatus,
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
    pub(crate) devices: Arc<dyn Fn() -> Vec<Arc<bifrost_model::DeviceTags>> + Send + Sync>,
}

/// How to build the router.
pub(crate) fn spec(parts: Parts) -> ChildSpec {
    let mailbox = MailboxStats::new(parts.limits.router_mailbox);
    ChildSpec {
        name: "router".to_owned(),
        kind: ChildKind::Router,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| {
            let (parts, mailbox) = (parts.clone(), Arc::clone(&mailbox));
            Box::pin(async move {
                Ok(Child::new(mailbox.capacity(), |ctx| {
                    let address = parts.address.set(ports(ctx, &mailbox));
                    Router::new(parts, mailbox, address)
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
        alarms: Port::new(router.clone().recipient(), Arc::clone(mailbox)),
        register: router.clone().recipient(),
        forget: router.clone().recipient(),
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
    last: LastValues,
    statuses: HashMap<Arc<str>, Arc<DeviceStatus>>,
    events: Events,
    alarms: Alarms,
    subscribers: HashMap<SubscriberId, Subscriber>,
    scans: u64,
    values: u64,
}

impl Router {
    fn new(parts: Parts, mailbox: Arc<MailboxStats>, address: Tenancy<RouterPorts>) -> Self {
        let mut last = LastValues::default();
        for tags in (parts.devices)() {
            last.register(tags);
        }
        let (events, alarms) = (Events::new(parts.limits.events), Alarms::new(parts.limits.cleared_alarms));
        Self {
            parts,
            _address: address,
            mailbox,
            last,
            statuses: HashMap::new(),
            events,
            alarms,
            subscribers: HashMap::new(),
            scans: 0,
            values: 0,
        }
    }

    /// Hands news to every subscriber whose filter it passes; drops subscribers that are gone.
    fn tell(&mut self, news: &News, passes: impl Fn(&Filter) -> bool) {
        let metrics = &self.parts.metrics;
        self.subscribers.retain(|_, subscriber| {
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
        if filter.topics.device_status {
            let statuses = self.statuses.values().filter(|status| filter.passes_device(&status.device_id));
            news.extend(statuses.cloned().map(News::Status));
        }
        if filter.topics.alarms {
            let alarms = self.alarms.active().filter(|alarm| filter.passes_device(&alarm.device_id));
            news.extend(alarms.cloned().map(News::Alarm));
        }
        if filter.topics.device_data {
            news.extend(self.last.snapshot(filter).into_iter().map(News::LastKnown));
        }
        news
    }
}

impl Actor for Router {
    type Context = Context<Self>;
}

impl Handler<Publish> for Router {
    type Result = ();

    fn handle(&mut self, Publish(batch): Publish, _: &mut Self::Context) {
        self.mailbox.taken();
        if self.last.take(&batch) {
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
        self.statuses.insert(Arc::clone(&device), Arc::clone(&status));
        let passes = |filter: &Filter| filter.topics.device_status && filter.passes_device(&device);
        self.tell(&News::Status(status), passes);
    }
}

impl Handler<RecordEvent> for Router {
    type Result = ();

    fn handle(&mut self, RecordEvent(event): RecordEvent, _: &mut Self::Context) {
        self.mailbox.taken();
        let event = self.events.add(event);
        let device = Arc::clone(&event.device_id);
        self.tell(&News::Event(event), |filter| filter.topics.events && filter.passes_device(&device));
    }
}

impl Handler<SetAlarm> for Router {
    type Result = ();

    fn handle(&mut self, SetAlarm(alarm): SetAlarm, _: &mut Self::Context) {
        self.mailbox.taken();
        if let Some(alarm) = self.alarms.set(alarm) {
            self.tell_alarm(alarm);
        }
    }
}

impl Handler<AcknowledgeAlarm> for Router {
    type Result = bool;

    fn handle(&mut self, AcknowledgeAlarm(id): AcknowledgeAlarm, _: &mut Self::Context) -> bool {
        let alarm = self.alarms.acknowledge(&id);
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
        self.last.register(tags);
    }
}

impl Handler<ForgetDevice> for Router {
    type Result = ();

    fn handle(&mut self, ForgetDevice(id): ForgetDevice, _: &mut Self::Context) {
        self.last.forget(&id);
        self.statuses.remove(&id);
    }
}

impl Handler<ReadLast> for Router {
    type Result = Result<Vec<LastTag>, Unknown>;

    fn handle(&mut self, wanted: ReadLast, _: &mut Self::Context) -> Self::Result {
        self.last.read(&wanted.device_id, wanted.tag_ids.as_deref())
    }
}

impl Handler<ListEvents> for Router {
    type Result = Vec<Numbered<bifrost_model::Event>>;

    fn handle(&mut self, wanted: ListEvents, _: &mut Self::Context) -> Self::Result {
        self.events.list(&wanted)
    }
}

impl Handler<ListAlarms> for Router {
    type Result = Vec<Arc<Alarm>>;

    fn handle(&mut self, wanted: ListAlarms, _: &mut Self::Context) -> Self::Result {
        self.alarms.list(wanted.active_only)
    }
}

impl Handler<Subscribe> for Router {
    type Result = Vec<News>;

    fn handle(&mut self, wanted: Subscribe, _: &mut Self::Context) -> Self::Result {
        let start = self.start_for(&wanted.filter);
        let subscriber = Subscriber { to: wanted.to, filter: wanted.filter, missed: 0 };
        self.subscribers.insert(wanted.id, subscriber);
        start
    }
}

impl Handler<Unsubscribe> for Router {
    type Result = ();

    fn handle(&mut self, Unsubscribe(id): Unsubscribe, _: &mut Self::Context) {
        self.subscribers.remove(&id);
    }
}

impl Supervised for Router {
    fn observe(&self) -> serde_json::Value {
        let (devices, tags) = self.last.counts();
        let missed: u64 = self.subscribers.values().map(|subscriber| subscriber.missed).sum();
        json!({
            "devices": devices,
            "tags": tags,
            "scans": self.scans,
            "values": self.values,
            "subscribers": self.subscribers.len(),
            "missed_by_subscribers": missed,
            "events": self.events.len(),
        })
    }
}

supervised!(Router);
