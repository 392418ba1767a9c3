//! Turns a device's settings into what its actor runs on, or into a list of all that is wrong with them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bifrost_drivers::modbus::{
    Address, DriverSettings, Framing, MAX_READ_BITS, MAX_READ_REGISTERS, PlanSettings, Point, PointError,
    Table,
};
use bifrost_model::{DataType, DeviceTags, TagInfo, check_id};

use super::settings::{DeviceSettings, Protocol, TagSettings};
use crate::link::{LinkSettings, LinkTarget};

/// A key of a device's settings that can't work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Which, relative to the device: `tags[3].address`.
    pub key: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// A device, ready to run.
#[derive(Debug)]
pub struct CompiledDevice {
    /// What the indices of tags mean.
    pub tags: Arc<DeviceTags>,
    /// Where each tag is in the device.
    pub points: Arc<[Point]>,
    /// What else is to be observed for each tag.
    pub rules: RuleBook,
    /// Tags by how often they are read, shortest period first.
    pub groups: Vec<Group>,
    /// How the driver plans and learns.
    pub driver: DriverSettings,
    /// The connection it needs.
    pub link: LinkSettings,
    /// Its unit on that connection.
    pub unit: u8,
}

/// What is to be observed for one tag.
#[derive(Debug, Clone, PartialEq)]
pub struct TagRules {
    /// Publish when moved by at least this.
    pub deadband: Option<f64>,
    /// Age of the last good value at which it becomes STALE.
    pub stale_after: Duration,
    /// Age of the last good value at which it becomes BAD.
    pub bad_after: Duration,
    /// Smallest value that may be written.
    pub min: Option<f64>,
    /// Largest value that may be written.
    pub max: Option<f64>,
    /// Whether its values stay out of the audit trail.
    pub secret: bool,
}

/// Tags that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How often.
    pub period: Duration,
    /// Which.
    pub tags: Arc<[u32]>,
}

/// The rules of a device's tags. Most tags have the same: each is kept once.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleBook {
    different: Vec<TagRules>,
    by_tag: Box<[u32]>,
}

/// What holds for a tag that doesn't exist.
const NO_RULES: TagRules = TagRules {
    deadband: None,
    stale_after: Duration::ZERO,
    bad_after: Duration::ZERO,
    min: None,
    max: None,
    secret: false,
};

impl RuleBook {
    /// The rules of the tag at an index.
    pub fn of(&self, tag: u32) -> &TagRules {
        let place = self.by_tag.get(tag as usize).map_or(usize::MAX, |place| *place as usize);
        self.different.get(place).unwrap_or(&NO_RULES)
    }

    /// The shortest time after which any tag becomes STALE.
    pub fn first_stale(&self) -> Option<Duration> {
        self.different.iter().map(|rules| rules.stale_after).min()
    }
}

impl FromIterator<TagRules> for RuleBook {
    fn from_iter<T: IntoIterator<Item = TagRules>>(rules: T) -> Self {
        let mut different: Vec<TagRules> = Vec::new();
        let by_tag = rules.into_iter().map(|rules| {
            // Neighbours are alike: what was used last is found at once.
            let place = different.iter().rposition(|known| *known == rules).unwrap_or_else(|| {
                different.push(rules);
                different.len() - 1
            });
            u32::try_from(place).unwrap_or(u32::MAX)
        });
        let by_tag = by_tag.collect();
        Self { different, by_tag }
    }
}

/// Shortest period: below it timers can't keep a phase.
const MIN_PERIOD: Duration = Duration::from_millis(1);
/// Longest wait for anything.
const MAX_WAIT: Duration = Duration::from_hours(24);
const MAX_PERIOD: Duration = Duration::from_hours(24 * 366);

/// Compiles a device's settings, or says everything that is wrong with them. Opens nothing.
pub fn compile(settings: &DeviceSettings) -> Result<CompiledDevice, Vec<SettingsProblem>> {
    let mut problems = Problems::default();
    check_device(settings, &mut problems);
    let link = link(settings, &mut problems);
    let points = points(settings, &mut problems);
    check_tags(settings, &mut problems);
    match (link, problems.0.is_empty()) {
        (Some(link), true) => Ok(assemble(settings, link, points)),
        _ => Err(problems.0),
    }
}

#[derive(Default)]
struct Problems(Vec<SettingsProblem>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.0.push(SettingsProblem { key: key.into(), problem: problem.into() });
    }

    fn add_if(&mut self, wrong: bool, key: &str, problem: &str) {
        if wrong {
            self.add(key, problem);
        }
    }
}

fn check_device(settings: &DeviceSettings, problems: &mut Problems) {
    if let Err(error) = check_id(&settings.id) {
        problems.add("id", error.to_string());
    }
    if let Err(error) = check_id(&settings.tenant) {
        problems.add("tenant", error.to_string());
    }
    let periods = MIN_PERIOD..=MAX_PERIOD;
    problems.add_if(
        !periods.contains(&settings.poll_interval),
        "poll_interval",
        "must be 1ms to 1 year, such as 1s",
    );
    problems.add_if(settings.timeout.is_zero(), "timeout", "must be more than zero, such as 1s");
    problems.add_if(
        settings.connect_timeout.is_zero(),
        "connect_timeout",
        "must be more than zero, such as 3s",
    );
    let registers = settings.max_registers_per_request;
    problems.add_if(
        !(1..=MAX_READ_REGISTERS).contains(&registers),
        "max_registers_per_request",
        "must be 1 to 125: the protocol carries no more",
    );
    problems.add_if(
        !(1..=MAX_READ_BITS).contains(&settings.max_bits_per_request),
        "max_bits_per_request",
        "must be 1 to 2000: the protocol carries no more",
    );
    problems.add_if(settings.retry_max.is_zero(), "retry_max", "must be more than zero, such as 5s");
    problems.add_if(settings.hole_retry.is_zero(), "hole_retry", "must be more than zero, such as 10m");
    for (key, duration) in [
        ("timeout", Some(settings.timeout)),
        ("connect_timeout", Some(settings.connect_timeout)),
        ("pause_after_connect", Some(settings.pause_after_connect)),
        ("pause_between_requests", Some(settings.pause_between_requests)),
        ("late_reply_wait", settings.late_reply_wait),
        ("busy_delay", Some(settings.busy_delay)),
        ("retry_max", Some(settings.retry_max)),
    ] {
        problems.add_if(duration.is_some_and(|duration| duration > MAX_WAIT), key, "must be at most 1 day");
    }
    for (key, duration) in [
        ("hole_retry", Some(settings.hole_retry)),
        ("stale_after", settings.stale_after),
        ("bad_after", settings.bad_after),
    ] {
        problems.add_if(
            duration.is_some_and(|duration| duration > MAX_PERIOD),
            key,
            "must be at most 1 year",
        );
    }
    let ages = settings.stale_after.zip(settings.bad_after);
    problems.add_if(
        ages.is_some_and(|(stale, bad)| bad < stale),
        "bad_after",
        "must be at least stale_after",
    );
}

fn link(settings: &DeviceSettings, problems: &mut Problems) -> Option<LinkSettings> {
    let target = match settings.protocol {
        Protocol::ModbusTcp => LinkTarget::tcp(&settings.address, Framing::Tcp),
        Protocol::ModbusRtu => LinkTarget::rtu(&settings.address),
        Protocol::ModbusTls => LinkTarget::tls(&settings.address),
        Protocol::Opcua | Protocol::EthernetIp => {
            let name = settings.protocol.as_str();
            problems.add(
                "protocol",
                format!("{name} is not part of this version; use modbus-tcp, modbus-tls or modbus-rtu"),
            );
            return None;
        }
    };
    check_tls(settings, problems);
    if settings.protocol == Protocol::ModbusRtu && !(1..=247).contains(&settings.unit_id) {
        problems.add("unit_id", "must be 1 to 247 on a serial line");
    }
    match target {
        Ok(target) => Some(LinkSettings {
            target,
            connect_timeout: settings.connect_timeout,
            pause_after_connect: settings.pause_after_connect,
            pause_between_requests: settings.pause_between_requests,
            tls: settings.tls.as_ref().map(|tls| Arc::new(tls.client())),
        }),
        Err(error) => {
            problems.add("address", error.to_string());
            None
        }
    }
}

/// Encryption where the protocol has it, and nowhere else.
fn check_tls(settings: &DeviceSettings, problems: &mut Problems) {
    let encrypted = settings.protocol == Protocol::ModbusTls;
    match &settings.tls {
        Some(tls) if encrypted => {
            for (key, problem) in tls.flaws() {
                problems.add(format!("tls.{key}"), problem);
            }
        }
        Some(_) => {
            problems.add("tls", "is given, but this protocol isn't encrypted; write protocol: modbus-tls");
        }
        None if encrypted => {
            problems
                .add("tls", "is missing; modbus-tls needs cert_file, key_file, and ca_file or pinned_sha256");
        }
        None => {}
    }
    problems.add_if(
        encrypted && settings.plaintext.is_some(),
        "plaintext",
        "has no meaning for modbus-tls, which is always encrypted; remove it",
    );
}

fn points(settings: &DeviceSettings, problems: &mut Problems) -> Vec<Point> {
    let mut points = Vec::with_capacity(settings.tags.len());
    for (index, tag) in settings.tags.iter().enumerate() {
        match point(tag, settings.max_registers_per_request) {
            Ok(point) => points.push(point),
            Err((key, problem)) => problems.add(format!("tags[{index}].{key}"), problem),
        }
    }
    points
}

fn point(tag: &TagSettings, max_registers: u16) -> Result<Point, (&'static str, String)> {
    let address: Address = tag.address.parse().map_err(|error| ("address", format!("{error}")))?;
    let data_type = data_type(tag, address);
    let point = Point::new(address, data_type, tag.byte_order, tag.scale, tag.offset)
        .map_err(|error| (key_of(&error), error.to_string()))?;
    let bits = matches!(point.table(), Table::Coil | Table::DiscreteInput);
    if !bits && point.count() > max_registers {
        let problem = format!(
            "takes {} registers, more than max_registers_per_request ({max_registers}) lets one request read",
            point.count()
        );
        return Err(("data_type", problem));
    }
    Ok(point)
}

fn key_of(error: &PointError) -> &'static str {
    match error {
        PointError::Scale(_) | PointError::Scaled(_) => "scale",
        PointError::Offset(_) => "offset",
        PointError::ShortByteOrder { .. } => "byte_order",
        PointError::Bit { .. } | PointError::Span { .. } => "address",
        _ => "data_type",
    }
}

fn data_type(tag: &TagSettings, address: Address) -> DataType {
    let bit = matches!(address.table, Table::Coil | Table::DiscreteInput) || address.bit.is_some();
    tag.data_type.unwrap_or(if bit { DataType::Bool } else { DataType::Uint16 })
}

fn check_tags(settings: &DeviceSettings, problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for (index, tag) in settings.tags.iter().enumerate() {
        let mut add = |key: &str, problem: String| problems.add(format!("tags[{index}].{key}"), problem);
        if let Err(error) = check_id(&tag.id) {
            add("id", error.to_string());
        }
        if let Some(first) = seen.insert(tag.id.as_str(), index) {
            add(
                "id",
                format!("{:?} is the id of tags[{first}] too; ids must differ within a device", tag.id),
            );
        }
        check_tag(tag, &mut add);
    }
}

fn check_tag(tag: &TagSettings, add: &mut impl FnMut(&str, String)) {
    if tag.poll_interval.is_some_and(|period| !(MIN_PERIOD..=MAX_PERIOD).contains(&period)) {
        add("poll_interval", "must be 1ms to 1 year, such as 100ms".to_owned());
    }
    if tag.deadband.is_some_and(|deadband| !deadband.is_finite() || deadband < 0.0) {
        add("deadband", "must be a number of zero or more".to_owned());
    }
    if tag.min.zip(tag.max).is_some_and(|(min, max)| !min.is_finite() || !max.is_finite() || min > max) {
        add("min", "must not be greater than max".to_owned());
    }
    let Ok(address) = tag.address.parse::<Address>() else { return };
    if tag.writable && matches!(address.table, Table::DiscreteInput | Table::InputRegister) {
        add("writable", "discrete inputs and input registers can't be written; remove it".to_owned());
    }
    let numeric = data_type(tag, address).is_numeric();
    for (key, set) in [("deadband", tag.deadband), ("min", tag.min), ("max", tag.max)] {
        if set.is_some() && !numeric {
            add(key, "has a meaning for numbers only; remove it".to_owned());
        }
    }
}

fn assemble(settings: &DeviceSettings, link: LinkSettings, points: Vec<Point>) -> CompiledDevice {
    let infos = settings.tags.iter().zip(&points).map(|(tag, point)| TagInfo {
        id: &tag.id,
        name: tag.name.as_ref().unwrap_or(&tag.id),
        address: &tag.address,
        data_type: point.data_type(),
        unit: &tag.unit,
        description: &tag.description,
        writable: tag.writable,
        class: tag.class,
    });
    let tags = DeviceTags::new(settings.id.as_str(), settings.tenant.as_str(), infos);
    CompiledDevice {
        tags: Arc::new(tags),
        rules: settings.tags.iter().map(|tag| rules(settings, tag)).collect(),
        groups: groups(settings),
        driver: driver_settings(settings),
        points: points.into(),
        link,
        unit: settings.unit_id,
    }
}

fn rules(settings: &DeviceSettings, tag: &TagSettings) -> TagRules {
    let period = tag.poll_interval.unwrap_or(settings.poll_interval);
    let usual = (period * 3).max(Duration::from_secs(3));
    // Whoever sets one age only means the other to fit it.
    let stale_after = settings.stale_after.unwrap_or(settings.bad_after.map_or(usual, |bad| bad.min(usual)));
    let bad_after = settings.bad_after.unwrap_or((period * 10).max(Duration::from_secs(30)));
    TagRules {
        deadband: tag.deadband,
        stale_after,
        bad_after: bad_after.max(stale_after),
        min: tag.min,
        max: tag.max,
        secret: tag.secret,
    }
}

fn groups(settings: &DeviceSettings) -> Vec<Group> {
    let mut groups: BTreeMap<Duration, Vec<u32>> = BTreeMap::new();
    for (index, tag) in (0..).zip(&settings.tags) {
        groups.entry(tag.poll_interval.unwrap_or(settings.poll_interval)).or_default().push(index);
    }
    groups.into_iter().map(|(period, tags)| Group { period, tags: tags.into() }).collect()
}

fn driver_settings(settings: &DeviceSettings) -> DriverSettings {
    DriverSettings {
        plan: PlanSettings {
            max_registers_per_request: settings.max_registers_per_request,
            max_bits_per_request: settings.max_bits_per_request,
            max_gap: settings.max_gap,
        },
        busy_retries: settings.busy_retries,
        busy_delay: settings.busy_delay,
        hole_retry: settings.hole_retry,
        ..DriverSettings::default()
    }
}
