//! What the tree tells becomes events, alarms and counts.

use std::sync::Arc;

use bifrost_model::{Event, Severity};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    metrics::Metrics,
    router::EventSink,
    supervision::{ChildKind, Notice, NoticeSink},
};

/// Turns notices into events, alarms and counts; a failed root into the reason to end the process.
pub(super) fn sink(
    events: EventSink,
    metrics: Arc<Metrics>,
    fatal: watch::Sender<Option<String>>,
) -> NoticeSink {
    Box::new(move |notice| match notice {
        Notice::Restarted { kind } => metrics.restarts.with_label_values(&[kind_name(kind)]).inc(),
        Notice::Failed { path, kind, reason, defect, first } => {
            failed(&events, &path, kind, &reason, defect, first);
        }
        Notice::Parked { path, kind, reason } => {
            metrics.failed_actors.with_label_values(&[kind_name(kind)]).inc();
            let message = format!("{path} failed too often and is tried only slowly now: {reason}");
            if kind == ChildKind::PlcConnection {
                events.lose(&device(&path));
            }
            events.raise(&alarm_id(&path), "actor_failed", Severity::Error, &device(&path), &message);
        }
        Notice::Recovered { path, kind } => {
            metrics.failed_actors.with_label_values(&[kind_name(kind)]).dec();
            events.clear(&alarm_id(&path), "actor_failed", &device(&path), &format!("{path} runs again"));
        }
        Notice::Stopped { path, kind } => {
            if kind == ChildKind::PlcConnection {
                events.lose(&device(&path));
            }
        }
        Notice::Escalated { path, reason } => {
            let message = format!("the branch {path} is restarted: {reason}");
            events.record(Event::new("", "branch_restarted", Severity::Error, message));
        }
        Notice::ThreadReplaced { path } => {
            let message = format!("{path} blocked its thread; all that lived there is moved to a new one");
            events.record(Event::new("", "thread_replaced", Severity::Critical, message));
        }
        Notice::RootFailed { reason } => {
            tracing::error!(reason, "the supervisor tree failed beyond its budget: the process ends");
            fatal.send_replace(Some(reason));
        }
    })
}

/// Trouble from outside is told when it begins, a defect each time.
fn failed(events: &EventSink, path: &str, kind: ChildKind, reason: &str, defect: bool, first: bool) {
    if !defect && !first {
        tracing::debug!(path, reason, "actor failed again");
        return;
    }
    let severity = if defect { Severity::Error } else { Severity::Warning };
    let message = format!("{path} ended and is rebuilt: {reason}");
    let data = json!({ "path": path, "kind": kind_name(kind), "reason": reason });
    events.record(Event::new(device(path), "actor_failed", severity, message).with(data));
}

fn alarm_id(path: &str) -> String {
    format!("actor_failed/{path}")
}

/// The id of the device that an actor's path is about; empty if it is about none.
pub(super) fn device(path: &str) -> String {
    let name = path.strip_prefix("devices/").unwrap_or("");
    percent_decode_str(name).decode_utf8_lossy().into_owned()
}

pub(super) fn kind_name(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Branch => "branch",
        ChildKind::Sequence => "sequence",
        ChildKind::Router => "router",
        ChildKind::PlcLink => "plc_link",
        ChildKind::PlcConnection => "plc_connection",
        ChildKind::WebsocketClient => "websocket_client",
        ChildKind::Spool => "spool",
        ChildKind::MqttSession => "mqtt_session",
        ChildKind::NatsSession => "nats_session",
        ChildKind::DeadLetters => "dead_letters",
        ChildKind::CommandLedger => "command_ledger",
        ChildKind::AuditTrail => "audit_trail",
        ChildKind::CertificateRotator => "certificate_rotator",
    }
}
