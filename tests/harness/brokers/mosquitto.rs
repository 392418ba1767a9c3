//! Mosquitto: killed, silenced and started anew on the same port.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::ports;
use crate::harness::{Process, until_true};

/// A broker on a port of loopback, whether it runs at the moment or not.
pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    folder: TempDir,
    process: Option<Process>,
}

impl Mosquitto {
    /// One that lets everybody in.
    pub(crate) fn start() -> Self {
        Self::with(|_| "allow_anonymous true\n".to_owned())
    }

    /// One with these lines of configuration, which may name files in its folder; without
    /// `allow_anonymous` or a password file it lets nobody in. It refuses no load: queues have no bound.
    pub(crate) fn with(lines: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free();
        let given = lines(folder.path());
        let listener =
            if given.contains("listener ") { String::new() } else { format!("listener {port} 127.0.0.1\n") };
        let usual =
            "per_listener_settings false\nmax_inflight_messages 0\nmax_queued_messages 0\nuser root\n";
        fs::write(folder.path().join("mosquitto.conf"), format!("{listener}{usual}{given}")).unwrap();
        let mut broker = Self { port, folder, process: None };
        broker.restart();
        broker
    }

    /// One that lets in these users, each with what an ACL file says of it (`topic write a/#`).
    pub(crate) fn with_users(users: &[(&str, &str, &str)], more: &str) -> Self {
        Self::with(|folder| {
            let (passwords, rules) = (folder.join("passwords"), folder.join("rules"));
            fs::write(&passwords, "").unwrap();
            let rule = |(user, password, rules): &(&str, &str, &str)| {
                let mut command = Command::new("mosquitto_passwd");
                let added = command.arg("-b").arg(&passwords).args([user, password]).status();
                assert!(added.expect("mosquitto_passwd runs").success());
                format!("user {user}\n{rules}\n")
            };
            fs::write(&rules, users.iter().map(rule).collect::<String>()).unwrap();
            format!("password_file {}\nacl_file {}\n{more}", passwords.display(), rules.display())
        })
    }

    /// Starts it if it doesn't run, and waits until it accepts connections.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new(server("mosquitto"));
        let process = Process::start(command.arg("-c").arg(self.folder().join("mosquitto.conf")));
        self.process = Some(process);
        let port = self.port;
        until_true("mosquitto listening", || listens(port));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, on which it keeps what its configuration says, and its end.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("TERM");
            process.wait();
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

    /// Where its configuration is, and whatever that names.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As a gateway's configuration names it.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> Vec<String> {
        self.process().stderr()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("mosquitto runs")
    }
}

/// Whether somebody accepts connections on this port of loopback.
pub(super) fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Stops a process, and returns when none of its threads runs any more.
pub(super) fn silence(process: &Process) {
    process.signal("STOP");
    let threads = format!("/proc/{}/task", process.id());
    until_true("a process stopped", || {
        fs::read_dir(&threads).unwrap().flatten().all(|thread| {
            // The thread's name, in brackets, may hold anything; its state follows.
            fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| stat.contains(") T "))
        })
    });
}

/// A server's program: Debian has them where only root's PATH looks.
pub(super) fn server(name: &str) -> PathBuf {
    let usual = PathBuf::from(format!("/usr/sbin/{name}"));
    if usual.exists() { usual } else { PathBuf::from(name) }
}
