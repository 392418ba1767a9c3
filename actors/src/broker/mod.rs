//! What the sessions of all kinds of brokers share: messages, topics, payloads, filters, requests.
//!
//! Pure but for its messages: knows no socket and no disk. A sink is two actors under one branch: its
//! [spool](crate::spool) decides what is sent when and keeps what can't be, its session
//! ([mqtt](crate::mqtt), [nats](crate::nats)) owns the connection.

mod downsample;
mod encode;
mod messages;
mod outgoing;
mod pattern;
mod requests;
mod routes;
mod segment;
mod select;
mod settings;
pub mod template;

pub use encode::{Counts, Encoder, as_historical, status};
pub use messages::{Attach, Deliver, Detach, Outcome, Requeue, Settled, SpoolPorts, Ticket};
pub use outgoing::{Class, Kind, Outgoing};
pub(crate) use requests::TOO_MANY;
pub use requests::{Answering, CommandRoutes, Reply, Request};
pub use routes::{Routes, Texts};
pub use segment::Dialect;
pub(crate) use select::Selection;
pub use settings::{CommandSettings, DownsampleSettings, FilterSettings, Secret, TlsSettings};

/// Who speaks, as messages and topics say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// This gateway.
    pub gateway_id: std::sync::Arc<str>,
    /// Where it stands.
    pub site_id: std::sync::Arc<str>,
    /// The machine's name.
    pub hostname: std::sync::Arc<str>,
}

/// A key below the section, and what is wrong with its value.
pub type Flaw = (String, String);

/// A flaw of one key.
pub(crate) fn flaw(key: impl Into<String>, problem: impl Into<String>) -> Flaw {
    (key.into(), problem.into())
}

/// Those of a section inside this one.
pub(crate) fn below(key: &str, flaws: Vec<Flaw>) -> impl Iterator<Item = Flaw> {
    flaws.into_iter().map(move |(inner, problem)| (format!("{key}.{inner}"), problem))
}

/// Times that must pass.
pub(crate) fn zero_durations<const N: usize>(times: [(&str, std::time::Duration); N]) -> Vec<Flaw> {
    let zero = times.into_iter().filter(|(_, time)| time.is_zero());
    zero.map(|(key, _)| flaw(key, "must be more than zero, such as 30s")).collect()
}

/// Numbers that must be at least one.
pub(crate) fn zero_numbers<const N: usize>(numbers: [(&str, usize); N]) -> Vec<Flaw> {
    let zero = numbers.into_iter().filter(|(_, number)| *number == 0);
    zero.map(|(key, _)| flaw(key, "must be at least 1")).collect()
}
