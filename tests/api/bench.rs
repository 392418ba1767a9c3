//! A gateway with its HTTP interface and one PLC, in a thread of its own; and a client that asks it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bifrost::api::{
    ApiSettings, ApiState, ConfigControl, ControlError, DiscoverySettings, KeyProblem, Readiness,
    ReloadReport, Who, serve,
};
use bifrost_actors::{
    audit::AuditSettings,
    dead_letters::DeadLetterSettings,
    gateway::{ApplyError, BrokerSettings, Changes, Gateway, GatewaySettings, LimitSettings},
    plc::DeviceSettings,
    supervision::{Arbiters, SupervisionSettings},
};
use bifrost_security::{
    accounts::{Authority, AuthoritySettings},
    audit::Discard,
};
use bifrost_simulator::{PlcSettings, SimulatedPlc};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::identity;

/// Longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What reading the configuration anew comes to next.
pub(crate) type NextReload = Option<Result<ReloadReport, ControlError>>;

/// Keeps nothing, and reloads as it is told; a reload that it isn't told of panics.
struct Control {
    gateway: Gateway,
    reload: Arc<Mutex<NextReload>>,
}

impl ConfigControl for Control {
    fn reload(&self, dry_run: bool, _: Who) -> LocalBoxFuture<'_, Result<ReloadReport, ControlError>> {
        let next = self.reload.lock().unwrap().take().expect("a reload that nobody prepared");
        Box::pin(async move { next.map(|report| ReloadReport { applied: !dry_run, ..report }) })
    }

    fn put_device(
        &self,
        device: DeviceSettings,
        _: Who,
    ) -> LocalBoxFuture<'_, Result<Changes, ControlError>> {
        Box::pin(async { self.gateway.put_device(device).await.map_err(refused) })
    }

    fn remove_device(&self, id: String, _: Who) -> LocalBoxFuture<'_, Result<Changes, ControlError>> {
        Box::pin(async move { self.gateway.remove_device(&id).await.map_err(refused) })
    }
}

fn refused(error: ApplyError) -> ControlError {
    match error {
        ApplyError::Invalid(problems) => {
            let keys = problems.into_iter().map(|(device, problem)| KeyProblem {
                device_id: Some(device),
                ..KeyProblem::new(problem.key, problem.problem)
            });
            ControlError::Invalid(keys.collect())
        }
        ApplyError::UnknownDevice(id) => ControlError::UnknownDevice(id),
        ApplyError::Tree(error) => ControlError::Unavailable(error.to_string()),
    }
}

/// What the thread hands out once it serves.
struct Running {
    address: SocketAddr,
    gateway: Gateway,
    plc: Arc<SimulatedPlc>,
}

/// A running gateway; ends when dropped.
pub(crate) struct Bench {
    address: SocketAddr,
    agent: ureq::Agent,
    pub(crate) gateway: Gateway,
    pub(crate) plc: Arc<SimulatedPlc>,
    pub(crate) readiness: Readiness,
    pub(crate) reload: Arc<Mutex<NextReload>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    /// A gateway with one device, `press-1`.
    pub(crate) fn start() -> Self {
        Self::with(ApiSettings::default(), |plc| vec![press("press-1", plc)])
    }

    /// A gateway with these settings, and the devices made for the PLC's address.
    pub(crate) fn with(
        settings: ApiSettings,
        devices: impl FnOnce(SocketAddr) -> Vec<Value> + Send + 'static,
    ) -> Self {
        Self::with_brokers(settings, Vec::new(), devices)
    }

    /// The same, with these brokers.
    pub(crate) fn with_brokers(
        settings: ApiSettings,
        brokers: Vec<BrokerSettings>,
        devices: impl FnOnce(SocketAddr) -> Vec<Value> + Send + 'static,
    ) -> Self {
        let (readiness, reload) = (Readiness::default(), Arc::<Mutex<NextReload>>::default());
        let (stop, stopped) = oneshot::channel();
        let (running, is_running) = mpsc::channel();
        let (ready, next) = (readiness.clone(), Arc::clone(&reload));
        let thread = std::thread::spawn(move || {
            let run = run(settings, brokers, devices, ready, next, running, stopped);
            actix::System::new().block_on(run);
        });
        let running: Running = is_running.recv_timeout(PATIENCE).expect("the gateway must start");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Self {
            address: running.address,
            agent: config.build().into(),
            gateway: running.gateway,
            plc: running.plc,
            readiness,
            reload,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `host:port` of the PLC.
    pub(crate) fn plc_address(&self) -> SocketAddr {
        self.plc.local_addr().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {}", identity::TOKEN))
            .header("content-type", "application/json");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut response = self.agent.run(request.body(body).unwrap()).unwrap();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        Answer { status, headers, body: response.body_mut().read_to_string().unwrap() }
    }

    /// Sends these lines as they are, with a body, and reads until the server closes.
    pub(crate) fn raw(&self, lines: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let bearer = bearer();
        let lines = [lines, &[&bearer]].concat();
        stream.write_all(format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n")).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&String::from_utf8_lossy(&answer))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks until the answer is as it has to become.
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path);
            let json = answer.json();
            if wanted(&json) {
                return json;
            }
            assert!(Instant::now() < end, "{path} stays {json}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a device answers.
    pub(crate) fn until_online(&self, id: &str) {
        self.until(&format!("/api/devices/{id}"), |device| device["state"] == "online");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the gateway's thread panicked");
        }
    }
}

async fn run(
    settings: ApiSettings,
    brokers: Vec<BrokerSettings>,
    devices: impl FnOnce(SocketAddr) -> Vec<Value>,
    readiness: Readiness,
    reload: Arc<Mutex<NextReload>>,
    running: mpsc::Sender<Running>,
    stopped: oneshot::Receiver<()>,
) {
    let data = tempfile::tempdir().unwrap();
    let plc = PlcSettings { unit_ids: vec![1, 2], ..PlcSettings::named("press") };
    let plc = Arc::new(SimulatedPlc::bind(([127, 0, 0, 1], 0).into(), plc).unwrap());
    let arbiters = Arbiters::start(1).with_brokers(brokers.len());
    let gateway = GatewaySettings {
        gateway_id: "gw-1".into(),
        site_id: "plant-a".into(),
        hostname: "host".into(),
        brokers,
        audit: AuditSettings::default(),
        certificates: bifrost_actors::certificate_rotator::RotatorSettings::default(),
        data_dir: data.path().to_owned(),
        supervision: SupervisionSettings::default(),
        limits: LimitSettings::default(),
        dead_letters: DeadLetterSettings::default(),
    };
    let gateway = Gateway::start(gateway, arbiters).await.unwrap();
    let devices = devices(plc.local_addr().unwrap()).into_iter();
    let devices = devices.map(|device| serde_json::from_value(device).unwrap()).collect();
    gateway.apply(devices).await.unwrap();
    let control = Arc::new(Control { gateway: gateway.clone(), reload });
    let discovery = DiscoverySettings {
        allowed_ranges: vec!["127.0.0.0/8".parse().unwrap()],
        deadline: Duration::from_secs(10),
        ..DiscoverySettings::default()
    };
    identity::prepare(data.path());
    let authority = Arc::new(Authority::open(data.path(), &AuthoritySettings::default()).unwrap());
    let state =
        ApiState::new(gateway.clone(), control, readiness, settings, discovery, authority, Arc::new(Discard));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve(listener, state).unwrap();
    let handle = server.handle();
    let serving = actix::spawn(server);
    running.send(Running { address, gateway: gateway.clone(), plc }).unwrap();
    let _ = stopped.await;
    handle.stop(false).await;
    serving.await.unwrap().unwrap();
    gateway.drain(Duration::from_secs(5)).await;
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status: status.unwrap_or_else(|| panic!("no HTTP: {text:?}")), headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer that went well.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    /// The problem of this status and kind, complete in form.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:bifrost:problem:{slug}"), "{problem}");
        assert_eq!(problem["status"], status);
        for key in ["title", "detail", "instance", "request_id"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {problem}");
        }
        problem
    }

    /// The keys that a problem names.
    #[track_caller]
    pub(crate) fn keys(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["key"].as_str().unwrap().to_owned()).collect()
    }
}

/// The header that shows who the tests are.
pub(crate) fn bearer() -> String {
    format!("authorization: Bearer {}", identity::TOKEN)
}

/// A device with a writable number, one that isn't, and a switch.
pub(crate) fn press(id: &str, plc: SocketAddr) -> Value {
    json!({
        "id": id, "protocol": "modbus-tcp", "address": plc.to_string(), "unit_id": 1,
        "poll_interval": "50ms", "timeout": "300ms", "retry_max": "100ms",
        "tags": [
            {"id": "speed", "address": "40001", "data_type": "uint16", "writable": true, "min": 0, "max": 100,
             "unit": "rpm"},
            {"id": "count", "address": "holding:10", "data_type": "uint32"},
            {"id": "running", "address": "coil:0", "writable": true}
        ]
    })
}
