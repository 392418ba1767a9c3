//! How others reach the router.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::Recipient;
use bifrost_model::{Alarm, AlarmState, Event, Severity, Timestamp};

use super::messages::{
    AcknowledgeAlarm, ForgetDevice, ListAlarms, ListEvents, LoseDevice, Publish, ReadLast, RecordEvent,
    RegisterDevice, ReportStatus, SetAlarm, Subscribe, SubscriberId, Unsubscribe,
};
use crate::supervision::{Port, Slot};

/// The router's addresses.
#[derive(Debug, Clone)]
pub struct RouterPorts {
    /// Scans.
    pub publish: Port<Publish>,
    /// Statuses.
    pub status: Port<ReportStatus>,
    /// Events.
    pub events: Port<RecordEvent>,
    /// Alarms.
    pub alarms: Recipient<SetAlarm>,
    /// Devices that come.
    pub register: Recipient<RegisterDevice>,
    /// Devices that go.
    pub forget: Recipient<ForgetDevice>,
    /// Devices that nobody reads any more.
    pub lose: Recipient<LoseDevice>,
    /// Last known values.
    pub read_last: Recipient<ReadLast>,
    /// Recorded events.
    pub list_events: Recipient<ListEvents>,
    /// Alarms.
    pub list_alarms: Recipient<ListAlarms>,
    /// Taking note of alarms.
    pub acknowledge: Recipient<AcknowledgeAlarm>,
    /// Subscribing.
    pub subscribe: Recipient<Subscribe>,
    /// And no more.
    pub unsubscribe: Recipient<Unsubscribe>,
}

/// A number that no other subscriber of this process has.
pub fn next_subscriber_id() -> SubscriberId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Reports events and alarms to whichever router lives, and to the log.
#[derive(Debug, Clone)]
pub struct EventSink {
    router: Slot<RouterPorts>,
    /// Alarms that no router has taken yet.
    waiting: Arc<Mutex<VecDeque<Alarm>>>,
}

/// Most alarms that wait for a router.
const MAX_WAITING: usize = 10_000;

impl EventSink {
    /// Reports to the router in this slot.
    pub fn new(router: Slot<RouterPorts>) -> Self {
        Self { router, waiting: Arc::default() }
    }

    /// Records an event.
    pub fn record(&self, event: Event) {
        log(&event);
        self.hand_over();
        if let Some(router) = self.router.get() {
            // Full: the loss is counted at the router's mailbox, and the log has it.
            let _ = router.events.try_send(RecordEvent(event));
        }
    }

    /// Raises an alarm; the same id again changes nothing.
    pub fn raise(&self, id: &str, alarm_type: &'static str, severity: Severity, device: &str, message: &str) {
        tracing::warn!(alarm = id, kind = alarm_type, device, "alarm raised: {message}");
        self.set(alarm(id, alarm_type, severity, device, message, AlarmState::Active));
    }

    /// Clears an alarm that is active.
    pub fn clear(&self, id: &str, alarm_type: &'static str, device: &str, message: &str) {
        tracing::info!(alarm = id, kind = alarm_type, device, "alarm cleared: {message}");
        self.set(alarm(id, alarm_type, Severity::Info, device, message, AlarmState::Cleared));
    }

    /// Nobody reads a device any more, because its actor can't be kept alive.
    pub fn lose(&self, device: &str) {
        if let Some(router) = self.router.get() {
            router.lose.do_send(LoseDevice(Arc::from(device)));
        }
    }

    /// Alarms are few and told on transitions only: none may get lost, not even while the router is rebuilt.
    fn set(&self, alarm: Alarm) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(alarm);
        if waiting.len() > MAX_WAITING {
            waiting.pop_front();
        }
        drop(waiting);
        self.hand_over();
    }

    /// Gives the router what waited for it.
    fn hand_over(&self) {
        let Some(router) = self.router.get() else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for alarm in waiting.drain(..) {
            router.alarms.do_send(SetAlarm(alarm));
        }
    }
}

fn alarm(
    id: &str,
    alarm_type: &'static str,
    severity: Severity,
    device: &str,
    message: &str,
    state: AlarmState,
) -> Alarm {
    Alarm {
        alarm_id: id.to_owned(),
        device_id: Arc::from(device),
        alarm_type,
        severity,
        state,
        timestamp: Timestamp::now(),
        message: message.to_owned(),
        value: None,
        threshold: None,
        acknowledged: false,
    }
}

fn log(event: &Event) {
    let (kind, device, data) = (event.event_type, &*event.device_id, &event.data);
    match event.severity {
        Severity::Info => tracing::info!(kind, device, %data, "{}", event.message),
        Severity::Warning => tracing::warn!(kind, device, %data, "{}", event.message),
        Severity::Error | Severity::Critical => tracing::error!(kind, device, %data, "{}", event.message),
    }
}
