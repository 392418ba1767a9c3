//! Publishes what waits.

use std::sync::Arc;

use nats::{HeaderMap, PublishError, PublishErrorKind, Subject, header::NATS_MESSAGE_ID};
use tokio::time::Instant;

use super::{
    flight::{Out, Token},
    session::{Session, not_permitted},
};
use crate::broker::{Kind, Outcome, Outgoing};

impl Session {
    /// Publishes until the connection is lost.
    pub(super) async fn publish_all(&self) -> PublishError {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            let outcome = match next {
                Some(out) => self.publish(out).await,
                None if self.flight.borrow().since_barrier() > 0 => self.raise_barrier().await.map(|_| ()),
                None => {
                    self.arrived.notified().await;
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    /// Publishes one; an error is that the connection is lost.
    async fn publish(&self, out: Out) -> Result<(), PublishError> {
        if self.is_denied(&out.message.topic) {
            self.settle([(out, Outcome::Refused(not_permitted()))]);
            return Ok(());
        }
        match (&self.stream, out.message.kind) {
            (Some(_), Kind::Telemetry | Kind::Event | Kind::Alarm) => self.publish_to_stream(out).await,
            (Some(_), _) => self.publish_aside(out).await,
            (None, _) => self.publish_before_barrier(out).await,
        }
    }

    async fn publish_to_stream(&self, out: Out) -> Result<(), PublishError> {
        let (message, now) = (Arc::clone(&out.message), Instant::now());
        let token = self.flight.borrow_mut().begin(out, now);
        self.expect_answer(now);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, message.id(&self.gateway_id));
        let (subject, reply) = (Subject::from(&*message.topic), Subject::from(self.reply_to(token)));
        let sent =
            self.client.publish_with_reply_and_headers(subject, reply, headers, message.payload.clone());
        let sent = sent.await;
        self.counts.published.add();
        let Err(error) = sent else { return Ok(()) };
        let Token::Place(number) = token else { return Err(error) };
        let out = self.flight.borrow_mut().end(number);
        out.map_or(Ok(()), |out| self.refuse_unsent(out, error))
    }

    /// Beside the stream nothing is acknowledged, and what goes there comes again by itself.
    async fn publish_aside(&self, out: Out) -> Result<(), PublishError> {
        let outcome = match self.publish_plainly(&out.message).await {
            Ok(()) => Outcome::Delivered,
            Err(error) => return self.refuse_unsent(out, error),
        };
        self.settle([(out, outcome)]);
        Ok(())
    }

    /// Counted as out beforehand: what the server denies of it may be told before publishing returns.
    async fn publish_before_barrier(&self, out: Out) -> Result<(), PublishError> {
        let (message, ticket) = (Arc::clone(&out.message), out.ticket);
        self.flight.borrow_mut().begin_unacknowledged(out);
        self.expect_answer(Instant::now());
        if let Err(error) = self.publish_plainly(&message).await {
            let withdrawn = self.flight.borrow_mut().withdraw(ticket);
            return withdrawn.map_or(Ok(()), |out| self.refuse_unsent(out, error));
        }
        if self.flight.borrow().since_barrier() >= (self.window / 4).max(1) {
            self.raise_barrier().await?;
        }
        Ok(())
    }

    /// Publishes what nobody waits for.
    pub(super) async fn publish_plainly(&self, message: &Outgoing) -> Result<(), PublishError> {
        self.counts.published.add();
        self.client.publish(Subject::from(&*message.topic), message.payload.clone()).await
    }

    /// What the client library doesn't send is refused, unless it can send nothing any more.
    fn refuse_unsent(&self, out: Out, error: PublishError) -> Result<(), PublishError> {
        if error.kind() == PublishErrorKind::Send {
            return Err(error);
        }
        self.heard(Instant::now());
        let size = out.message.payload.len();
        let reason =
            format!("{error} ({size} bytes to {}, max_payload {})", out.message.topic, self.max_payload());
        self.settle([(out, Outcome::Refused(reason))]);
        Ok(())
    }

    async fn raise_barrier(&self) -> Result<Token, PublishError> {
        let token = self.flight.borrow_mut().raise_barrier();
        self.client.publish(self.reply_to(token), bytes::Bytes::new()).await.map(|()| token)
    }

    fn reply_to(&self, token: Token) -> String {
        format!("{}{token}", self.inbox)
    }

    /// Says goodbye: waits for what is out, publishes a last message, and sees to it that it arrives.
    pub(super) async fn leave(&self, last: &Outgoing) -> Result<(), PublishError> {
        self.until(|| self.flight.borrow().len() == 0).await;
        self.publish_plainly(last).await?;
        if self.stream.is_some() {
            let _ = self.client.flush().await;
            return Ok(());
        }
        let Token::Barrier(number) = self.raise_barrier().await? else { return Ok(()) };
        self.until(|| self.flight.borrow().has_passed(number)).await;
        Ok(())
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds() {
                return;
            }
            changed.await;
        }
    }
}
