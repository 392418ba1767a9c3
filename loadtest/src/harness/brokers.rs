//! Brokers on loopback: mosquitto, and nats-server with streams on disk.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    ports,
    process::{Process, pinned},
    usage::Usage,
};
use crate::error::LoadError;

/// How long a broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that runs.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Process,
    /// Its port on the loopback.
    pub(crate) port: u16,
    _directory: TempDir,
}

impl Broker {
    /// Mosquitto without any bound but the machine's, so that what is slow is who publishes.
    pub(crate) fn mosquitto() -> Result<Self, LoadError> {
        Self::start("mosquitto", |port, _| {
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n\
                 max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type warning\n"
            )
        })
    }

    /// `nats-server`.
    pub(crate) fn nats() -> Result<Self, LoadError> {
        Self::start("nats-server", |port, directory| {
            let store = directory.join("store");
            format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n", store.display())
        })
    }

    fn start(name: &str, config: impl FnOnce(u16, &Path) -> String) -> Result<Self, LoadError> {
        let directory = tempfile::tempdir().map_err(LoadError::at("a temporary directory"))?;
        let port = ports::free()?;
        let file = directory.path().join("broker.conf");
        fs::write(&file, config(port, directory.path()))
            .map_err(LoadError::at(file.display().to_string()))?;
        let mut command = pinned(&program(name), None);
        let process = Process::start(name, command.arg("-c").arg(&file), directory.path().join("log"))?;
        let mut broker = Self { process, port, _directory: directory };
        broker.listens()?;
        Ok(broker)
    }

    fn listens(&mut self) -> Result<(), LoadError> {
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            self.process.check()?;
            if begin.elapsed() > PATIENCE {
                return Err(self.process.failed("doesn't listen"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What it has taken.
    pub(crate) fn usage(&self) -> Result<Usage, LoadError> {
        Usage::of(self.process.pid())
    }
}

/// Debian has servers where only root's PATH looks.
fn program(name: &str) -> PathBuf {
    let usual = PathBuf::from(format!("/usr/sbin/{name}"));
    if usual.is_file() { usual } else { PathBuf::from(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_listens_when_it_is_there_and_takes_something() {
        for broker in [Broker::mosquitto(), Broker::nats()] {
            let broker = broker.unwrap();
            assert!(broker.usage().unwrap().rss > 0.1);
        }
    }
}
