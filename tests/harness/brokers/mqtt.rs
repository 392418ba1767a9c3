//! An MQTT client that notes all that it hears, and one that publishes a message and goes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use paho_mqtt::{
    AsyncClient, ConnectOptions, ConnectOptionsBuilder, CreateOptionsBuilder, Message, MessageBuilder,
    Properties, Property, PropertyCode, SubscribeOptions,
};
use serde_json::Value;

use crate::harness::{until, until_true};

/// How often a watcher without a connection tries again.
const RETRY: Duration = Duration::from_millis(50);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(3);

/// One message, and when it came.
#[derive(Clone)]
pub(crate) struct Heard {
    pub(crate) message: Message,
    pub(crate) at: Instant,
    /// The same by the clock that messages carry.
    pub(crate) time: SystemTime,
}

impl Heard {
    pub(crate) fn topic(&self) -> &str {
        self.message.topic()
    }

    /// Its JSON; null when it has none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.message.payload()).unwrap_or(Value::Null)
    }

    /// As it was published, if the watcher asked for no less.
    pub(crate) fn qos(&self) -> i32 {
        self.message.qos() as i32
    }

    /// As it was published, whether or not it was kept until the watcher came.
    pub(crate) fn is_retained(&self) -> bool {
        self.message.retained()
    }

    /// MQTT 5: a user property.
    pub(crate) fn user_property(&self, key: &str) -> Option<String> {
        self.message.properties().find_user_property(key)
    }

    /// MQTT 5: seconds until the broker drops it.
    pub(crate) fn expiry(&self) -> Option<u32> {
        self.message.properties().get_val(PropertyCode::MessageExpiryInterval)
    }

    /// MQTT 5: what an answer repeats of its question.
    pub(crate) fn correlation(&self) -> Option<Vec<u8>> {
        self.message.properties().get_binary(PropertyCode::CorrelationData)
    }
}

/// A subscriber on MQTT 5 that reconnects by itself.
pub(crate) struct MqttWatcher {
    heard: Arc<Mutex<Vec<Heard>>>,
    connections: Arc<AtomicU32>,
    done: Arc<AtomicBool>,
    connecting: Option<JoinHandle<()>>,
}

impl MqttWatcher {
    /// Hears everything at a broker that lets everybody in; misses what is published while it is away.
    #[track_caller]
    pub(crate) fn everything(port: u16) -> Self {
        Self::start(port, "#", &mut ConnectOptionsBuilder::new_v5())
    }

    /// The same with a session that the broker keeps while the watcher is away, as long as the broker itself
    /// keeps anything.
    #[track_caller]
    pub(crate) fn persistent(port: u16, filter: &str) -> Self {
        let mut session = Properties::new();
        session.push_u32(PropertyCode::SessionExpiryInterval, 3600).unwrap();
        Self::start(port, filter, ConnectOptionsBuilder::new_v5().clean_start(false).properties(session))
    }

    /// Logged in as a user.
    #[track_caller]
    pub(crate) fn as_user(port: u16, filter: &str, (user, password): (&str, &str)) -> Self {
        Self::start(port, filter, ConnectOptionsBuilder::new_v5().user_name(user).password(password))
    }

    /// Subscribes to a filter, and returns when it has.
    #[track_caller]
    pub(crate) fn start(port: u16, filter: &str, options: &mut ConnectOptionsBuilder) -> Self {
        let options =
            options.connect_timeout(ATTEMPT).keep_alive_interval(Duration::from_secs(10)).finalize();
        let (heard, connections) = (Arc::<Mutex<Vec<Heard>>>::default(), Arc::<AtomicU32>::default());
        let (client, done) = (client(port), Arc::<AtomicBool>::default());
        let into = Arc::clone(&heard);
        client.set_message_callback(move |_, message| {
            if let Some(message) = message {
                let (at, time) = (Instant::now(), SystemTime::now());
                into.lock().unwrap().push(Heard { message, at, time });
            }
        });
        let (filter, count, until) = (filter.to_owned(), Arc::clone(&connections), Arc::clone(&done));
        let connecting = thread::spawn(move || stay(&client, &options, &filter, &count, &until));
        let watcher = Self { heard, connections, done, connecting: Some(connecting) };
        watcher.await_connections(1);
        watcher
    }

    /// How often it has connected and subscribed.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until it has subscribed so often.
    #[track_caller]
    pub(crate) fn await_connections(&self, count: u32) {
        until_true("a watcher subscribing", || self.connections() >= count);
    }

    /// What was heard so far.
    pub(crate) fn so_far(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// How many that pass were heard so far.
    pub(crate) fn count(&self, passes: impl Fn(&Heard) -> bool) -> usize {
        self.heard.lock().unwrap().iter().filter(|heard| passes(heard)).count()
    }

    /// Forgets what was heard so far.
    pub(crate) fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    /// The first message that passes, when it comes.
    #[track_caller]
    pub(crate) fn find(&self, what: &str, passes: impl Fn(&Heard) -> bool) -> Heard {
        until(what, || self.heard.lock().unwrap().iter().find(|heard| passes(heard)).cloned())
    }

    /// Waits until so many passed.
    #[track_caller]
    pub(crate) fn await_messages(&self, count: usize, passes: impl Fn(&Heard) -> bool) {
        until_true("messages by MQTT", || self.count(&passes) >= count);
    }
}

impl Drop for MqttWatcher {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        if let Some(connecting) = self.connecting.take() {
            let _ = connecting.join();
        }
    }
}

/// Connects and subscribes whenever there is no connection, until it is told to end.
fn stay(client: &AsyncClient, options: &ConnectOptions, filter: &str, count: &AtomicU32, done: &AtomicBool) {
    let as_published = SubscribeOptions::with_retain_as_published();
    while !done.load(Ordering::SeqCst) {
        if !client.is_connected() && client.connect(options.clone()).wait_for(ATTEMPT).is_ok() {
            let subscribed = client.subscribe_with_options(filter, 2, as_published, None).wait_for(ATTEMPT);
            count.fetch_add(u32::from(subscribed.is_ok()), Ordering::SeqCst);
        }
        thread::sleep(RETRY);
    }
    let _ = client.disconnect(None).wait_for(ATTEMPT);
}

/// A message to publish.
#[derive(Debug, Clone, Default)]
pub(crate) struct Publication<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) qos: i32,
    pub(crate) retain: bool,
    /// MQTT 5: where the answer is expected.
    pub(crate) response_topic: Option<&'a str>,
    /// MQTT 5: what the answer repeats.
    pub(crate) correlation: Option<&'a [u8]>,
}

/// Publishes at a broker that lets everybody in, and returns when the broker has acknowledged.
#[track_caller]
pub(crate) fn mqtt_publish(port: u16, publication: &Publication<'_>) {
    let client = client(port);
    let options = ConnectOptionsBuilder::new_v5().connect_timeout(ATTEMPT).finalize();
    client.connect(options).wait_for(ATTEMPT).expect("the broker accepts a client");
    let properties = [
        publication.response_topic.map(|topic| Property::new_string(PropertyCode::ResponseTopic, topic)),
        publication.correlation.map(|data| Property::new_binary(PropertyCode::CorrelationData, data)),
    ];
    let mut all = Properties::new();
    for property in properties.into_iter().flatten() {
        all.push(property.unwrap()).unwrap();
    }
    let message = MessageBuilder::new().topic(publication.topic).payload(publication.payload);
    let message = message.qos(publication.qos).retained(publication.retain).properties(all).finalize();
    client.publish(message).wait_for(ATTEMPT).expect("the broker acknowledges");
    let _ = client.disconnect(None).wait_for(ATTEMPT);
}

/// A client on MQTT 5 with an id of its own.
fn client(port: u16) -> AsyncClient {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let id = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let options = CreateOptionsBuilder::new().server_uri(format!("mqtt://127.0.0.1:{port}")).client_id(id);
    options.mqtt_version(5).create_client().expect("a client can be made")
}
