//! A whole plant from one file, YAML or JSON.
//!
//! ```yaml
//! devices:
//!   - name: press-1                  # a ready-made machine
//!     preset: press
//!     listen: 127.0.0.1:5020         # or rtu://127.0.0.1:5021, or /dev/ttyUSB0?baud=9600&parity=even
//!   - name: mixer                    # ten of these: mixer-1 to mixer-10, on ports one after the other
//!     count: 10
//!     registers: 200
//!     max_registers_per_request: 32
//!     holes: [{table: holding, range: 40-49}]
//!     signals:
//!       - table: holding
//!         address: 0
//!         data_type: float32
//!         byte_order: CDAB
//!         noise: 0.2
//!         wave: {sine: {mean: 60, amplitude: 5, period: 2m}}
//!     faults:
//!       - {fault: silence, from: 30s, for: 5s, every: 1m}
//!       - {fault: {delay: {by: 200ms}}, from: 10m, until: 12m}
//!       - {fault: {exception: {code: 6, table: holding, range: 0-9}}, unit: 1}
//! ```
//!
//! With a section `tls`, devices at `tls://` speak Modbus/TCP Security:
//!
//! ```yaml
//! tls:
//!   cert_file: plc.pem
//!   key_file: plc.key
//!   ca_file: ca.pem                  # whose clients are let in
//!   rights:                          # absent: every client may do everything
//!     - {role: operator}
//!     - {role: viewer, access: read, ranges: [{table: holding, range: 0-99}]}
//! devices: [{name: press-1, listen: "tls://127.0.0.1:5802"}]
//! ```
//!
//! A device without `listen` gets the next port from where the caller says.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use bifrost_model::DataType;
use serde::{Deserialize, Serialize};

use crate::{
    SimulatorError,
    endpoint::Endpoint,
    fault::ScriptedFault,
    presets::PresetKind,
    settings::{Hole, PlcSettings, Table},
    signal::Signal,
    simulator::Listener,
    tls::TlsSettings,
    wave::Wave,
};

/// Devices that run together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// How devices at `tls://` are encrypted; those without `listen` then are at `tls://` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// All of them.
    pub devices: Vec<DeviceSpec>,
}

/// One device, or `count` of a kind; what is left out is as in [`PlcSettings::default`] or as in the preset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Unique; with `count`, `-1`, `-2` and so on are appended.
    pub name: String,
    /// Where it can be reached; with `count`, the first of as many ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<Endpoint>,
    /// How many of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u16>,
    /// A ready-made machine to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<PresetKind>,
    /// [`PlcSettings::unit_ids`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_ids: Option<Vec<u8>>,
    /// [`PlcSettings::strict_units`].
    #[serde(default)]
    pub strict_units: bool,
    /// [`PlcSettings::registers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<u16>,
    /// [`PlcSettings::coils`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coils: Option<u16>,
    /// [`PlcSettings::signals`], beside those of the preset.
    #[serde(default)]
    pub signals: Vec<Signal>,
    /// [`PlcSettings::max_registers_per_request`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_registers_per_request: Option<u16>,
    /// [`PlcSettings::holes`].
    #[serde(default)]
    pub holes: Vec<Hole>,
    /// [`PlcSettings::faults`].
    #[serde(default)]
    pub faults: Vec<ScriptedFault>,
    /// [`PlcSettings::max_connections`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
    /// [`PlcSettings::idle_timeout`].
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
}

impl Scenario {
    /// Reads a file: JSON if it ends in `.json`, otherwise YAML.
    ///
    /// # Errors
    /// With the file's name, and line, column and key where there is one.
    pub fn load(path: &Path) -> Result<Self, SimulatorError> {
        let text = fs::read_to_string(path)
            .map_err(|source| SimulatorError::Read { path: path.to_owned(), source })?;
        let place = path.display().to_string();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            Self::from_json(&text, &place)
        } else {
            Self::from_yaml(&text, &place)
        }
    }

    /// Reads YAML; `place` is what errors call it. Errors are one line, without a picture of the place.
    pub fn from_yaml(text: &str, place: &str) -> Result<Self, SimulatorError> {
        let parsed = serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string());
        Self::checked(parsed, place)
    }

    /// Reads JSON; `place` is what errors call it.
    pub fn from_json(text: &str, place: &str) -> Result<Self, SimulatorError> {
        let parsed = serde_json::from_str(text).map_err(|error| error.to_string());
        Self::checked(parsed, place)
    }

    /// So many PLCs `plc-1`, `plc-2` and so on, each with so many holding and input registers, all of which
    /// move; without addresses.
    pub fn uniform(devices: u16, registers: u16) -> Self {
        let wave = Wave::Ramp { min: 0.0, max: 10_000.0, period: Duration::from_secs(100) };
        let signal =
            |table| Signal { repeat: registers, ..Signal::new(table, 0, DataType::Uint16, wave.clone()) };
        let signals =
            if registers == 0 { Vec::new() } else { vec![signal(Table::Holding), signal(Table::Input)] };
        let device = DeviceSpec {
            name: "plc".to_owned(),
            count: Some(devices),
            registers: Some(registers),
            signals,
            ..DeviceSpec::default()
        };
        Self { tls: None, devices: vec![device] }
    }

    /// Finds the first thing that makes no sense.
    pub fn validate(&self) -> Result<(), SimulatorError> {
        self.listeners(IpAddr::from([127, 0, 0, 1]), None).map(drop)
    }

    /// What is to be started. Devices without `listen` get ports of `host` from `first_port` on, or any free
    /// ones without it.
    pub fn listeners(&self, host: IpAddr, first_port: Option<u16>) -> Result<Vec<Listener>, SimulatorError> {
        let mut plant = Plant {
            host,
            tls: self.tls.as_ref(),
            next_port: first_port.map(u32::from),
            names: HashSet::new(),
            endpoints: HashSet::new(),
            listeners: Vec::new(),
        };
        for (index, device) in self.devices.iter().enumerate() {
            plant.add(device).map_err(|error| error.below(&format!("devices[{index}]")))?;
        }
        Ok(plant.listeners)
    }

    fn checked(parsed: Result<Self, String>, place: &str) -> Result<Self, SimulatorError> {
        let syntax = |reason| SimulatorError::Syntax { place: place.to_owned(), reason };
        let scenario = parsed.map_err(syntax)?;
        scenario.validate().map_err(|error| syntax(error.to_string()))?;
        Ok(scenario)
    }
}

/// What was put together so far.
struct Plant<'a> {
    host: IpAddr,
    tls: Option<&'a TlsSettings>,
    /// Nothing: any free port.
    next_port: Option<u32>,
    names: HashSet<String>,
    endpoints: HashSet<String>,
    listeners: Vec<Listener>,
}

impl Plant<'_> {
    fn add(&mut self, device: &DeviceSpec) -> Result<(), SimulatorError> {
        if device.count == Some(0) {
            return Err(SimulatorError::setting("count", "must be at least 1"));
        }
        for index in 0..device.count.unwrap_or(1) {
            let name = match device.count {
                Some(_) => format!("{}-{}", device.name, index + 1),
                None => device.name.clone(),
            };
            if name.is_empty() || !self.names.insert(name.clone()) {
                return Err(SimulatorError::setting(
                    "name",
                    format!("{name:?} must be unique, and not empty"),
                ));
            }
            let endpoint = self.endpoint(device, index)?;
            let mut settings = device.settings(name);
            if matches!(endpoint, Endpoint::Tls(_)) {
                // Whether there is any is asked when it is started: it may still be given then.
                settings.tls = self.tls.cloned();
            }
            if index == 0 {
                settings.validate()?;
            }
            self.listeners.push(Listener { endpoint, settings });
        }
        Ok(())
    }

    fn endpoint(&mut self, device: &DeviceSpec, index: u16) -> Result<Endpoint, SimulatorError> {
        let endpoint = match &device.listen {
            None => {
                let address = SocketAddr::new(self.host, self.take_port()?);
                if self.tls.is_some() { Endpoint::Tls(address) } else { Endpoint::Tcp(address) }
            }
            Some(first) => nth(first, index)?,
        };
        let any_port = endpoint.address().is_some_and(|address| address.port() == 0);
        let place = endpoint.address().map_or_else(|| endpoint.to_string(), |address| address.to_string());
        if !any_port && !self.endpoints.insert(place) {
            return Err(SimulatorError::setting("listen", format!("{endpoint} is taken by another device")));
        }
        Ok(endpoint)
    }

    fn take_port(&mut self) -> Result<u16, SimulatorError> {
        let Some(next) = &mut self.next_port else { return Ok(0) };
        let port = u16::try_from(*next).map_err(|_| out_of_ports())?;
        *next += 1;
        Ok(port)
    }
}

/// The `index`-th of devices that listen one port behind the other.
fn nth(first: &Endpoint, index: u16) -> Result<Endpoint, SimulatorError> {
    match first.address() {
        _ if index == 0 => Ok(first.clone()),
        None => Err(SimulatorError::setting("count", "a serial port is one device's only")),
        Some(address) if address.port() == 0 => Ok(first.clone()),
        Some(mut address) => {
            address.set_port(address.port().checked_add(index).ok_or_else(out_of_ports)?);
            Ok(first.with_address(address))
        }
    }
}

fn out_of_ports() -> SimulatorError {
    SimulatorError::setting("listen", "there are no ports beyond 65535")
}

impl DeviceSpec {
    /// The settings of a device of this kind.
    fn settings(&self, name: String) -> PlcSettings {
        let mut settings = match self.preset {
            Some(kind) => kind.build(&name).settings,
            None => PlcSettings::named(name),
        };
        settings.unit_ids = self.unit_ids.clone().unwrap_or(settings.unit_ids);
        settings.registers = self.registers.unwrap_or(settings.registers);
        settings.coils = self.coils.unwrap_or(settings.coils);
        settings.signals.extend_from_slice(&self.signals);
        PlcSettings {
            strict_units: self.strict_units,
            max_registers_per_request: self.max_registers_per_request,
            holes: self.holes.clone(),
            faults: self.faults.clone(),
            max_connections: self.max_connections,
            idle_timeout: self.idle_timeout,
            ..settings
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn refused(yaml: &str) -> String {
        Scenario::from_yaml(yaml, "plant.yaml").expect_err(yaml).to_string()
    }

    fn endpoints(listeners: &[Listener]) -> Vec<String> {
        listeners.iter().map(|listener| listener.endpoint.to_string()).collect()
    }

    #[test]
    fn the_example_of_this_page_is_a_scenario() {
        let page = include_str!("scenario.rs").lines();
        let example =
            page.skip_while(|line| *line != "//! ```yaml").skip(1).take_while(|line| *line != "//! ```");
        let yaml: Vec<&str> = example.map(|line| line.strip_prefix("//! ").unwrap()).collect();
        let yaml = yaml.join("\n");
        let scenario = Scenario::from_yaml(&yaml, "example").unwrap();
        let listeners = scenario.listeners(HOST, Some(6000)).unwrap();
        assert_eq!(listeners.len(), 11);
        assert_eq!(
            endpoints(&listeners)[..3],
            ["tcp://127.0.0.1:5020", "tcp://127.0.0.1:6000", "tcp://127.0.0.1:6001"]
        );
        let mixer = &listeners[10].settings;
        assert_eq!((mixer.name.as_str(), mixer.registers, mixer.signals.len()), ("mixer-10", 200, 1));
        assert_eq!(mixer.faults[0].fault, Fault::Silence);
        assert_eq!(mixer.faults[1].until, Some(Duration::from_mins(12)));
        assert!(!listeners[0].settings.signals.is_empty());
    }

    #[test]
    fn a_section_tls_encrypts_what_is_at_tls_and_what_says_nothing() {
        let yaml = "
tls: {cert_file: plc.pem, key_file: plc.key, ca_file: ca.pem, rights: [{role: viewer, access: read}]}
devices: [{name: a, listen: 'tls://127.0.0.1:5802'}, {name: b}, {name: c, listen: '127.0.0.1:5020'}]";
        let listeners = Scenario::from_yaml(yaml, "plant").unwrap().listeners(HOST, Some(6000)).unwrap();
        let places = ["tls://127.0.0.1:5802", "tls://127.0.0.1:6000", "tcp://127.0.0.1:5020"];
        assert_eq!(endpoints(&listeners), places);
        let encrypted: Vec<_> = listeners.iter().map(|listener| listener.settings.tls.is_some()).collect();
        assert_eq!(encrypted, [true, true, false]);
        let error = refused("tls: {cert_file: plc.pem, key_file: plc.key}\ndevices: [{name: a}]");
        assert!(error.contains("ca_file"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_back_from_json() {
        let fault = Fault::LateReply { by: Duration::from_millis(1500), every: 3 };
        let mut scenario = Scenario::uniform(2, 10);
        scenario.devices[0].faults = vec![ScriptedFault::always(fault)];
        scenario.devices[0].listen = Some("rtu://127.0.0.1:7000".parse().unwrap());
        let json = serde_json::to_string(&scenario).unwrap();
        assert_eq!(Scenario::from_json(&json, "json").unwrap(), scenario);
        assert_eq!(Scenario::from_yaml(&json, "json").unwrap(), scenario);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        for (yaml, key) in [
            ("devices:\n  - name: a\n    register: 5\n", "register"),
            ("devices:\n  - name: a\n    faults:\n      - {fault: silence, frm: 3s}\n", "frm"),
            ("devices:\n  - name: a\n    faults:\n      - fault: {delay: {bye: 3s}}\n", "bye"),
            ("devices:\n  - name: a\n    faults:\n      - fault: silent\n", "silent"),
            ("devices:\n  - name: a\n    preset: rocket\n", "rocket"),
        ] {
            let error = refused(yaml);
            let line = yaml.lines().count();
            assert!(error.contains("plant.yaml") && error.contains(key), "{error}");
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_by_its_key() {
        for (yaml, part) in [
            ("devices: [{name: a}, {name: a}]", "devices[1].name"),
            ("devices: [{name: ''}]", "devices[0].name"),
            ("devices: [{name: a, count: 0}]", "devices[0].count"),
            ("devices: [{name: a, listen: /dev/ttyS0, count: 2}]", "devices[0].count"),
            ("devices: [{name: a, listen: '1.1.1.1:65535', count: 2}]", "devices[0].listen"),
            (
                "devices: [{name: a, listen: '1.1.1.1:5'}, {name: b, listen: 'rtu://1.1.1.1:5'}]",
                "devices[1].listen",
            ),
            ("devices: [{name: a, unit_ids: []}]", "devices[0].unit_ids"),
            ("devices: [{name: a, faults: [{fault: refuse, unit: 1}]}]", "devices[0].faults[0].unit"),
            (
                "devices: [{name: a, signals: [{table: coil, address: 100, data_type: bool, wave: {constant: {value: 1}}}]}]",
                "devices[0].signals[0].address",
            ),
        ] {
            let error = refused(yaml);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_file_is_read_by_its_ending_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.yaml", "devices: [{name: a}]"), ("a.json", r#"{"devices":[{"name":"a"}]}"#)]
        {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            assert_eq!(Scenario::load(&path).unwrap().devices[0].name, "a");
        }
        let error = Scenario::load(&folder.path().join("none.yaml")).unwrap_err().to_string();
        assert!(error.contains("none.yaml"), "{error}");
    }

    #[test]
    fn uniform_plants_have_names_and_any_ports() {
        let listeners = Scenario::uniform(3, 0).listeners(HOST, None).unwrap();
        assert_eq!(endpoints(&listeners), ["tcp://127.0.0.1:0"; 3]);
        assert_eq!(listeners[2].settings.name, "plc-3");
        assert!(Scenario::uniform(10, 1).listeners(HOST, Some(65530)).is_err());
    }
}
