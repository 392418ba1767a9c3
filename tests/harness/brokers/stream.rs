//! What a stream holds, from its first message to its last.

use futures_util::StreamExt as _;
use nats::jetstream::{self, consumer::pull::OrderedConfig};

use super::nats::block_on;

/// One message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) json: serde_json::Value,
    /// `Nats-Msg-Id`.
    pub(crate) id: Option<String>,
    /// Its number in the stream.
    pub(crate) number: u64,
}

/// Everything that a stream holds now, in order.
#[track_caller]
pub(crate) fn read_stream(jetstream: &jetstream::Context, stream: &str) -> Vec<Stored> {
    block_on(read(jetstream, stream)).unwrap_or_else(|error| panic!("reading stream {stream}: {error}"))
}

async fn read(jetstream: &jetstream::Context, name: &str) -> Result<Vec<Stored>, nats::Error> {
    let mut stream = jetstream.get_stream(name).await?;
    let last = stream.info().await?.state.last_sequence;
    if stream.cached_info().state.messages == 0 {
        return Ok(Vec::new());
    }
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?;
    let mut stored = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        let number = message.info()?.stream_sequence;
        let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
        stored.push(Stored {
            subject: message.subject.to_string(),
            json: serde_json::from_slice(&message.payload).unwrap_or_default(),
            id: id.map(|id| id.as_str().to_owned()),
            number,
        });
        if number >= last {
            break;
        }
    }
    Ok(stored)
}
