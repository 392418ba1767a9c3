//! What arrives by a broker and wants an answer.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Something that is asked of a device through a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The session it came by, by name.
    pub session: Arc<str>,
    /// The topic or subject it came on.
    pub topic: Arc<str>,
    /// Which device, decoded; `None` where the topic names none that could be decoded.
    pub device_id: Option<String>,
    /// What is asked for: `write` or `read`; anything else is answered as not understood.
    pub verb: String,
    /// As it came.
    pub payload: Bytes,
    /// Whether the sender named a place for the answer.
    pub wants_reply: bool,
}

/// The answer: JSON, always. Who named no place for it finds the result of a write among the device's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The command's result, the tags that were read, or `{"status":"rejected","error":…}`.
    pub payload: Bytes,
    /// A short text for NATS services: `None` when all is well.
    pub error: Option<String>,
}

/// The short text of an answer to what is too much at a time.
pub(crate) const TOO_MANY: &str = "too many requests";

/// Which topics or subjects requests come on.
pub trait CommandRoutes: Send + Sync {
    /// What to subscribe to, with wildcards.
    fn subscriptions(&self) -> Vec<String>;

    /// The device, where one is named that can be decoded, and the verb; `None`: no topic of a command.
    fn command(&self, topic: &str) -> Option<(Option<String>, String)>;
}

/// Whoever answers requests. Bounded inside: a storm is answered with refusals, not queued. Those are there
/// when they are first asked for; whatever else is too, and all others wait.
pub type Answering = Arc<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>;
