//! The ways by which a letter leaves: to the spool of its session, or to its device.

use std::sync::Arc;

use actix::Recipient;
use futures_util::future::BoxFuture;

use super::messages::{Letter, ReplayError, Replayed, What};
use crate::{
    broker::{Answering, Outgoing, Request, Requeue},
    commands::{Commands, Protocol},
};

/// Finds the spool of a session by its name.
pub type FindSpool = Arc<dyn Fn(&str) -> Option<Recipient<Requeue>> + Send + Sync>;

type Outcome = Result<Replayed, ReplayError>;

/// Where letters go that are replayed.
#[derive(Clone)]
pub(super) struct Ways {
    find_spool: FindSpool,
    mqtt: Answering,
    nats: Answering,
}

impl Ways {
    pub(super) fn new(find_spool: FindSpool, commands: &Commands) -> Self {
        let [mqtt, nats] =
            [Protocol::Mqtt, Protocol::Nats].map(|protocol| commands.answering_again(protocol));
        Self { find_spool, mqtt, nats }
    }

    /// Sends a letter on its way again.
    pub(super) fn send(&self, letter: Letter) -> BoxFuture<'static, Outcome> {
        let payload = letter.payload.unwrap_or_default();
        match letter.what {
            What::Message(message) => {
                let spool = (self.find_spool)(&letter.session);
                let spool = spool.ok_or(ReplayError::NoSession(letter.session));
                Box::pin(async move { requeue(spool?, Outgoing { payload, ..message }).await })
            }
            What::Command(asked) => {
                let answering = match asked.protocol {
                    Protocol::Mqtt => &self.mqtt,
                    Protocol::Nats => &self.nats,
                };
                Box::pin(carry_out(
                    Arc::clone(answering),
                    Request {
                        session: letter.session,
                        topic: letter.topic,
                        device_id: asked.device_id,
                        verb: asked.verb,
                        payload,
                        wants_reply: false,
                    },
                ))
            }
        }
    }
}

async fn requeue(spool: Recipient<Requeue>, message: Outgoing) -> Outcome {
    match spool.send(Requeue(message)).await {
        Ok(Ok(())) => Ok(Replayed::Queued),
        Ok(Err(reason)) => Err(ReplayError::Refused(reason)),
        Err(error) => Err(ReplayError::Refused(format!("the spool ended meanwhile: {error}"))),
    }
}

async fn carry_out(answering: Answering, request: Request) -> Outcome {
    let reply = answering(request).await;
    let answer: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap_or_default();
    match reply.error {
        // Nothing was sent to the device: it may be tried again, when what is missing is there.
        Some(reason) if answer["status"] == "rejected" => Err(ReplayError::Refused(reason)),
        _ => Ok(Replayed::Answered(reply.payload)),
    }
}
