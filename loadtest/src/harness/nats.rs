//! Streams as a server counts them, and async-nats alone: the same payloads with the same window as a
//! gateway, and nothing else to do.

use std::{
    collections::VecDeque,
    future::{Future, IntoFuture as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nats::{
    HeaderMap, header,
    jetstream::{
        self,
        stream::{Config, DiscardPolicy, State, StorageType},
    },
};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::alone::tag_message;
use crate::error::LoadError;

/// As a gateway's default.
const WINDOW: usize = 512;
/// The stream of what is published alone.
pub(crate) const ALONE: &str = "ALONE";

/// A client for streams.
pub(crate) struct Streams {
    runtime: Runtime,
    context: jetstream::Context,
}

impl Streams {
    /// At a server on this port of the loopback.
    pub(crate) fn at(port: u16) -> Result<Self, LoadError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(LoadError::at("a runtime"))?;
        let client = runtime.block_on(nats::connect(format!("nats://127.0.0.1:{port}"))).map_err(failed)?;
        let context = {
            let _inside = runtime.enter();
            jetstream::new(client)
        };
        Ok(Self { runtime, context })
    }

    /// What a stream has, if it is there.
    pub(crate) fn state(&self, stream: &str) -> Result<State, LoadError> {
        self.wait(async {
            let mut stream = self.context.get_stream(stream).await.map_err(failed)?;
            Ok(stream.info().await.map_err(failed)?.state.clone())
        })
    }

    /// Deletes one, so that the next isn't slowed down by what it holds.
    pub(crate) fn delete(&self, stream: &str) -> Result<(), LoadError> {
        self.wait(async { self.context.delete_stream(stream).await.map(|_| ()).map_err(failed) })
    }

    /// Makes a stream as a gateway does.
    fn create(&self) -> Result<(), LoadError> {
        let config = Config {
            name: ALONE.to_owned(),
            subjects: vec!["bifrost.telemetry.alone.>".to_owned()],
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_age: Duration::from_hours(7 * 24),
            duplicate_window: Duration::from_hours(1),
            ..Config::default()
        };
        self.wait(async { self.context.create_stream(config).await.map(|_| ()).map_err(failed) })
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Publishes messages of about this length to a new stream, until it is stopped.
    pub(crate) fn publish_alone(&self, length: usize) -> Result<AsyncNats<'_>, LoadError> {
        self.create()?;
        let done = Arc::<AtomicBool>::default();
        let work = publish(self.context.clone(), length, Arc::clone(&done));
        Ok(AsyncNats { streams: self, done, publishing: self.runtime.spawn(work) })
    }
}

/// async-nats, publishing.
pub(crate) struct AsyncNats<'a> {
    streams: &'a Streams,
    done: Arc<AtomicBool>,
    publishing: JoinHandle<Result<(), LoadError>>,
}

impl AsyncNats<'_> {
    /// Ends it and deletes its stream; an error if it had failed.
    pub(crate) fn stop(self) -> Result<(), LoadError> {
        self.done.store(true, Ordering::Relaxed);
        self.streams.wait(self.publishing).map_err(failed)??;
        self.streams.delete(ALONE)
    }
}

/// With so many unacknowledged at a time, until it is done.
async fn publish(context: jetstream::Context, length: usize, done: Arc<AtomicBool>) -> Result<(), LoadError> {
    let mut waiting = VecDeque::new();
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        if waiting.len() >= WINDOW
            && let Some(oldest) = waiting.pop_front()
        {
            acknowledged(oldest).await?;
        }
        let (subject, payload) = tag_message(number, length, '.');
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, format!("load-plc-{}-{number}-tag", number % 100));
        let sent = context.publish_with_headers(subject, headers, payload.into()).await;
        waiting.push_back(sent.map_err(failed)?);
        number += 1;
    }
    for sent in waiting {
        acknowledged(sent).await?;
    }
    Ok(())
}

async fn acknowledged(sent: jetstream::context::PublishAckFuture) -> Result<(), LoadError> {
    sent.into_future().await.map(|_| ()).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> LoadError {
    LoadError::Unreadable(format!("what async-nats says of the server ({error})"))
}

#[cfg(test)]
mod tests {
    use super::{super::Broker, *};

    #[test]
    fn what_is_published_alone_is_counted_by_the_server() {
        let broker = Broker::nats().unwrap();
        let streams = Streams::at(broker.port).unwrap();
        let alone = streams.publish_alone(250).unwrap();
        while streams.state(ALONE).unwrap().messages < 2_000 {
            std::thread::sleep(Duration::from_millis(20));
        }
        alone.stop().unwrap();
        assert!(streams.state(ALONE).is_err(), "deleted");
    }
}
