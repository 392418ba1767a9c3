//! What outlives a session's incarnations: which server's turn it is, and what operators were already told.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bifrost_model::{Event, Severity};
use serde_json::json;

use super::{
    MqttSettings,
    actor::Parts,
    session::Session,
    suspicion::{Suspicion, Verdict},
};
use crate::router::EventSink;

/// What a session's incarnations have in common.
pub(super) struct Life {
    name: Arc<str>,
    events: EventSink,
    incarnations: AtomicU64,
    server: AtomicUsize,
    /// What was last said of each kind of trouble: an event is worth it when that changes.
    told: Mutex<HashMap<&'static str, String>>,
    suspicion: Mutex<Suspicion>,
}

impl Life {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            name: Arc::clone(&parts.name),
            events: parts.events.clone(),
            incarnations: AtomicU64::new(0),
            server: AtomicUsize::new(0),
            told: Mutex::default(),
            suspicion: Mutex::default(),
        }
    }

    /// The number of a new incarnation.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Which server's turn it is, counted on without end.
    pub(super) fn server(&self) -> usize {
        self.server.load(Ordering::Relaxed)
    }

    /// That one is no good: the next is tried.
    pub(super) fn next_server(&self) {
        self.server.fetch_add(1, Ordering::Relaxed);
    }

    /// Says what a new connection can't do.
    pub(super) fn connected(&self, session: &Session, settings: &MqttSettings) {
        let (server, limits) = (&session.server, &session.limits);
        tracing::info!(session = %self.name, %server, v5 = session.v5, "connected to the MQTT broker");
        let clamped = limits.clamped(settings);
        self.tell(
            "mqtt_qos_clamped",
            (!clamped.is_empty()).then(|| {
                let classes = json!(clamped).to_string();
                format!(
                    "{server} takes QoS {} at most: messages of {classes} are sent with it",
                    limits.max_qos
                )
            }),
        );
        self.tell(
            "mqtt_retain_unavailable",
            (!limits.retain).then(|| {
                format!(
                    "{server} retains no messages: later subscribers don't see the gateway's status and tags"
                )
            }),
        );
        let refused = &session.unsubscribed;
        self.tell(
            "mqtt_subscription_refused",
            (!refused.is_empty()).then(|| {
                format!(
                    "{server} refuses to hand out commands ({}); allow it, or set commands.enabled to false",
                    refused.join("; ")
                )
            }),
        );
        self.tell(
            "mqtt_birth_refused",
            session.no_birth.as_ref().map(|reason| {
                format!("{server} doesn't take the gateway's status: {reason}; allow the topic")
            }),
        );
    }

    /// What is thought of the message that the last connections ended with.
    pub(super) fn verdict(&self) -> Verdict {
        self.suspicion.lock().unwrap_or_else(PoisonError::into_inner).verdict()
    }

    /// The broker ended a connection on which it had acknowledged nothing, with this message as the oldest.
    pub(super) fn ended_with(&self, oldest: String) {
        self.suspicion.lock().unwrap_or_else(PoisonError::into_inner).ended_with(oldest);
    }

    /// No message is suspected any more.
    pub(super) fn acquit(&self) {
        self.suspicion.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A command that the broker had kept.
    pub(super) fn stale(&self, topic: &str) {
        let message = format!(
            "a retained command on {topic} was ignored, since nobody knows how old it is; delete it from the broker, \
             and send commands without the retain flag"
        );
        self.tell("mqtt_stale_command", Some(message));
    }

    /// More requests than are taken at a time.
    pub(super) fn flooded(&self, max: usize) {
        let message = format!("more than {max} requests at a time: those beyond were refused");
        self.tell("mqtt_requests_refused", Some(message));
    }

    /// No more than that any more.
    pub(super) fn calm(&self) {
        self.tell("mqtt_requests_refused", None);
    }

    fn tell(&self, kind: &'static str, message: Option<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(message) = message else {
            told.remove(kind);
            return;
        };
        if told.insert(kind, message.clone()).is_none_or(|before| before != message) {
            let event = Event::new("", kind, Severity::Warning, message);
            self.events.record(event.with(json!({ "session": self.name })));
        }
    }
}
