//! In which order a device keeps the bytes of a value.
//!
//! A, B, C, D are the bytes from the most significant on, in the order in which they come over the wire.
//! Every order is two independent choices: whether the registers come last first, and whether the two bytes
//! of each register are swapped.
//!
//! | order | registers | bytes in a register | 32 bits | 64 bits |
//! |---|---|---|---|---|
//! | ABCD | first first | high, low | A B C D | A B C D E F G H |
//! | CDAB | last first | high, low | C D A B | G H E F C D A B |
//! | BADC | first first | low, high | B A D C | B A D C F E H G |
//! | DCBA | last first | low, high | D C B A | H G F E D C B A |
//!
//! Of 16 bits and of texts only the second choice is left: ABCD and CDAB are AB, BADC and DCBA are BA. A
//! text's registers always come in the order in which it is read.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// The order of a value's bytes; see the module for what each means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Big endian: Modbus' own order.
    #[default]
    Abcd,
    /// Registers swapped.
    Cdab,
    /// Bytes swapped in each register.
    Badc,
    /// Little endian.
    Dcba,
    /// High byte first; only of 16 bits and of texts.
    Ab,
    /// Low byte first; only of 16 bits and of texts.
    Ba,
}

/// A name that is no byte order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a byte order; use ABCD, CDAB, BADC or DCBA (AB or BA for 16 bits and strings)")]
pub struct UnknownByteOrder(pub String);

impl ByteOrder {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Abcd, Self::Cdab, Self::Badc, Self::Dcba, Self::Ab, Self::Ba];

    /// As it is written in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Abcd => "ABCD",
            Self::Cdab => "CDAB",
            Self::Badc => "BADC",
            Self::Dcba => "DCBA",
            Self::Ab => "AB",
            Self::Ba => "BA",
        }
    }

    /// Whether the register with the least significant bits comes first.
    pub fn swaps_registers(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    /// Whether the low byte of each register comes first.
    pub fn swaps_bytes(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba | Self::Ba)
    }

    /// Whether it says nothing of values longer than a register.
    pub fn is_short(self) -> bool {
        matches!(self, Self::Ab | Self::Ba)
    }

    /// One register with its bytes in order.
    pub(crate) fn register(self, register: u16) -> u16 {
        if self.swaps_bytes() { register.swap_bytes() } else { register }
    }
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ByteOrder {
    type Err = UnknownByteOrder;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|order| order.as_str().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| UnknownByteOrder(text.to_owned()))
    }
}

impl Serialize for ByteOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ByteOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_read_as_it_is_written() {
        for order in ByteOrder::ALL {
            let json = serde_json::to_string(&order).unwrap();
            assert_eq!(serde_json::from_str::<ByteOrder>(&json).unwrap(), order);
        }
        assert_eq!("cdab".parse(), Ok(ByteOrder::Cdab));
        assert_eq!(ByteOrder::default(), ByteOrder::Abcd);
    }

    #[test]
    fn an_unknown_order_names_the_known_ones() {
        let error = "ACBD".parse::<ByteOrder>().unwrap_err().to_string();
        assert!(error.contains("use ABCD, CDAB, BADC or DCBA"), "{error}");
    }
}
