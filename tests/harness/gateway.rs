//! The gateway as an operator has it: a folder with a configuration and data, and the binary that runs on it.

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitStatus, sync::Arc};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Answer, PATIENCE, ask, feed::Feed, http::try_ask, identity, process::Process, until, until_true,
};

/// A folder with a configuration file and a data directory; the gateway may be started on it again and again.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// With these devices, and otherwise what a test needs: a free port, logs as JSON.
    pub(crate) fn new(devices: &Value) -> Arc<Self> {
        Self::with(&json!({}), devices)
    }

    /// The same with more sections, which win over the usual ones key by key.
    pub(crate) fn with(sections: &Value, devices: &Value) -> Arc<Self> {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.configure(sections, devices);
        Arc::new(site)
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, sections: &Value, devices: &Value) {
        let mut config = json!({
            "gateway": {
                "id": "gw-test",
                "site_id": "plant-test",
                "data_dir": self.data_dir(),
                "port": 0,
                "insecure_http": true,
                "shutdown_timeout": "20s",
            },
            "logging": { "format": "json" },
            "devices": devices,
        });
        merge(&mut config, sections);
        // JSON is YAML.
        self.write(&format!("{config:#}"));
    }

    /// Writes any text where the configuration is.
    pub(crate) fn write(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the configuration says that data is.
    fn configured_data_dir(&self) -> PathBuf {
        let text = fs::read_to_string(self.config()).unwrap_or_default();
        let config = serde_json::from_str::<Value>(&text).unwrap_or_default();
        config
            .pointer("/gateway/data_dir")
            .and_then(Value::as_str)
            .map_or_else(|| self.data_dir(), PathBuf::from)
    }

    /// Starts the gateway and waits until it is ready and every device has its actor.
    #[track_caller]
    pub(crate) fn start(self: &Arc<Self>) -> Gateway {
        self.start_in(&[])
    }

    /// The same in this environment.
    #[track_caller]
    pub(crate) fn start_in(self: &Arc<Self>, environment: &[(&str, &str)]) -> Gateway {
        identity::prepare(&self.configured_data_dir());
        let mut process = self.launch_in(environment);
        let hello = process.error_line("`gateway runs`", |line| line.contains(r#""gateway runs""#));
        let url = serde_json::from_str::<Value>(&hello).unwrap()["url"].as_str().unwrap().to_owned();
        let gateway = Gateway { _site: Arc::clone(self), process, url };
        until_true("readiness", || gateway.get("/readiness").status == 200);
        until_true("the actors of all devices", || {
            let listed = gateway.json("/api/devices?limit=1000");
            listed["devices"].as_array().unwrap().iter().all(|row| row["since"].is_string())
        });
        gateway
    }

    /// Starts the gateway without waiting for anything.
    pub(crate) fn launch(&self) -> Process {
        self.launch_in(&[])
    }

    fn launch_in(&self, environment: &[(&str, &str)]) -> Process {
        Process::bifrost_in(environment, &["run", "--config", self.config().to_str().unwrap()])
    }
}

/// Lays one tree over another.
fn merge(into: &mut Value, over: &Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over.clone(),
    }
}

/// A gateway that runs; it is killed when this is dropped.
pub(crate) struct Gateway {
    _site: Arc<Site>,
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Gateway {
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &Value::Null)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, body)
    }

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        ask(method, &format!("{}{path}", self.url), body)
    }

    /// Whether it answers at all.
    pub(crate) fn is_alive(&self) -> bool {
        let url = format!("{}/health", self.url);
        try_ask("GET", &url, &Value::Null).is_ok_and(|answer| answer.status == 200)
    }

    /// The JSON of what must be there.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.body
    }

    pub(crate) fn device(&self, id: &str) -> Value {
        self.json(&format!("/api/devices/{id}"))
    }

    pub(crate) fn info(&self, id: &str) -> Value {
        self.json(&format!("/api/devices/{id}/info"))
    }

    pub(crate) fn stats(&self, id: &str) -> Value {
        self.json(&format!("/api/devices/{id}/stats"))
    }

    /// Last known values by tag id.
    #[track_caller]
    pub(crate) fn tags(&self, device: &str) -> BTreeMap<String, Value> {
        by_id(&self.json(&format!("/api/devices/{device}/tags?limit=1000")))
    }

    pub(crate) fn tag(&self, device: &str, id: &str) -> Value {
        self.tags(device).remove(id).unwrap_or_else(|| panic!("{device} has no tag {id}"))
    }

    /// Waits until every tag of a device is GOOD, and answers them.
    #[track_caller]
    pub(crate) fn good_tags(&self, device: &str) -> BTreeMap<String, Value> {
        until(&format!("all tags of {device} GOOD"), || {
            Some(self.tags(device)).filter(|tags| tags.values().all(|tag| tag["quality"] == "GOOD"))
        })
    }

    /// Reads from the device now.
    #[track_caller]
    pub(crate) fn read(&self, device: &str, tags: &[&str]) -> BTreeMap<String, Value> {
        let answer = self.post("/api/tags/read", &json!({ "device_id": device, "tag_ids": tags }));
        assert_eq!(answer.status, 200, "reading {tags:?}: {}", answer.body);
        by_id(&answer.body)
    }

    /// Writes and reads back; answers the command result.
    #[track_caller]
    pub(crate) fn write(&self, device: &str, tag: &str, value: &Value) -> Value {
        self.command(&json!({ "device_id": device, "tag_id": tag, "value": value, "read_back": true }))
    }

    #[track_caller]
    pub(crate) fn command(&self, command: &Value) -> Value {
        let answer = self.post("/api/tags/write", command);
        assert_eq!(answer.status, 200, "{command}: {}", answer.body);
        answer.body
    }

    /// Waits for a state of a device: online, degraded or offline. What REST says of a device whose actor
    /// isn't there is no such state.
    #[track_caller]
    pub(crate) fn await_state(&self, device: &str, state: &str) -> Value {
        until(&format!("{device} {state}"), || {
            let row = self.device(device);
            (row["state"] == state && row["since"].is_string()).then_some(row)
        })
    }

    /// Waits for a quality of a tag.
    #[track_caller]
    pub(crate) fn await_quality(&self, device: &str, tag: &str, quality: &str) -> Value {
        let what = format!("{device}/{tag} {quality}");
        until(&what, || Some(self.tag(device, tag)).filter(|tag| tag["quality"] == quality))
    }

    /// A branch of the supervisor tree.
    #[track_caller]
    pub(crate) fn actor(&self, path: &str) -> Value {
        self.json(&format!("/api/actors/{path}"))
    }

    /// The types of a device's events, the oldest first.
    pub(crate) fn event_types(&self, device: &str) -> Vec<String> {
        let kind = |event: &Value| event["event_type"].as_str().unwrap().to_owned();
        self.events(device).iter().map(kind).collect()
    }

    /// A device's events, the oldest first.
    pub(crate) fn events(&self, device: &str) -> Vec<Value> {
        let listed = self.json(&format!("/api/events?limit=1000&device_id={device}"));
        listed["events"].as_array().unwrap().iter().rev().cloned().collect()
    }

    /// A client of the live feed that has subscribed.
    #[track_caller]
    pub(crate) fn feed(&self, subscription: Value) -> Feed {
        let mut feed = Feed::connect(&self.url);
        feed.subscribe(subscription);
        feed
    }

    /// A client that subscribed to all tags and doesn't read, and for which more waits than the sockets
    /// between take. Needs a device that says much.
    #[track_caller]
    pub(crate) fn stalled_feed(&self) -> Feed {
        let feed = self.feed(json!({}));
        until_true("a client that is behind", || {
            let clients = self.json("/api/actors/clients?detail=true");
            let clients = clients["children"].as_array().unwrap();
            clients.iter().any(|client| client["detail"]["waiting"].as_u64() > Some(200))
        });
        feed
    }

    /// SIGTERM, and how that ended.
    #[track_caller]
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.wait()
    }

    /// Log records of which the message contains this.
    pub(crate) fn logged(&self, part: &str) -> Vec<Value> {
        let lines = self.process.stderr();
        let records = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["message"].as_str().is_some_and(|text| text.contains(part))).collect()
    }

    /// Waits for such a log record.
    #[track_caller]
    pub(crate) fn await_log(&self, part: &str) -> Value {
        until(&format!("{part:?} in the log within {PATIENCE:?}"), || self.logged(part).pop())
    }
}

#[track_caller]
fn by_id(answer: &Value) -> BTreeMap<String, Value> {
    let tags = answer["tags"].as_array().unwrap_or_else(|| panic!("no tags in {answer}"));
    tags.iter().map(|tag| (tag["id"].as_str().unwrap().to_owned(), tag.clone())).collect()
}
