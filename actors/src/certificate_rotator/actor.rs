//! Looks at files, at the calendar, and does what is due; tells all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use bifrost_model::{Event, Severity, Timestamp};
use bifrost_security::{
    audit::{AuditSink, Category, Entry, Outcome, Source},
    tls::{CertificateFacts, ServerError, ServerIdentity},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    inventory::{CertificateRow, Use},
    renewal,
    settings::RotatorSettings,
    watch::Watch,
};
use crate::{
    metrics::Metrics,
    router::EventSink,
    supervised,
    supervision::{Child, ChildKind, ChildSpec, MailboxStats, Placement, Supervised},
};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often all certificates are read for their dates.
const TAKE_STOCK: Duration = Duration::from_mins(1);
/// Pause after a renewal that failed.
const RETRY: Duration = Duration::from_mins(1);
const FILES: &str = "certificate_files";
const RENEWAL: &str = "certificate_renewal";

/// All certificates as they were last looked at.
pub(crate) type Shown = Arc<Mutex<Vec<CertificateRow>>>;

/// What every incarnation needs.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) settings: RotatorSettings,
    /// Which certificates there are now, beside those of HTTPS.
    pub(crate) uses: Arc<dyn Fn() -> Vec<Use> + Send + Sync>,
    pub(crate) shown: Shown,
    pub(crate) events: EventSink,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) metrics: Arc<Metrics>,
    /// Alarms that are active; outlives the incarnations.
    pub(crate) raised: Arc<Mutex<BTreeMap<String, Severity>>>,
}

/// How to build the rotator.
pub(crate) fn spec(parts: Parts) -> ChildSpec {
    let mailbox = MailboxStats::new(16);
    ChildSpec {
        name: "certificates".to_owned(),
        kind: ChildKind::CertificateRotator,
        placement: Placement::Home,
        mailbox: Arc::clone(&mailbox),
        factory: Box::new(move |_| {
            let (parts, capacity) = (parts.clone(), mailbox.capacity());
            Box::pin(async move { Ok(Child::new(capacity, |_| CertificateRotator::new(parts))) })
        }),
    }
}

struct CertificateRotator {
    watch: Watch,
    parts: Parts,
    /// When all are read again.
    stock_at: Instant,
    /// When it is looked whether a renewal is due.
    renewal_at: Instant,
    /// Something is being read or renewed.
    busy: bool,
    reloads: u64,
    renewals: u64,
}

/// What a look has come to.
struct Looked {
    reloaded: Option<Result<bool, ServerError>>,
    rows: Option<Vec<CertificateRow>>,
    renewed: Option<Result<CertificateFacts, String>>,
}

impl CertificateRotator {
    fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let watch = parts.settings.identity.as_ref().map(watched).unwrap_or_default();
        Self { watch, parts, stock_at: now, renewal_at: now, busy: false, reloads: 0, renewals: 0 }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let changed = self.watch.look();
        let (stock, renewal) = (changed || now >= self.stock_at, now >= self.renewal_at);
        if self.busy || !(changed || stock || renewal) {
            // What changed while it was busy is looked at when that has ended.
            self.stock_at = if changed { now } else { self.stock_at };
            return;
        }
        self.busy = true;
        self.stock_at = now + TAKE_STOCK;
        self.renewal_at = if renewal { now + self.parts.settings.interval } else { self.renewal_at };
        let parts = self.parts.clone();
        let looking = actix_rt::task::spawn_blocking(move || carry_out(&parts, changed, stock, renewal));
        ctx.spawn(looking.into_actor(self).map(|looked, actor, _| {
            actor.busy = false;
            match looked {
                Ok(looked) => actor.conclude(looked),
                Err(error) => tracing::error!(%error, "the look at certificates failed"),
            }
        }));
    }

    fn conclude(&mut self, looked: Looked) {
        match looked.renewed {
            Some(Ok(facts)) => self.tell_renewed(&facts),
            Some(Err(error)) => {
                self.renewal_at = Instant::now() + RETRY.min(self.parts.settings.interval);
                self.tell_not_renewed(&error);
            }
            None => {}
        }
        match looked.reloaded {
            Some(Ok(differs)) => self.tell_reloaded(differs),
            Some(Err(error)) => {
                let message = format!("HTTPS goes on with what it has: {error}");
                self.hold(FILES, Some(Severity::Error), &message);
            }
            None => {}
        }
        if let Some(rows) = looked.rows {
            self.take_stock(rows);
        }
    }

    fn tell_reloaded(&mut self, differs: bool) {
        self.reloads += 1;
        self.hold(FILES, None, "HTTPS uses the files as they are");
        let fingerprint = self.parts.settings.identity.as_ref().map(ServerIdentity::fingerprint);
        let message = if differs {
            "another certificate is shown from now on"
        } else {
            "the certificate is the same; authorities and revocation lists were read again"
        };
        let event = Event::new("", "certificate_reloaded", Severity::Info, message);
        self.parts.events.record(event.with(json!({ "differs": differs, "fingerprint": fingerprint })));
        self.record(
            "certificate_reloaded",
            Outcome::Success,
            json!({ "differs": differs, "fingerprint": fingerprint }),
        );
    }

    fn tell_renewed(&mut self, facts: &CertificateFacts) {
        self.renewals += 1;
        self.hold(RENEWAL, None, "the certificate was renewed");
        self.record("certificate_renewed", Outcome::Success, json!(facts));
    }

    fn tell_not_renewed(&mut self, error: &str) {
        let message = format!("the certificate of HTTPS can't be renewed: {error}");
        self.hold(RENEWAL, Some(Severity::Error), &message);
        self.record("certificate_renewed", Outcome::Failure, json!({ "error": error }));
    }

    fn record(&self, kind: &str, outcome: Outcome, detail: serde_json::Value) {
        let entry = Entry::new(Source::gateway(), Category::AccessControl, kind, outcome);
        self.parts.audit.tell(entry.on("https").with(detail));
    }

    /// Takes in how all certificates are: rows, series, alarms.
    fn take_stock(&mut self, rows: Vec<CertificateRow>) {
        let mut known = BTreeSet::new();
        for row in &rows {
            let alarm = format!("certificate_expires/{}", row.used_for);
            self.hold(&alarm, row.severity(), &row.describe());
            known.insert(alarm);
            if let Some(facts) = &row.facts {
                self.parts.metrics.certificate(&row.used_for, facts.not_after.as_micros() / 1_000_000);
            }
        }
        let raised: Vec<_> =
            self.raised().keys().filter(|alarm| alarm.starts_with("certificate_expires/")).cloned().collect();
        for gone in raised.into_iter().filter(|alarm| !known.contains(alarm)) {
            self.hold(&gone, None, "it isn't used any more");
        }
        *self.parts.shown.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    fn raised(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Severity>> {
        self.parts.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises an alarm, makes it more urgent, or clears it, when that is news.
    fn hold(&self, alarm: &str, severity: Option<Severity>, message: &str) {
        let kind = if alarm == FILES {
            FILES
        } else if alarm == RENEWAL {
            RENEWAL
        } else {
            "certificate_expires"
        };
        let before = self.raised().get(alarm).copied();
        match severity {
            Some(severity) if before != Some(severity) => {
                self.raised().insert(alarm.to_owned(), severity);
                self.parts.events.raise(alarm, kind, severity, "", message);
            }
            None if before.is_some() => {
                self.raised().remove(alarm);
                self.parts.events.clear(alarm, kind, "", message);
            }
            _ => {}
        }
    }
}

/// The files that HTTPS reads.
fn watched(identity: &ServerIdentity) -> Watch {
    let settings = identity.settings();
    let optional = [&settings.authorities, &settings.client_authorities, &settings.revocation_lists];
    let optional = optional.into_iter().flatten().map(std::path::PathBuf::as_path);
    Watch::on([settings.certificate.as_path(), settings.key.as_path()].into_iter().chain(optional))
}

/// Everything that blocks.
fn carry_out(parts: &Parts, changed: bool, stock: bool, renewal: bool) -> Looked {
    let identity = parts.settings.identity.as_ref();
    let renewed =
        identity.zip(parts.settings.issuer.as_ref()).filter(|_| renewal).and_then(|(identity, issuer)| {
            let shown = renewal::due(identity.settings(), Timestamp::now())?;
            Some(renewal::renew(issuer, identity.settings(), &shown))
        });
    let reload = changed || matches!(renewed, Some(Ok(_)));
    let reloaded = identity.filter(|_| reload).map(ServerIdentity::reload);
    let rows = (stock || reload).then(|| {
        let of_https = identity.map(ServerIdentity::settings).map(|settings| {
            let trusted = settings.client_authorities.as_deref().or(settings.authorities.as_deref());
            Use::of("https", Some(Path::new(&settings.certificate)), trusted)
        });
        let mut uses: Vec<_> = of_https.into_iter().flatten().chain((parts.uses)()).collect();
        uses.sort();
        uses.dedup();
        uses.iter().map(|used| CertificateRow::read(used, Timestamp::now())).collect()
    });
    Looked { reloaded, rows, renewed }
}

impl Actor for CertificateRotator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        ctx.run_interval(LOOK, Self::look);
    }
}

impl Supervised for CertificateRotator {
    fn observe(&self) -> serde_json::Value {
        let certificates = self.parts.shown.lock().unwrap_or_else(PoisonError::into_inner).len();
        json!({ "certificates": certificates, "reloads": self.reloads, "renewals": self.renewals })
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

supervised!(CertificateRotator);
