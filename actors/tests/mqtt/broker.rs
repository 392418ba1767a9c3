//! A mosquitto of the test's own, on a free port of loopback.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A broker that ends with the test.
pub(crate) struct Broker {
    process: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

/// Lets everybody in.
pub(crate) const OPEN: &str = "allow_anonymous true\n";

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Broker {
    /// Starts one with these lines in its configuration.
    pub(crate) fn start(lines: &str) -> Self {
        Self::with_files(|_| lines.to_owned())
    }

    /// Starts one whose configuration names files of its folder.
    pub(crate) fn with_files(lines: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = lines(folder.path());
        let port = free_port();
        std::fs::write(folder.path().join("lines"), lines).unwrap();
        Self { process: run(folder.path(), port), folder, port }
    }

    /// Kills it, as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it anew on the same port.
    pub(crate) fn restart(&mut self) {
        self.process = run(self.folder.path(), self.port);
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(folder: &Path, port: u16) -> Child {
    let lines = std::fs::read_to_string(folder.join("lines")).unwrap();
    let file = folder.join("mosquitto.conf");
    // As root it would go on as a user who may not read the folder.
    std::fs::write(&file, format!("user root\nlistener {port} 127.0.0.1\n{lines}")).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut process = Command::new(program())
        .args(["-v", "-c"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = process.try_wait().unwrap();
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(ended.is_none() && Instant::now() < deadline, "mosquitto doesn't run: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// Where Debian puts it isn't in everybody's path.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/mosquitto");
    if debian.exists() { debian } else { "mosquitto".into() }
}
