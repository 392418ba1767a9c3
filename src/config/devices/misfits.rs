//! What the protocol says of a device, and what devices on one connection say of each other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bifrost_actors::{
    link::{LinkSettings, LinkTarget},
    plc::{self, DeviceSettings, Protocol, SettingsProblem, TagSettings},
};

use bifrost_drivers::modbus::Framing;

use super::origin::Origin;
use crate::config::{Problem, decode, key::KeyPath, source};

/// Addresses, types and times that don't fit the protocol or each other; what is `said` already isn't again.
pub(super) fn check(
    device: &DeviceSettings,
    path: &KeyPath,
    (origins, guessed): (&[Origin], &[bool]),
    said: &mut Vec<Problem>,
) {
    let mut misfits = plc::compile(device).err().unwrap_or_default();
    misfits.retain(|misfit| is_sure(misfit, guessed));
    add(misfits, path, origins, said);
}

/// Of a tag whose type isn't known only what is wrong whatever its type.
fn is_sure(misfit: &SettingsProblem, guessed: &[bool]) -> bool {
    match split_tag_key(&misfit.key) {
        Some((tag, key)) if guessed.get(tag) == Some(&true) => {
            matches!(key, "id" | "address" | "poll_interval")
        }
        _ => true,
    }
}

/// As [`check`], of the tags alone: their device is wrong in a way that is said already.
pub(super) fn check_tags(
    tags: &[TagSettings],
    path: &KeyPath,
    (origins, guessed): (&[Origin], &[bool]),
    said: &mut Vec<Problem>,
) {
    let Some(device) = stand_in(tags) else { return };
    let mut misfits = plc::compile(&device).err().unwrap_or_default();
    misfits.retain(|misfit| split_tag_key(&misfit.key).is_some() && is_sure(misfit, guessed));
    add(misfits, path, origins, said);
}

/// A device that nothing is wrong with, to try tags on.
fn stand_in(tags: &[TagSettings]) -> Option<DeviceSettings> {
    let node = source::parse_value("{id: a, protocol: modbus-tcp, address: localhost}").ok()?;
    let device: DeviceSettings = decode::decode_strictly(&node, &KeyPath::default()).ok()?;
    Some(DeviceSettings { tags: tags.to_vec(), ..device })
}

fn add(misfits: Vec<SettingsProblem>, path: &KeyPath, origins: &[Origin], said: &mut Vec<Problem>) {
    let place = |misfit: SettingsProblem| match split_tag_key(&misfit.key) {
        Some((tag, key)) if tag < origins.len() => origins[tag].problem(key, misfit.problem),
        _ => Problem::of(path.join(&KeyPath::parse(&misfit.key).0), misfit.problem),
    };
    for misfit in misfits.into_iter().map(place) {
        if !said.iter().any(|other| other.is_at(&misfit)) {
            said.push(misfit);
        }
    }
}

/// `tags[3].address` → 3, `address`.
fn split_tag_key(key: &str) -> Option<(usize, &str)> {
    let (index, key) = key.strip_prefix("tags[")?.split_once(']')?;
    Some((index.parse().ok()?, key.trim_start_matches('.')))
}

/// The connection that a device needs.
pub(super) struct Needed {
    link: LinkSettings,
    /// As the device's address is written.
    address: String,
    /// The device.
    path: KeyPath,
}

impl Needed {
    /// Nothing when the address is wrong, which is told elsewhere, or leads where this version can't go.
    pub(super) fn by(device: &DeviceSettings, path: &KeyPath) -> Option<Self> {
        let target = match device.protocol {
            Protocol::ModbusTcp => LinkTarget::tcp(&device.address, Framing::Tcp),
            Protocol::ModbusRtu => LinkTarget::rtu(&device.address),
            Protocol::ModbusTls => LinkTarget::tls(&device.address),
            Protocol::Opcua | Protocol::EthernetIp => return None,
        };
        let link = LinkSettings {
            target: target.ok()?,
            connect_timeout: device.connect_timeout,
            pause_after_connect: device.pause_after_connect,
            pause_between_requests: device.pause_between_requests,
            tls: device.tls.as_ref().map(|tls| Arc::new(tls.client())),
        };
        Some(Self { link, address: device.address.clone(), path: path.clone() })
    }
}

/// Units behind one address share its connection, which can't be set in two ways.
pub(super) fn connection_conflicts(needed: &[Needed]) -> Vec<Problem> {
    let mut first: HashMap<String, &Needed> = HashMap::new();
    let mut problems = Vec::new();
    for here in needed {
        let there = *first.entry(place(&here.link)).or_insert(here);
        for (key, differs, here_is, there_is) in differences(here, there) {
            if differs {
                let reason = format!(
                    "is {here_is}, but {there_is} for {} on the same address; they share one connection, make \
                     them equal",
                    there.path
                );
                problems.push(Problem::of(here.path.key(key), reason));
            }
        }
    }
    problems
}

/// The serial port, or host and port whatever is spoken there.
fn place(link: &LinkSettings) -> String {
    let place = link.target.to_string();
    let bare = place.strip_prefix("rtu-over-tcp:").or_else(|| place.strip_prefix("tls:"));
    bare.map(str::to_owned).unwrap_or(place)
}

fn differences(here: &Needed, there: &Needed) -> [(&'static str, bool, String, String); 6] {
    let (a, b) = (&here.link, &there.link);
    let spoken = |link: &LinkSettings| match (&link.target, link.target.framing()) {
        (LinkTarget::Tls { .. }, _) => "modbus-tls",
        (_, Framing::Tcp) => "modbus-tcp",
        (_, Framing::Rtu) => "modbus-rtu",
    };
    let protocol = |link: &LinkSettings| spoken(link).to_owned();
    let framing = spoken(a) != spoken(b);
    let time = |key, a: Duration, b: Duration| (key, a != b, format!("{a:?}"), format!("{b:?}"));
    [
        ("protocol", framing, protocol(a), protocol(b)),
        ("address", !framing && a.target != b.target, here.address.clone(), there.address.clone()),
        ("tls", !framing && a.tls != b.tls, "this".to_owned(), "another".to_owned()),
        time("connect_timeout", a.connect_timeout, b.connect_timeout),
        time("pause_after_connect", a.pause_after_connect, b.pause_after_connect),
        time("pause_between_requests", a.pause_between_requests, b.pause_between_requests),
    ]
}
