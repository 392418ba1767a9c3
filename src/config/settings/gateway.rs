//! `gateway`: who this is, where it listens, where it keeps its state.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Flaw, TlsSection, below, flaw, zero_durations, zero_numbers};

/// The section `gateway`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySection {
    /// This gateway's id; the host's name unless given.
    pub id: String,
    /// Where it stands.
    pub site_id: String,
    /// Where state lives that must survive.
    pub data_dir: PathBuf,
    /// Address to listen on.
    #[serde(deserialize_with = "ip_address")]
    pub bind: IpAddr,
    /// Port to listen on; 0: a free one.
    pub port: u16,
    /// Whether plain HTTP is served instead of HTTPS; on loopback only.
    pub insecure_http: bool,
    /// How HTTPS encrypts.
    pub tls: TlsSection,
    /// Longest time that draining may take when the process is asked to end.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// Threads that serve devices; 0: one per core.
    pub device_threads: usize,
    /// Bounds of the HTTP server.
    pub performance: PerformanceSettings,
}

/// The section `gateway.performance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerformanceSettings {
    /// Connections to REST and the live feed that are open at a time; more wait.
    pub max_connections: usize,
    /// Longest time a client may take to send a request's head, and again for its body.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Longest time that making an answer may take.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Longest time that a TLS handshake may take.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
}

impl Default for GatewaySection {
    fn default() -> Self {
        Self {
            id: host_name(),
            site_id: "default".to_owned(),
            data_dir: PathBuf::from("/var/lib/bifrost"),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            insecure_http: false,
            tls: TlsSection::default(),
            shutdown_timeout: Duration::from_secs(30),
            device_threads: 0,
            performance: PerformanceSettings::default(),
        }
    }
}

impl Default for PerformanceSettings {
    fn default() -> Self {
        Self {
            max_connections: 1000,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

impl GatewaySection {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let ids = [("id", &self.id), ("site_id", &self.site_id)];
        let ids = ids.into_iter().filter_map(|(key, id)| {
            bifrost_model::check_id(id).err().map(|error| flaw(key, error.to_string()))
        });
        let mut flaws: Vec<_> = ids.collect();
        if self.data_dir.as_os_str().is_empty() {
            flaws.push(flaw("data_dir", "is empty; name a folder such as /var/lib/bifrost"));
        }
        if self.device_threads > 1024 {
            flaws.push(flaw("device_threads", "is more than 1024; 0 means one per core"));
        }
        flaws.extend(zero_durations([("shutdown_timeout", self.shutdown_timeout)]));
        let times = zero_durations([
            ("read_timeout", self.performance.read_timeout),
            ("write_timeout", self.performance.write_timeout),
            ("handshake_timeout", self.performance.handshake_timeout),
        ]);
        flaws.extend(below("performance", times));
        let numbers = zero_numbers([("max_connections", self.performance.max_connections)]);
        flaws.extend(below("performance", numbers));
        flaws.extend(below("tls", self.tls.flaws()));
        flaws.extend(self.plain());
        flaws
    }
}

impl GatewaySection {
    /// What goes with HTTPS alone.
    fn plain(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        if self.insecure_http && !self.bind.is_loopback() {
            let problem = format!(
                "plain HTTP is for loopback only, and {} can be reached from other machines; set it to false and name \
                 a certificate in security.certificates, or bind 127.0.0.1 or ::1",
                self.bind
            );
            flaws.push(flaw("insecure_http", problem));
        }
        if self.insecure_http && self.tls != TlsSection::default() {
            flaws.push(flaw("tls", "does nothing for plain HTTP; remove it, or set insecure_http to false"));
        }
        flaws
    }
}

fn ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let refused = |_| de::Error::custom(format!("{text:?} is no IP address; write 127.0.0.1 or ::1"));
    text.trim().parse().map_err(refused)
}

/// The machine's name, as the kernel knows it; `bifrost` where that can't be read.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "bifrost".to_owned(),
        name => name.to_owned(),
    }
}
