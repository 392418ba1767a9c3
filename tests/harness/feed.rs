//! A client of the live feed, and one that notes all it hears.

use std::{
    io::ErrorKind,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _};

use super::{PATIENCE, Plc, until};

/// How long one look at the socket takes when nothing comes.
const LOOK: Duration = Duration::from_millis(20);

/// A handshake that shows who the tests are.
pub(crate) fn feed_request(url: &str) -> tungstenite::handshake::client::Request {
    request_as(super::identity::TOKEN, url)
}

fn request_as(token: &str, url: &str) -> tungstenite::handshake::client::Request {
    let mut request = url.into_client_request().unwrap();
    let bearer = format!("Bearer {token}");
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    request
}

pub(crate) struct Feed {
    socket: WebSocket<TcpStream>,
}

impl Feed {
    /// Opens the feed of the gateway at this address.
    #[track_caller]
    pub(crate) fn connect(url: &str) -> Self {
        Self::connect_as(super::identity::TOKEN, url)
    }

    /// The same, as whoever this token says.
    #[track_caller]
    pub(crate) fn connect_as(token: &str, url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = request_as(token, &format!("{}/ws", url.replacen("http", "ws", 1)));
        let (socket, _) = tungstenite::client(request, stream).expect("the gateway upgrades");
        socket.get_ref().set_read_timeout(Some(LOOK)).unwrap();
        Self { socket }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the gateway reads");
    }

    /// Subscribes to tags, or to what this says.
    pub(crate) fn subscribe(&mut self, mut subscription: Value) {
        let object = subscription.as_object_mut().expect("a subscription is an object");
        object.insert("type".to_owned(), json!("subscribe"));
        object.entry("topics").or_insert(json!(["device_data"]));
        self.send(&subscription.to_string());
    }

    /// The next frame, if one comes within a moment; `Err` when the gateway closed the feed.
    pub(crate) fn look(&mut self) -> Result<Option<Value>, String> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(serde_json::from_str(&text).expect("frames are JSON"))),
            Ok(Message::Close(_)) => Err("closed".to_owned()),
            Ok(_) => Ok(None),
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The next frame.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        self.find("a frame", |_| true)
    }

    /// The next frame that passes; others are thrown away.
    #[track_caller]
    pub(crate) fn find(&mut self, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.look().unwrap_or_else(|end| panic!("the feed ended: {end}")).filter(&passes))
    }

    /// The next frame of a type.
    #[track_caller]
    pub(crate) fn of_type(&mut self, kind: &str) -> Value {
        self.find(&format!("a frame {kind}"), |frame| frame["type"] == kind)
    }

    /// All that comes within this time.
    pub(crate) fn gather(&mut self, time: Duration) -> Vec<Value> {
        let deadline = Instant::now() + time;
        let mut heard = Vec::new();
        while Instant::now() < deadline {
            heard.extend(self.look().unwrap_or_else(|end| panic!("the feed ended: {end}")));
        }
        heard
    }
}

/// Reads a feed in the background, until it is asked for what it heard or the feed ends.
pub(crate) struct Recorder {
    frames: Arc<Mutex<Vec<Value>>>,
    done: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

impl Recorder {
    pub(crate) fn start(mut feed: Feed) -> Self {
        let (frames, done) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<AtomicBool>::default());
        let (into, until) = (Arc::clone(&frames), Arc::clone(&done));
        let reading = thread::spawn(move || {
            while !until.load(Ordering::Relaxed)
                && let Ok(frame) = feed.look()
            {
                into.lock().unwrap().extend(frame);
            }
        });
        Self { frames, done, reading: Some(reading) }
    }

    /// What was heard so far.
    pub(crate) fn so_far(&self) -> Vec<Value> {
        self.frames.lock().unwrap().clone()
    }

    /// Waits until so many frames passed.
    #[track_caller]
    pub(crate) fn await_frames(&self, count: usize, passes: impl Fn(&Value) -> bool) {
        let count_now = || self.frames.lock().unwrap().iter().filter(|frame| passes(frame)).count();
        until("frames of the feed", || (count_now() >= count).then_some(()));
    }

    /// Waits for the end of the feed, and answers all that was heard.
    pub(crate) fn hear_out(mut self) -> Vec<Value> {
        if let Some(reading) = self.reading.take() {
            until("the end of the feed", || reading.is_finished().then_some(()));
            reading.join().expect("the feed was read");
        }
        self.so_far()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// The sequence numbers of one device in the order in which they came, each once. Made for devices, or
/// subscriptions, of one tag: the first values of several may be of several scans.
pub(crate) fn numbers(frames: &[Value], device: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    for frame in frames.iter().filter(|frame| frame["device_id"] == device) {
        let single = std::slice::from_ref(&frame["tag"]);
        let tags = frame["tags"].as_array().map_or(single, Vec::as_slice);
        numbers.extend(tags.iter().filter_map(|tag| tag["seq"].as_u64()));
    }
    numbers.dedup();
    numbers
}

/// That a device's numbers count up by one: no scan was lost.
#[track_caller]
pub(crate) fn assert_no_gap(numbers: &[u64]) {
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{numbers:?}");
    }
}

/// A device, `chatty`, that says so much that a client who doesn't read is behind at once: 50 tags with long
/// descriptions, twenty times a second.
pub(crate) fn chatty(plc: &Plc) -> Value {
    let tag = |at: u16| json!({"id": at.to_string(), "address": format!("holding:{at}"), "description": "blah ".repeat(1500)});
    json!({
        "id": "chatty", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "50ms",
        "tags": (0..50).map(tag).collect::<Vec<_>>()
    })
}
