//! Requests that come by NATS: each is answered to whoever asks, and a storm of them is refused.

use std::{cell::Cell, rc::Rc, sync::Arc, task::Poll};

use futures_util::{StreamExt, future::BoxFuture, poll, stream};
use nats::{Client, HeaderMap, Message, Subject, Subscriber};

use crate::broker::{Answering, CommandRoutes, Reply, Request, TOO_MANY};

/// Answers requests.
pub(super) struct Incoming {
    pub(super) session: Arc<str>,
    pub(super) client: Client,
    pub(super) answering: Answering,
    pub(super) routes: Arc<dyn CommandRoutes>,
    pub(super) pending: Rc<Cell<usize>>,
    pub(super) answered: Cell<u64>,
    pub(super) turned_away: Cell<u64>,
}

/// One request that is being answered.
struct Pending(Rc<Cell<usize>>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Incoming {
    /// Takes requests for as long as the connection stands. What arrives beyond the bound is refused one by one,
    /// so that a storm meets the subscriptions' bounded buffers and nothing else.
    pub(super) async fn take_all(self: Rc<Self>, subscribers: Vec<Subscriber>) {
        let mut requests = stream::select_all(subscribers);
        while let Some(message) = requests.next().await {
            self.take(message).await;
        }
    }

    /// Whoever answers refuses what is too much, with all that its sender and others must hear: here nothing is
    /// refused that was begun.
    async fn take(&self, message: Message) {
        let mut answer = (self.answering)(self.request(&message));
        match poll!(&mut answer) {
            Poll::Ready(reply) => {
                let count = if is_too_many(&reply) { &self.turned_away } else { &self.answered };
                count.set(count.get() + 1);
                send(&self.client, message.reply, reply).await;
            }
            Poll::Pending => self.await_answer(answer, message.reply),
        }
    }

    fn await_answer(&self, answer: BoxFuture<'static, Reply>, to: Option<Subject>) {
        self.pending.set(self.pending.get() + 1);
        self.answered.set(self.answered.get() + 1);
        let (pending, client) = (Pending(Rc::clone(&self.pending)), self.client.clone());
        actix_rt::spawn(async move {
            let reply = answer.await;
            // As soon as whoever answers takes the next.
            drop(pending);
            send(&client, to, reply).await;
        });
    }

    fn request(&self, message: &Message) -> Request {
        let (device_id, verb) = self.routes.command(&message.subject).unwrap_or_default();
        Request {
            session: Arc::clone(&self.session),
            topic: Arc::from(message.subject.as_str()),
            device_id,
            verb,
            payload: message.payload.clone(),
            wants_reply: message.reply.is_some(),
        }
    }
}

/// Sends an answer, with the headers that NATS services use for errors (ADR-32). Who named no place for it gets
/// none.
async fn send(client: &Client, to: Option<Subject>, reply: Reply) {
    let Some(to) = to else { return };
    let sent = match reply.error {
        Some(error) => client.publish_with_headers(to, error_headers(&error), reply.payload).await,
        None => client.publish(to, reply.payload).await,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer couldn't be sent");
    }
}

fn is_too_many(reply: &Reply) -> bool {
    reply.error.as_deref() == Some(TOO_MANY)
}

fn error_headers(error: &str) -> HeaderMap {
    let code = if error == TOO_MANY { "429" } else { "400" };
    let mut headers = HeaderMap::new();
    // A header's value is one line.
    headers.insert("Nats-Service-Error", error.replace(['\r', '\n'], " "));
    headers.insert("Nats-Service-Error-Code", code);
    headers
}
