//! Real servers on loopback, which end with their test.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The 2.9 of Debian 12, as it stands in plants.
    Debian,
    /// A new one.
    New,
}

impl Version {
    pub(crate) const BOTH: [Self; 2] = [Self::Debian, Self::New];

    fn binary(self) -> PathBuf {
        let path = match self {
            Self::Debian => PathBuf::from("/usr/sbin/nats-server"),
            Self::New => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/nats-server"),
        };
        assert!(path.exists(), "{} is missing: run scripts/install.sh test", path.display());
        path
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// One server with a configuration of its own.
pub(crate) struct Server {
    version: Version,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts one; `$FOLDER` in the configuration is a folder of its own.
    pub(crate) async fn start(version: Version, config: &str) -> Self {
        Self::start_on(version, free_port(), config).await
    }

    pub(crate) async fn start_on(version: Version, port: u16, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config.replace("$FOLDER", folder.path().to_str().unwrap());
        std::fs::write(folder.path().join("conf"), format!("listen: 127.0.0.1:{port}\n{config}\n")).unwrap();
        let mut server = Self { version, folder, port, process: None };
        server.launch();
        server.until_up().await;
        server
    }

    /// With `JetStream`.
    pub(crate) async fn with_jetstream(version: Version) -> Self {
        Self::start(version, JETSTREAM).await
    }

    pub(crate) fn launch(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.unwrap();
        let process = Command::new(self.version.binary())
            .arg("-c")
            .arg(self.folder.path().join("conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.unwrap());
    }

    pub(crate) async fn until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.is_up().await {
            assert!(Instant::now() < deadline, "the server doesn't start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_up(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address()).await else { return false };
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.is_ok() && &first == b"INFO"
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) const JETSTREAM: &str = r#"jetstream { store_dir: "$FOLDER/js" }"#;

/// Three servers that know each other.
pub(crate) async fn cluster(version: Version) -> Vec<Server> {
    let ports: Vec<_> = (0..6).map(|_| free_port()).collect();
    let routes: Vec<_> = ports[3..].iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let mut servers = Vec::new();
    for n in 0..3 {
        let config = format!(
            "server_name: n{n}\n{JETSTREAM}\ncluster {{ name: c, listen: 127.0.0.1:{}, routes: [{}] }}",
            ports[3 + n],
            routes.join(", "),
        );
        servers.push(Server::start_on(version, ports[n], &config).await);
    }
    servers
}
