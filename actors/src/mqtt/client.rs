//! Paho's client, made safe to let go of.
//!
//! Paho runs two threads for all clients and ends them with the last one. A client that is made at that moment
//! can be lost, so one that never connects is kept for ever. And a client must not be dropped by a callback of
//! its own: one whose connection is still being made is kept until Paho has given its verdict.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use mqtt::{AsyncClient, ConnectOptions, CreateOptions, Message, ServerResponse, Token};
use paho_mqtt as mqtt;
use tokio::time::timeout;

use super::{inbox::Inbox, reason};

/// How long a client that is let go of may take to say so.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why an attempt to connect failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Paho's verdict.
    Verdict(mqtt::Error),
    /// None in time.
    Late,
}

/// A connected client. Dropped without [`Self::part`], it tells the broker what the will would have told.
pub(super) struct Client {
    inner: Option<AsyncClient>,
    last_words: Option<Message>,
}

impl Client {
    /// Connects; what happens to the connection later goes to the inbox.
    pub(super) async fn connect(
        made_of: CreateOptions,
        options: ConnectOptions,
        limit: Duration,
        inbox: &Arc<Inbox>,
        last_words: Message,
    ) -> Result<(Self, ServerResponse), Failed> {
        hold_paho();
        let client = AsyncClient::new(made_of).map_err(Failed::Verdict)?;
        listen(&client, inbox);
        let mut attempt = Attempt { token: Some(client.connect(options)), client: Some(client) };
        let said = attempt.verdict(limit).await?;
        Ok((Self { inner: attempt.client.take(), last_words: Some(last_words) }, said))
    }

    /// The client itself; none once it has parted.
    pub(super) fn get(&self) -> Option<&AsyncClient> {
        self.inner.as_ref()
    }

    /// Lets go in peace: the broker was told, or there is nobody to tell.
    pub(super) fn part(&mut self) {
        self.last_words = None;
        self.inner = None;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let (Some(client), Some(last_words)) = (self.inner.take(), self.last_words.take()) {
            aside(move || {
                if client.is_connected() {
                    let _ = client.publish(last_words).wait_for(FAREWELL);
                }
                drop(client);
            });
        }
    }
}

/// An attempt to connect that may be given up.
struct Attempt {
    client: Option<AsyncClient>,
    token: Option<Token>,
}

impl Attempt {
    async fn verdict(&mut self, limit: Duration) -> Result<ServerResponse, Failed> {
        let Some(token) = &mut self.token else { return Err(Failed::Late) };
        let verdict = timeout(limit, token).await.map_err(|_| Failed::Late)?;
        self.token = None;
        if let Some(client) = &self.client {
            // The callback that gave the verdict holds the client too. Asking takes Paho's lock, and so waits
            // until it has returned.
            client.is_connected();
        }
        verdict.map_err(Failed::Verdict)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let (Some(client), Some(token)) = (self.client.take(), self.token.take()) {
            aside(move || {
                let _ = token.wait();
                client.is_connected();
                drop(client);
            });
        }
    }
}

/// Runs what may take a while without anybody waiting for it.
fn aside(work: impl FnOnce() + Send + 'static) {
    // Without a thread the work isn't done and the client dropped here: Paho closes the connection.
    let _ = std::thread::Builder::new().name("mqtt-close".to_owned()).spawn(work);
}

fn listen(client: &AsyncClient, inbox: &Arc<Inbox>) {
    let (messages, losses, ends) = (Arc::clone(inbox), Arc::clone(inbox), Arc::clone(inbox));
    client.set_message_callback(move |_, message| {
        if let Some(message) = message {
            messages.arrived(message);
        }
    });
    client.set_connection_lost_callback(move |_| {
        losses.lost("the broker closed it, or didn't answer any more".to_owned());
    });
    client.set_disconnected_callback(move |_, properties, code| {
        let said = properties.get_string(mqtt::PropertyCode::ReasonString);
        let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
        let (number, name) = (reason::number(code), reason::name(code));
        ends.lost(format!("the broker ended it with {number} {name}{said}"));
    });
}

fn hold_paho() {
    static ANCHOR: OnceLock<Option<AsyncClient>> = OnceLock::new();
    ANCHOR.get_or_init(|| {
        let options = mqtt::CreateOptionsBuilder::new().server_uri("tcp://localhost").client_id("anchor");
        AsyncClient::new(options.persistence(None).finalize()).ok()
    });
}
