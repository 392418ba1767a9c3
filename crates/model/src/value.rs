//! A tag's value.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::DataType;

/// One value, as JSON carries it.
///
/// 32-bit and 64-bit floats are kept apart so that each is written with the digits it has: 25.4, never
/// 25.399999618530273.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// true or false
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A finite number with the precision of binary32.
    Float32(f32),
    /// A finite number.
    Float64(f64),
    /// Text.
    Text(Box<str>),
}

/// Why a value can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// An object or a list.
    #[error("a value is a boolean, a number, a text or null, not {0}")]
    NotScalar(&'static str),
    /// Infinity or not a number.
    #[error("a number must be finite")]
    NotFinite,
}

impl Value {
    /// As a number; `None` for what isn't one. Integers beyond 2^53 lose their last digits.
    #[expect(clippy::cast_precision_loss, reason = "said in the contract above")]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Int(value) => Some(value as f64),
            Self::Uint(value) => Some(value as f64),
            Self::Float32(value) => Some(f64::from(value)),
            Self::Float64(value) => Some(value),
            Self::Null | Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// Whether there is one.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether a tag of this type can have this value, its range left aside.
    pub fn fits(&self, data_type: DataType) -> bool {
        match data_type {
            DataType::Bool => matches!(self, Self::Bool(_)),
            DataType::String(_) => matches!(self, Self::Text(_)),
            _ => self.as_f64().is_some(),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.pad("-"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Float32(value) => value.fmt(f),
            Self::Float64(value) => value.fmt(f),
            Self::Text(value) => f.pad(value),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float32(value) => serializer.serialize_f32(*value),
            Self::Float64(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(serde_json::Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl TryFrom<serde_json::Value> for Value {
    type Error = ValueError;

    fn try_from(json: serde_json::Value) -> Result<Self, Self::Error> {
        match json {
            serde_json::Value::Null => Ok(Self::Null),
            serde_json::Value::Bool(value) => Ok(Self::Bool(value)),
            serde_json::Value::String(value) => Ok(Self::Text(value.into())),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_u64().map(Self::Uint))
                .or_else(|| number.as_f64().filter(|value| value.is_finite()).map(Self::Float64))
                .ok_or(ValueError::NotFinite),
            serde_json::Value::Array(_) => Err(ValueError::NotScalar("a list")),
            serde_json::Value::Object(_) => Err(ValueError::NotScalar("an object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_32_bit_float_is_written_with_its_own_digits() {
        assert_eq!(serde_json::to_string(&Value::Float32(25.4)).unwrap(), "25.4");
    }

    #[test]
    fn the_largest_integers_survive_json() {
        for value in [Value::Uint(u64::MAX), Value::Int(i64::MIN)] {
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }
    }

    #[test]
    fn lists_and_objects_are_no_values() {
        assert!(serde_json::from_str::<Value>("[1]").is_err());
        assert!(serde_json::from_str::<Value>("{}").is_err());
    }

    #[test]
    fn a_value_stays_small_because_a_gateway_holds_a_hundred_thousand() {
        assert!(size_of::<Value>() <= 24);
    }
}
