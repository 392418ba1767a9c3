//! One NATS server with JetStream: killed, silenced and started anew on the same port.

use std::{
    fmt::Write as _,
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    thread,
    time::Duration,
};

use nats::{Client, ConnectOptions, jetstream};
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle};

use super::{
    mosquitto::{listens, server, silence},
    ports,
};
use crate::harness::{Process, until_true};

static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

/// The runtime that the clients of this process live on.
pub(super) fn runtime() -> &'static Handle {
    &RUNTIME
}

/// Lets a client of this process do something, and waits for it.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

/// Which nats-server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Version {
    /// Debian's 2.9, which ignores options that it doesn't know.
    Old,
    /// The one that the tests' Python environment brings.
    #[default]
    New,
}

impl Version {
    fn program(self) -> PathBuf {
        match self {
            Self::Old => server("nats-server"),
            Self::New => Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/nats-server"),
        }
    }
}

/// A server on a port of loopback, whether it runs at the moment or not.
pub(crate) struct NatsServer {
    pub(crate) port: u16,
    pub(crate) name: String,
    folder: TempDir,
    version: Version,
    process: Option<Process>,
}

impl NatsServer {
    /// One that lets everybody in and keeps streams on disk.
    pub(crate) fn start(version: Version) -> Self {
        Self::with(version, |_| String::new())
    }

    /// One with these lines of configuration, which may name files in its folder.
    pub(crate) fn with(version: Version, lines: impl FnOnce(&Path) -> String) -> Self {
        let mut server = Self::configured(version, "single", ports::free(), lines);
        server.restart();
        server
    }

    /// One that doesn't run yet.
    pub(super) fn configured(
        version: Version,
        name: &str,
        port: u16,
        lines: impl FnOnce(&Path) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = format!("server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n");
        let store = folder.path().join("store");
        writeln!(config, "jetstream {{ store_dir: \"{}\", max_file: 2G }}", store.display()).unwrap();
        config.push_str(&lines(folder.path()));
        fs::write(folder.path().join("nats.conf"), config).unwrap();
        Self { port, name: name.to_owned(), folder, version, process: None }
    }

    /// Starts it if it doesn't run, and waits until it accepts connections.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.begin();
        let port = self.port;
        until_true("nats-server listening", || listens(port));
    }

    /// Starts it and doesn't wait.
    pub(super) fn begin(&mut self) {
        self.process = None;
        let program = self.version.program();
        assert!(
            self.version == Version::Old || program.exists(),
            "{} is missing: run `make test`, which provides it",
            program.display()
        );
        let mut command = Command::new(program);
        self.process = Some(Process::start(command.arg("-c").arg(self.folder().join("nats.conf"))));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// It keeps its connections and says nothing more.
    pub(crate) fn silence(&self) {
        silence(self.process());
    }

    /// The end of silence.
    pub(crate) fn go_on(&self) {
        self.process().signal("CONT");
    }

    /// Where its configuration is, whatever that names, and its streams.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As a gateway's configuration names it.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> Vec<String> {
        self.process().stderr()
    }

    /// A client that reconnects by itself.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        client(&[self.url()], ConnectOptions::new())
    }

    /// A client for streams.
    #[track_caller]
    pub(crate) fn jetstream(&self) -> jetstream::Context {
        streams(self.client())
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("nats-server runs")
    }
}

/// A client of any of these servers that reconnects soon and by itself.
#[track_caller]
pub(super) fn client(urls: &[String], options: ConnectOptions) -> Client {
    let options = options.max_reconnects(None).reconnect_delay_callback(|_| Duration::from_millis(50));
    block_on(options.connect(urls)).expect("the server accepts a client")
}

/// The same client, for streams. A part of it lives on the runtime.
pub(super) fn streams(client: Client) -> jetstream::Context {
    let _runtime = RUNTIME.enter();
    jetstream::new(client)
}
