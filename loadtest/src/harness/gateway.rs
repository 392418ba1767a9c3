//! A gateway that runs: `bifrost run` with a configuration made for it.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use bifrost_security::accounts::{ADMIN, Account, NewToken, Roles, Scope, Secret, Store, VIEWER};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    http::{Door, TOKEN},
    metrics::Metrics,
    ports,
    process::{Process, pinned},
    usage::Usage,
};
use crate::{bench::Bench, error::LoadError};

/// How long it may take to reach its devices, before a scenario is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A device as a scenario sees it.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// Its id.
    pub(crate) id: String,
    /// Its PLC's port on the loopback.
    pub(crate) port: u16,
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Process,
    /// Where HTTP is served.
    pub(crate) door: Door,
    /// Just before it was executed.
    pub(crate) started: Instant,
    directory: TempDir,
}

impl Gateway {
    /// Starts it with these devices, each with the same `tags` registers from 0 on, the last writable.
    pub(crate) fn start(
        bench: &Bench,
        devices: &[Device],
        tags: u16,
        poll_interval: &str,
    ) -> Result<Self, LoadError> {
        Self::with(bench, devices, (tags, poll_interval), &json!({}), false)
    }

    /// The same with brokers: the configuration's section `messaging`.
    pub(crate) fn publishing(
        bench: &Bench,
        devices: &[Device],
        tags: u16,
        poll_interval: &str,
        messaging: &Value,
    ) -> Result<Self, LoadError> {
        Self::with(bench, devices, (tags, poll_interval), &json!({ "messaging": messaging }), false)
    }

    /// The same with other sections of the configuration, served over HTTPS if asked to.
    pub(crate) fn with(
        bench: &Bench,
        devices: &[Device],
        (tags, poll_interval): (u16, &str),
        sections: &Value,
        https: bool,
    ) -> Result<Self, LoadError> {
        let directory = tempfile::tempdir().map_err(LoadError::at("a temporary directory"))?;
        let write = |name: &str, text: String| {
            let file = directory.path().join(name);
            fs::write(&file, text).map_err(LoadError::at(file.display().to_string())).map(|()| file)
        };
        know_token(&directory.path().join("data"))?;
        write("tags.csv", tag_file(tags))?;
        let port = ports::free()?;
        let devices = devices.iter().map(|device| {
            json!({
                "id": device.id,
                "protocol": "modbus-tcp",
                "address": format!("127.0.0.1:{}", device.port),
                "poll_interval": poll_interval,
                "tags_file": "tags.csv",
            })
        });
        let mut config = json!({
            "gateway": {
                "id": "load",
                "site_id": "load",
                "port": port,
                "data_dir": directory.path().join("data"),
                "insecure_http": !https,
            },
            "logging": { "level": "warn" },
            "devices": devices.collect::<Vec<_>>(),
        });
        if let (Some(config), Some(sections)) = (config.as_object_mut(), sections.as_object()) {
            config.extend(sections.clone());
        }
        // JSON is YAML.
        let config = write("gateway.yaml", config.to_string())?;
        let mut command = pinned(&bench.bifrost()?, None);
        command.args(["run", "--config"]).arg(config);
        if https {
            command.arg("--development-certificate");
        }
        let started = Instant::now();
        let process = Process::start("bifrost run", &mut command, directory.path().join("log"))?;
        let mut gateway = Self { process, door: Door::plain(port), started, directory };
        if https {
            gateway.trust()?;
        }
        Ok(gateway)
    }

    /// The same door, with abbreviated handshakes after the first.
    pub(crate) fn resuming_door(&self) -> Result<Door, LoadError> {
        Door::trusting(self.door.port, &self.directory.path().join("data/development-ca/root.pem"), true)
    }

    /// Waits until the certificate is made, and trusts its authority from then on.
    fn trust(&mut self) -> Result<(), LoadError> {
        let authority = self.directory.path().join("data/development-ca/root.pem");
        let port = self.door.port;
        let serves = |_: &Door| match Door::trusting(port, &authority, false) {
            Ok(door) => Ok(door.open().ok().map(|_| door)),
            Err(_) => Ok(None),
        };
        self.door = self.until("doesn't serve HTTPS", serves)?;
        Ok(())
    }

    /// What it counts, as soon as it answers.
    pub(crate) fn metrics(&mut self) -> Result<Metrics, LoadError> {
        self.until("doesn't serve HTTP", |door| {
            let Ok(mut connection) = door.open() else { return Ok(None) };
            connection.get("/metrics").map(|text| Some(Metrics::parse(&text)))
        })
    }

    /// Waits until so many devices are connected.
    pub(crate) fn connected(&mut self, count: u16) -> Result<(), LoadError> {
        self.until("doesn't reach its devices", |door| {
            let Ok(mut connection) = door.open() else { return Ok(None) };
            let metrics = Metrics::parse(&connection.get("/metrics")?);
            Ok((metrics.sum("bifrost_device_connected") >= f64::from(count)).then_some(()))
        })
    }

    /// Asks again and again until there is an answer.
    pub(crate) fn until<T>(
        &mut self,
        otherwise: &str,
        ask: impl Fn(&Door) -> Result<Option<T>, LoadError>,
    ) -> Result<T, LoadError> {
        let begin = Instant::now();
        loop {
            if let Some(answer) = ask(&self.door)? {
                return Ok(answer);
            }
            self.process.check()?;
            if begin.elapsed() > PATIENCE {
                return Err(self.process.failed(otherwise));
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// What it has taken.
    pub(crate) fn usage(&self) -> Result<Usage, LoadError> {
        Usage::of(self.process.pid())
    }
}

/// Makes the token of all requests known, beside an account that keeps the gateway from making one.
fn know_token(data_dir: &Path) -> Result<(), LoadError> {
    let (store, roles) = (Store::within(data_dir), Roles::default());
    let prepared = store.change(|book| {
        book.add(Account::new("nobody", VIEWER), &roles)?;
        let scope = Scope::Role(ADMIN.into());
        let new = NewToken { name: "load test".to_owned(), scope, owner: None, expires: None };
        Secret::parse(TOKEN).map_or(Ok(()), |(_, secret)| book.issue(new, &secret, &roles).map(drop))
    });
    prepared.map(drop).map_err(|error| LoadError::Unreadable(error.to_string()))
}

/// One row for each register.
fn tag_file(tags: u16) -> String {
    let mut csv = "id,address,data_type,writable\n".to_owned();
    for register in 0..tags {
        let writable = register + 1 == tags;
        // Into a String: can't fail.
        let _ = writeln!(csv, "tag_{register},holding:{register},uint16,{writable}");
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tag_alone_is_writable() {
        let file = tag_file(3);
        assert_eq!(file.lines().count(), 4);
        assert!(file.ends_with("tag_1,holding:1,uint16,false\ntag_2,holding:2,uint16,true\n"), "{file}");
    }
}
