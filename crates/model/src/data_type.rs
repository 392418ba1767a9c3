//! The data types a tag can have.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// How a tag's value is stored in the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// One coil, one discrete input, or one bit of a register.
    Bool,
    /// 16 bits, two's complement.
    Int16,
    /// 16 bits.
    Uint16,
    /// 32 bits, two's complement.
    Int32,
    /// 32 bits.
    Uint32,
    /// 64 bits, two's complement.
    Int64,
    /// 64 bits.
    Uint64,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// Text of at most this many bytes, two in each register.
    String(u16),
}

/// A name that is no data type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a data type; use bool, int16, uint16, int32, uint32, int64, uint64, float32, float64 \
     or string(N) with N from 1 to 250"
)]
pub struct UnknownDataType(pub String);

impl DataType {
    /// How many 16-bit registers a value takes; a `bool` takes the one its bit is in.
    pub fn registers(self) -> u16 {
        match self {
            Self::Bool | Self::Int16 | Self::Uint16 => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 => 2,
            Self::Int64 | Self::Uint64 | Self::Float64 => 4,
            Self::String(bytes) => bytes.div_ceil(2),
        }
    }

    /// Whether scale, offset, limits and deadband have a meaning.
    pub fn is_numeric(self) -> bool {
        !matches!(self, Self::Bool | Self::String(_))
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Bool => "bool",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::String(bytes) => return write!(f, "string({bytes})"),
        };
        f.write_str(name)
    }
}

impl FromStr for DataType {
    type Err = UnknownDataType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "bool" => Self::Bool,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "uint64" => Self::Uint64,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            other => Self::String(string_length(other).ok_or_else(|| UnknownDataType(text.to_owned()))?),
        })
    }
}

/// `string(N)`, N from 1 to 250: 125 registers, the most one request reads.
fn string_length(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("string(")?.strip_suffix(')')?;
    digits.trim().parse().ok().filter(|bytes| (1..=250).contains(bytes))
}

impl Serialize for DataType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_as_it_is_written() {
        let names = "bool int16 uint16 int32 uint32 int64 uint64 float32 float64 string(1) string(250)";
        for name in names.split(' ') {
            assert_eq!(name.parse::<DataType>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn strings_that_no_request_could_carry_are_refused() {
        for name in ["string", "string()", "string(0)", "string(251)", "string(-1)", "real"] {
            assert!(name.parse::<DataType>().is_err(), "{name}");
        }
    }

    #[test]
    fn an_odd_string_takes_its_last_half_register_whole() {
        assert_eq!(DataType::String(5).registers(), 3);
    }
}
