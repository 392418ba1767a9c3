//! Where a PLC can be reached, and how that is written.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{framing::Framing, serial::SerialSettings};

/// Where a PLC can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Modbus/TCP: `127.0.0.1:502`, or `tcp://127.0.0.1:502`.
    Tcp(SocketAddr),
    /// Modbus/TCP Security: `tls://127.0.0.1:802`.
    Tls(SocketAddr),
    /// RTU frames over TCP: `rtu://127.0.0.1:502`.
    RtuOverTcp(SocketAddr),
    /// A serial port: `/dev/ttyUSB0?baud=9600&parity=even`.
    Serial(SerialSettings),
}

impl Endpoint {
    /// The network address, if it has one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) | Self::RtuOverTcp(address) => Some(*address),
            Self::Serial(_) => None,
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        if matches!(self, Self::Tcp(_) | Self::Tls(_)) { Framing::Mbap } else { Framing::Rtu }
    }

    pub(crate) fn with_address(&self, address: SocketAddr) -> Self {
        match self {
            Self::Tcp(_) => Self::Tcp(address),
            Self::Tls(_) => Self::Tls(address),
            Self::RtuOverTcp(_) => Self::RtuOverTcp(address),
            Self::Serial(settings) => Self::Serial(settings.clone()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::RtuOverTcp(address) => write!(f, "rtu://{address}"),
            Self::Serial(settings) => settings.fmt(f),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return text.parse().map(Self::Serial);
        }
        let (scheme, address) = text.split_once("://").unwrap_or(("tcp", text));
        let address = address.parse().map_err(|_| {
            format!("{text:?} is neither IP:PORT, tls://IP:PORT, rtu://IP:PORT nor /dev/PATH")
        })?;
        match scheme {
            "tcp" => Ok(Self::Tcp(address)),
            "tls" => Ok(Self::Tls(address)),
            "rtu" => Ok(Self::RtuOverTcp(address)),
            other => Err(format!("{other:?} is not supported here; use tcp, tls or rtu")),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_from_what_people_write() {
        for (text, written) in [
            ("127.0.0.1:502", "tcp://127.0.0.1:502"),
            ("rtu://[::1]:502", "rtu://[::1]:502"),
            ("tls://[::1]:802", "tls://[::1]:802"),
            ("/dev/ttyS0?baud=9600", "/dev/ttyS0?baud=9600&parity=even&data_bits=8&stop_bits=1"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), written);
        }
        for (bad, part) in
            [("502", "IP:PORT"), ("udp://127.0.0.1:5", "use tcp, tls or rtu"), ("/dev/ttyS0?x=1", "baud=N")]
        {
            assert!(bad.parse::<Endpoint>().unwrap_err().contains(part), "{bad}");
        }
    }
}
