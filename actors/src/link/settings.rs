//! Where a PLC is, and how to treat the connection to it.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use bifrost_drivers::modbus::Framing;
use bifrost_security::tls::ClientTls;
use thiserror::Error;

/// A connection and its pauses. Devices with equal targets share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// Where it leads.
    pub target: LinkTarget,
    /// Longest time to open it.
    pub connect_timeout: Duration,
    /// Pause before the first request.
    pub pause_after_connect: Duration,
    /// Pause between an answer and the next request.
    pub pause_between_requests: Duration,
    /// How it is encrypted: where the target is [`LinkTarget::Tls`], and only there.
    pub tls: Option<Arc<ClientTls>>,
}

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LinkTarget {
    /// A TCP server.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// MBAP, or RTU frames over TCP.
        framing: Framing,
    },
    /// A server of Modbus/TCP Security.
    Tls {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A serial port.
    Serial(SerialSettings),
}

/// A serial port and its line parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SerialSettings {
    /// Device file.
    pub path: String,
    /// Bits per second.
    pub baud: u32,
    /// 7 or 8.
    pub data_bits: u8,
    /// `none`, `even` or `odd`; the standard's default is even.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// What is wrong with a device's address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} {1}")]
pub struct AddressProblem(pub String, pub &'static str);

impl LinkTarget {
    /// `host:port`, `host` (port 502) or `[v6]:port`.
    pub fn tcp(address: &str, framing: Framing) -> Result<Self, AddressProblem> {
        let (host, port) = host_and_port(address, MODBUS)?;
        Ok(Self::Tcp { host, port, framing })
    }

    /// The same, encrypted; without a port it is 802, as Modbus/TCP Security has it.
    pub fn tls(address: &str) -> Result<Self, AddressProblem> {
        let (host, port) = host_and_port(address, MODBUS_SECURITY)?;
        Ok(Self::Tls { host, port })
    }

    /// `/dev/ttyUSB0?baud=9600&parity=even&data_bits=8&stop_bits=1`, or a TCP address that carries RTU.
    pub fn rtu(address: &str) -> Result<Self, AddressProblem> {
        if address.starts_with('/') {
            address.parse().map(Self::Serial)
        } else {
            Self::tcp(address, Framing::Rtu)
        }
    }

    /// How frames are packed.
    pub fn framing(&self) -> Framing {
        match self {
            Self::Tcp { framing, .. } => *framing,
            Self::Tls { .. } => Framing::Tcp,
            Self::Serial(_) => Framing::Rtu,
        }
    }
}

const NOT_A_PORT: &str = "has no valid port; write it as 192.0.2.10:502";

/// Ports that the standards name.
const MODBUS: u16 = 502;
const MODBUS_SECURITY: u16 = 802;

fn host_and_port(address: &str, standard: u16) -> Result<(String, u16), AddressProblem> {
    let problem = |text| AddressProblem(address.to_owned(), text);
    if address.starts_with('/') {
        return Err(problem("is a serial port; use protocol: modbus-rtu, or host:port here"));
    }
    let (host, port) = split_port(address, standard).ok_or_else(|| problem(NOT_A_PORT))?;
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(problem("names no host; write it as 192.0.2.10:502 or plc-1.example:502"));
    }
    Ok((host.to_owned(), port))
}

fn split_port(address: &str, standard: u16) -> Option<(&str, u16)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let none = rest.is_empty().then_some(standard);
        let port = none.or_else(|| rest.strip_prefix(':').and_then(|port| port.parse().ok()));
        return port.filter(|port| *port != 0).map(|port| (host, port));
    }
    match address.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Some((address, standard)),
        Some((host, port)) => Some((host, port.parse().ok().filter(|port| *port != 0)?)),
        None => Some((address, standard)),
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, framing: Framing::Tcp } => write_place(f, "", host, *port),
            Self::Tcp { host, port, framing: Framing::Rtu } => write_place(f, "rtu-over-tcp:", host, *port),
            Self::Tls { host, port } => write_place(f, "tls:", host, *port),
            Self::Serial(serial) => f.write_str(&serial.path),
        }
    }
}

fn write_place(f: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "{scheme}[{host}]:{port}") } else { write!(f, "{scheme}{host}:{port}") }
}

impl FromStr for SerialSettings {
    type Err = AddressProblem;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        let problem = |text| AddressProblem(address.to_owned(), text);
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let mut serial =
            Self { path: path.to_owned(), baud: 19_200, data_bits: 8, parity: Parity::Even, stop_bits: 1 };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "baud" => {
                    let baud = value.parse().ok().filter(|baud| (300..=4_000_000).contains(baud));
                    serial.baud = baud.ok_or_else(|| problem("has no valid baud rate; such as baud=9600"))?;
                }
                "parity" => serial.parity = parity(value).ok_or_else(|| problem(PARITY))?,
                "data_bits" => serial.data_bits = one_of(value, &[7, 8]).ok_or_else(|| problem(DATA_BITS))?,
                "stop_bits" => serial.stop_bits = one_of(value, &[1, 2]).ok_or_else(|| problem(STOP_BITS))?,
                _ => {
                    return Err(problem(
                        "has an unknown option; known are baud, parity, data_bits, stop_bits",
                    ));
                }
            }
        }
        Ok(serial)
    }
}

const PARITY: &str = "has no valid parity; use parity=none, even or odd";
const DATA_BITS: &str = "has no valid data_bits; use 7 or 8";
const STOP_BITS: &str = "has no valid stop_bits; use 1 or 2";

fn parity(text: &str) -> Option<Parity> {
    match text {
        "none" => Some(Parity::None),
        "even" => Some(Parity::Even),
        "odd" => Some(Parity::Odd),
        _ => None,
    }
}

fn one_of(text: &str, allowed: &[u8]) -> Option<u8> {
    text.parse().ok().filter(|number| allowed.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Option<String> {
        LinkTarget::tcp(address, Framing::Tcp).ok().map(|target| target.to_string())
    }

    #[test]
    fn addresses_are_hosts_with_or_without_a_port() {
        assert_eq!(tcp("192.0.2.10").as_deref(), Some("192.0.2.10:502"));
        assert_eq!(tcp("plc-1.example:1502").as_deref(), Some("plc-1.example:1502"));
        assert_eq!(tcp("[::1]:1502").as_deref(), Some("[::1]:1502"));
        assert_eq!(tcp("::1").as_deref(), Some("[::1]:502"));
    }

    #[test]
    fn the_secure_protocol_has_a_port_of_its_own() {
        let tls = |address: &str| LinkTarget::tls(address).unwrap().to_string();
        assert_eq!(tls("plc-1"), "tls:plc-1:802");
        assert_eq!(tls("[::1]"), "tls:[::1]:802");
        assert_eq!(tls("192.0.2.10:1802"), "tls:192.0.2.10:1802");
        assert!(LinkTarget::tls("/dev/ttyS0").is_err());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", ":502", "host:", "host:0", "host:65536", "host:x", "a b:1", "/dev/ttyS0", "[::1"]
        {
            assert_eq!(tcp(address), None, "{address}");
        }
    }

    #[test]
    fn a_serial_port_has_the_standards_defaults_until_told_otherwise() {
        let serial: SerialSettings = "/dev/ttyS0".parse().unwrap();
        assert_eq!((serial.baud, serial.parity, serial.stop_bits), (19_200, Parity::Even, 1));
        let serial: SerialSettings =
            "/dev/ttyS0?baud=9600&parity=none&stop_bits=2&data_bits=7".parse().unwrap();
        assert_eq!((serial.baud, serial.parity), (9600, Parity::None));
        assert_eq!((serial.stop_bits, serial.data_bits), (2, 7));
    }

    #[test]
    fn serial_options_that_do_not_exist_are_refused() {
        for options in ["baud=fast", "baud=10", "parity=mark", "stop_bits=3", "data_bits=9", "bauds=9600"] {
            assert!(format!("/dev/ttyS0?{options}").parse::<SerialSettings>().is_err(), "{options}");
        }
    }
}
