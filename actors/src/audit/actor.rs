//! Writes what waits, many entries in one commit; makes checkpoints; says when it can't.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, WrapFuture};
use bifrost_model::{Event, Severity};
use bifrost_security::audit::{AuditError, AuditSink as _, Category, Entry, Finding, Outcome, Source};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;
use tokio::time::Instant;

use super::{
    clock::{self, Clock},
    handle::{Audit, Pending, Wake},
    settings::AuditSettings,
    writer::{Place, Writer, Written},
};
use crate::{
    database::Condition,
    router::EventSink,
    supervised,
    supervision::{Child, ChildKind, ChildSpec, MailboxStats, Placement, Supervised, Tenancy},
};

/// What the name of a key can't hold.
const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'+').add(b'%');

/// How often it looks at the clock, at what is due, and whether a disk that refused takes something again.
const LOOK: Duration = Duration::from_secs(1);

const CONSEQUENCE: &str = "administrative requests and writes to devices are refused, since they can't be recorded; \
                           reading and publishing go on";

/// What every incarnation needs.
#[derive(Clone)]
pub(crate) struct Parts {
    place: Place,
    audit: Audit,
    events: EventSink,
    condition: Condition,
}

impl Parts {
    /// The trail of a gateway, in the folder that its settings name or below its data directory.
    pub(crate) fn new(
        settings: AuditSettings,
        data_dir: &std::path::Path,
        gateway: &str,
        audit: Audit,
        events: EventSink,
    ) -> Self {
        let folder: PathBuf = settings.folder.clone().unwrap_or_else(|| data_dir.join("audit"));
        let origin = format!("bifrost/{}/audit", utf8_percent_encode(gateway, UNFIT));
        let place = Place { folder, origin, settings };
        let condition = Condition::new(events.clone(), "audit_trail", CONSEQUENCE);
        Self { place, audit, events, condition }
    }
}

/// How to build the trail's actor.
pub(crate) fn spec(parts: Parts) -> ChildSpec {
    let mailbox = MailboxStats::new(1024);
    ChildSpec {
        name: "audit".to_owned(),
        kind: ChildKind::AuditTrail,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| Box::pin(build(parts.clone(), mailbox.capacity()))),
    }
}

/// Opens the trail. When that fails the actor lives all the same: it says why, and tries again.
async fn build(parts: Parts, capacity: usize) -> Result<Child, String> {
    let mut writer = Writer::new(parts.place.clone());
    let open = move || {
        let opened = writer.write(Vec::new(), false);
        (writer, opened)
    };
    let (writer, opened) = actix_rt::task::spawn_blocking(open).await.map_err(|error| error.to_string())?;
    Ok(Child::new(capacity, |ctx| {
        let address = parts.audit.slot().set(ctx.address().recipient());
        let mut trail = AuditTrail {
            writer: None,
            parts,
            _address: address,
            clock: Clock::now(),
            signed_at: Instant::now(),
            stopping: false,
            counts: Counts::default(),
            raised: HashSet::new(),
        };
        trail.take_back(writer, opened.as_ref());
        trail
    }))
}

#[derive(Default)]
struct Counts {
    recorded: u64,
    lost: u64,
    size: u64,
    unsigned: u64,
    bytes: u64,
}

struct AuditTrail {
    /// With the thread that writes while it does.
    writer: Option<Writer>,
    parts: Parts,
    _address: Tenancy<Recipient<Wake>>,
    clock: Clock,
    signed_at: Instant,
    stopping: bool,
    counts: Counts,
    /// Alarms that are active.
    raised: HashSet<&'static str>,
}

impl AuditTrail {
    /// Writes all that waits in one go; what arrives meanwhile goes into the next.
    fn write(&mut self, sign: bool, ctx: &mut Context<Self>) {
        let Some(mut writer) = self.writer.take() else { return };
        let (pending, lost) = self.parts.audit.take();
        let gap = (lost > 0).then(|| Pending::new(gap(lost)));
        let batch: Vec<_> = gap.into_iter().chain(pending).collect();
        let entries = batch.iter().map(|pending| (pending.entry.clone(), pending.timestamp)).collect();
        let sign = sign || self.stopping;
        let write = actix_rt::task::spawn_blocking(move || {
            let written = writer.write(entries, sign);
            (writer, written)
        });
        ctx.spawn(write.into_actor(self).map(move |done, actor, ctx| {
            let (writer, written) = done.unwrap_or_else(|error| {
                (Writer::new(actor.parts.place.clone()), Err(AuditError(error.to_string())))
            });
            actor.take_back(writer, written.as_ref());
            actor.conclude(batch, lost, &written.map(drop));
            actor.go_on(ctx);
        }));
    }

    fn take_back(&mut self, writer: Writer, written: Result<&Written, &AuditError>) {
        self.writer = Some(writer);
        let outcome = match written {
            Ok(Written { trouble: Some(trouble), .. }) => Err(AuditError(trouble.clone())),
            other => other.map(drop).map_err(Clone::clone),
        };
        self.parts.audit.judge(&outcome);
        self.parts.condition.judge(outcome.as_ref().copied().map_err(|error| error.0.as_str()));
        if let Ok(written) = written {
            self.tell(written);
        }
    }

    /// Who waited hears of it. What nobody waits for is tried again.
    fn conclude(&mut self, batch: Vec<Pending>, lost: u64, outcome: &Result<(), AuditError>) {
        if outcome.is_ok() {
            self.counts.recorded += batch.len() as u64;
            self.counts.lost += lost;
            for pending in batch {
                pending.answer(outcome);
            }
            return;
        }
        let (asked, told): (Vec<_>, Vec<_>) = batch.into_iter().partition(|pending| pending.done.is_some());
        for pending in asked {
            pending.answer(outcome);
        }
        // The entry of the gap is made anew.
        let told = told.into_iter().skip(usize::from(lost > 0)).collect();
        self.parts.audit.put_back(told, lost);
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let well = self.parts.audit.is_writable().is_ok();
        if self.stopping && (!well || (self.parts.audit.waiting() == 0 && self.counts.unsigned == 0)) {
            ctx.stop();
        } else if well && (self.parts.audit.waiting() > 0 || self.stopping) {
            self.write(self.stopping, ctx);
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if let Some(jump) = self.clock.look() {
            let entry = Entry::new(Source::gateway(), Category::SystemEvent, "clock_jump", Outcome::Success);
            let detail = json!({ "micros": jump, "clock": clock::describe(jump) });
            self.parts.audit.tell(entry.with(detail));
        }
        let due = self.counts.unsigned > 0
            && self.signed_at.elapsed() >= self.parts.place.settings.checkpoint_interval;
        if due || self.parts.audit.waiting() > 0 || self.parts.condition.is_bad() {
            self.write(due, ctx);
        }
    }

    fn tell(&mut self, written: &Written) {
        (self.counts.size, self.counts.unsigned) = (written.size, written.unsigned);
        self.counts.bytes = written.bytes;
        written.findings.iter().for_each(|finding| self.parts.events.record(found(finding)));
        if let Some(note) = &written.note {
            self.signed_at = Instant::now();
            let message = format!("the audit trail's first {} records are signed", written.size);
            let event = Event::new("", "audit_checkpoint", Severity::Info, message);
            // By the brokers it leaves this machine: who keeps it there can prove what the trail was.
            self.parts.events.record(event.with(json!({ "size": written.size, "checkpoint": note })));
        }
        if let Some((from, to)) = written.removed {
            let message =
                format!("records {from} to {to} of the audit trail were removed: too many, or too old");
            let event = Event::new("", "audit_removed", Severity::Warning, message);
            self.parts.events.record(event.with(json!({ "from": from, "to": to })));
        }
        self.warn_of_space();
        self.warn_of_elsewhere(written);
    }

    /// Raises or clears an alarm when that is news.
    fn hold(&mut self, alarm: &'static str, severity: Severity, bad: bool, message: &str) {
        if bad && self.raised.insert(alarm) {
            self.parts.events.raise(alarm, alarm, severity, "", message);
        } else if !bad && self.raised.remove(alarm) {
            self.parts.events.clear(alarm, alarm, "", message);
        }
    }

    fn warn_of_space(&mut self) {
        let AuditSettings { max_bytes, warn_percent, .. } = self.parts.place.settings;
        let full =
            self.counts.bytes.saturating_mul(100) >= max_bytes.0.saturating_mul(u64::from(warn_percent));
        let message = format!(
            "the audit trail takes {} of {} bytes (security.audit.max_bytes); export it, or its oldest records go",
            self.counts.bytes, max_bytes.0
        );
        self.hold("audit_space", Severity::Warning, full, &message);
    }

    fn warn_of_elsewhere(&mut self, written: &Written) {
        if written.note.is_none() || self.parts.place.settings.checkpoint_file.is_none() {
            return;
        }
        let reason = written.elsewhere.as_deref().unwrap_or_default();
        let message =
            format!("checkpoints can't be kept elsewhere (security.audit.checkpoint_file): {reason}");
        let bad = written.elsewhere.is_some();
        self.hold("audit_elsewhere", Severity::Error, bad, &message);
    }
}

/// What stands where others are missing.
fn gap(lost: u64) -> Entry {
    let entry = Entry::new(Source::gateway(), Category::AuditLog, "entries_lost", Outcome::Failure);
    entry.with(json!({ "count": lost }))
}

fn found(finding: &Finding) -> Event {
    let (event, message) = match finding {
        Finding::Torn(file) => {
            let message = format!("the last record was half written and is kept in {}", file.display());
            ("audit_torn", message)
        }
        Finding::SetAside { folder, reason } => {
            let folder = folder.display();
            let message = format!(
                "the audit trail isn't what was signed ({reason}); it is kept in {folder}, and a new one was begun: \
                 find out who changed it"
            );
            ("audit_tampered", message)
        }
    };
    Event::new("", event, Severity::Critical, message)
}

impl Actor for AuditTrail {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK, Self::look);
        self.go_on(ctx);
    }
}

impl Handler<Wake> for AuditTrail {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        if self.parts.audit.waiting() > 0 {
            self.write(false, ctx);
        }
    }
}

impl Supervised for AuditTrail {
    fn observe(&self) -> serde_json::Value {
        let Counts { recorded, lost, size, unsigned, bytes } = self.counts;
        json!({
            "writable": self.parts.audit.is_writable().is_ok(), "waiting": self.parts.audit.waiting(),
            "recorded": recorded, "lost": lost, "size": size, "unsigned": unsigned, "bytes": bytes,
        })
    }

    /// What was handed over is written and signed first.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.stopping = true;
        self.write(true, ctx);
    }
}

supervised!(AuditTrail);
