//! Paho alone: the same payloads with the same window as a gateway, and nothing else to do.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use paho_mqtt::{AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, DeliveryToken, Message};

use super::alone::tag_message;
use crate::error::LoadError;

/// As a gateway's default.
const WINDOW: usize = 500;
/// Messages that paho may hold before they are written.
const MOST: i32 = 1000;
/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A publisher that runs until it is stopped.
#[derive(Debug)]
pub(crate) struct Paho {
    done: Arc<AtomicBool>,
    publishing: Option<JoinHandle<Result<(), LoadError>>>,
}

impl Paho {
    /// Publishes, at `QoS` 1, messages of about this length at a broker on this port of the loopback.
    pub(crate) fn start(port: u16, length: usize) -> Result<Self, LoadError> {
        let options = CreateOptionsBuilder::new().server_uri(format!("mqtt://127.0.0.1:{port}"));
        let options = options.client_id("alone").mqtt_version(5);
        let client = options.max_buffered_messages(MOST).create_client().map_err(failed)?;
        let session = ConnectOptionsBuilder::new_v5().connect_timeout(PATIENCE).finalize();
        client.connect(session).wait_for(PATIENCE).map_err(failed)?;
        let done = Arc::<AtomicBool>::default();
        let until = Arc::clone(&done);
        let publishing = thread::spawn(move || publish(&client, length, &until));
        Ok(Self { done, publishing: Some(publishing) })
    }

    /// Ends it; an error if it had failed.
    pub(crate) fn stop(mut self) -> Result<(), LoadError> {
        self.done.store(true, Ordering::Relaxed);
        let ended = self.publishing.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(failed(paho_mqtt::Error::Failure)))
    }
}

impl Drop for Paho {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(publishing) = self.publishing.take() {
            let _ = publishing.join();
        }
    }
}

/// With so many unacknowledged at a time, until it is done.
fn publish(client: &AsyncClient, length: usize, done: &AtomicBool) -> Result<(), LoadError> {
    let mut waiting = VecDeque::<DeliveryToken>::new();
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        if waiting.len() >= WINDOW
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait_for(PATIENCE).map_err(failed)?;
        }
        let (topic, payload) = tag_message(number, length, '/');
        waiting.push_back(client.try_publish(Message::new(topic, payload, 1)).map_err(failed)?);
    }
    waiting.into_iter().try_for_each(|token| token.wait_for(PATIENCE)).map_err(failed)?;
    client.disconnect(None).wait_for(PATIENCE).map_err(failed).map(|_| ())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: paho_mqtt::Error) -> LoadError {
    LoadError::Unreadable(format!("what paho says of the broker ({error})"))
}
