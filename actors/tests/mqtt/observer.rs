//! A client of the test's own: what others see at the broker.

use std::time::Duration;

use paho_mqtt as mqtt;
use tokio::time::timeout;

/// A client that sees what arrives on its topics.
pub(crate) struct Observer {
    client: mqtt::AsyncClient,
    arrived: mqtt::AsyncReceiver<Option<mqtt::Message>>,
}

/// How long something may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

impl Observer {
    /// Connects by MQTT 5 and subscribes.
    pub(crate) async fn start(url: &str, topics: &[&str]) -> Self {
        Self::named(url, "observer", topics).await
    }

    /// Connects with a client id.
    pub(crate) async fn named(url: &str, id: &str, topics: &[&str]) -> Self {
        let options = mqtt::CreateOptionsBuilder::new().server_uri(url.replace("mqtt:", "tcp:"));
        let options = options.client_id(id).persistence(None).finalize();
        let mut client = mqtt::AsyncClient::new(options).unwrap();
        let arrived = client.get_stream(10_000);
        let connection = mqtt::ConnectOptionsBuilder::new_v5().clean_start(true).finalize();
        client.connect(connection).await.unwrap();
        for topic in topics {
            client.subscribe(*topic, 2).await.unwrap();
        }
        Self { client, arrived }
    }

    /// The next message.
    pub(crate) async fn next(&self) -> mqtt::Message {
        let arrived = timeout(PATIENCE, self.arrived.recv()).await;
        arrived.expect("nothing arrived").unwrap().expect("the observer lost its connection")
    }

    /// The next messages, as topic and payload.
    pub(crate) async fn texts(&self, count: usize) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for _ in 0..count {
            let message = self.next().await;
            texts.push((message.topic().to_owned(), message.payload_str().into_owned()));
        }
        texts
    }

    /// Publishes, and waits until the broker has it.
    pub(crate) async fn publish(&self, message: mqtt::Message) {
        self.client.publish(message).await.unwrap();
    }
}
