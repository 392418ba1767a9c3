//! One codec for both directions: a device's registers to a value, and a value to registers.
//!
//! Pure: no clock, no device, no errors but its own. A coil or discrete input is one register here, 0 or 1,
//! and so is a bit of a register when it is written; when read, it is picked out of its register.
//!
//! With scale 1 and offset 0 a value is taken as it is, 64-bit integers to their last digit. Otherwise it is
//! computed in binary64 (see `linear`) and becomes a 32-bit float for float32 and a 64-bit float for every
//! other type.

use bifrost_model::{DataType, Quality, Reason, Value};
use thiserror::Error;

use super::Point;

/// Why a value can't be stored at a point. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EncodeError {
    /// A number for a text, or the like.
    #[error("{value} can't be stored as {data_type}")]
    WrongType {
        /// What was to be written.
        value: Value,
        /// What the point holds.
        data_type: DataType,
    },
    /// Infinity or not a number, given or computed.
    #[error("{0} is not a finite number the device could hold")]
    NotFinite(f64),
    /// Outside of what the type can hold, scale and offset considered.
    #[error("{value} is out of range: {data_type} holds {min} to {max} here")]
    OutOfRange {
        /// What was to be written.
        value: Value,
        /// What the point holds.
        data_type: DataType,
        /// The least, in engineering units.
        min: f64,
        /// The most, in engineering units.
        max: f64,
    },
    /// A fraction where only whole numbers are.
    #[error("{value} has a fraction, and {data_type} without a scale holds whole numbers")]
    Fraction {
        /// What was to be written.
        value: f64,
        /// What the point holds.
        data_type: DataType,
    },
    /// A text longer than its registers.
    #[error("the text has {len} bytes, and the device holds {max}")]
    TooLong {
        /// Bytes of the text.
        len: usize,
        /// Bytes of the point.
        max: u16,
    },
    /// It would be cut short there when read.
    #[error("the text contains a NUL character, which would end it")]
    Nul,
}

/// What a point's registers mean: `registers` are those of [`Point::span`], as they came over the wire.
///
/// Too few of them are quality BAD, reason [`Reason::Garbled`]; never a panic.
#[expect(clippy::cast_precision_loss, reason = "documented: scales are applied in binary64")]
pub fn decode(point: &Point, registers: &[u16]) -> (Value, Quality, Reason) {
    let Some(registers) = registers.get(..usize::from(point.count())) else {
        return (Value::Null, Quality::Bad, Reason::Garbled);
    };
    let value = match point.data_type() {
        DataType::Bool => Value::Bool(bit(point, registers)),
        DataType::String(bytes) => return text(point, registers, usize::from(bytes)),
        DataType::Float32 => float32(point, f32::from_bits(low_32(bits(point, registers)))),
        DataType::Float64 => float64(point, f64::from_bits(bits(point, registers))),
        signed @ (DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            let number = sign_extended(bits(point, registers), signed);
            scaled(point, number as f64).unwrap_or(Value::Int(number))
        }
        DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => {
            let number = bits(point, registers);
            scaled(point, number as f64).unwrap_or(Value::Uint(number))
        }
    };
    match value {
        Value::Null => (Value::Null, Quality::Bad, Reason::NotANumber),
        value => (value, Quality::Good, Reason::None),
    }
}

fn bit(point: &Point, registers: &[u16]) -> bool {
    registers.iter().any(|register| match point.wire_bit() {
        Some(bit) => register >> bit & 1 == 1,
        None => *register != 0,
    })
}

/// Up to four registers as one number, most significant first.
fn bits(point: &Point, registers: &[u16]) -> u64 {
    let order = point.byte_order();
    let append = |number: u64, register: &u16| number << 16 | u64::from(order.register(*register));
    if order.swaps_registers() {
        registers.iter().rev().fold(0, append)
    } else {
        registers.iter().fold(0, append)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "two registers were read")]
fn low_32(bits: u64) -> u32 {
    bits as u32
}

fn sign_extended(bits: u64, data_type: DataType) -> i64 {
    let unused = 64 - 16 * u32::from(data_type.registers());
    (bits << unused).cast_signed() >> unused
}

/// `Null` stands for what is not finite.
fn finite(value: f64) -> Value {
    if value.is_finite() { Value::Float64(value) } else { Value::Null }
}

/// `None` where values are taken as they are.
fn scaled(point: &Point, number: f64) -> Option<Value> {
    point.linear().map(|linear| finite(linear.apply(number)))
}

fn is_signed(data_type: DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to the precision the device has")]
fn float32(point: &Point, number: f32) -> Value {
    let number = point.linear().map_or(number, |linear| linear.apply(f64::from(number)) as f32);
    if number.is_finite() { Value::Float32(number) } else { Value::Null }
}

fn float64(point: &Point, number: f64) -> Value {
    finite(point.linear().map_or(number, |linear| linear.apply(number)))
}

fn text(point: &Point, registers: &[u16], max: usize) -> (Value, Quality, Reason) {
    let order = point.byte_order();
    let bytes = registers.iter().flat_map(|register| order.register(*register).to_be_bytes());
    let bytes: Vec<u8> = bytes.take(max).take_while(|byte| *byte != 0).collect();
    match String::from_utf8(bytes) {
        Ok(text) => (Value::Text(text.into()), Quality::Good, Reason::None),
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            (Value::Text(text.into()), Quality::Uncertain, Reason::NotText)
        }
    }
}

/// The registers that hold this value at this point, in the order of the wire.
///
/// A whole number is needed where an integer type has no scale; with a scale or an offset it is rounded to
/// the nearest step of the device. Range checks are the type's; a tag's own limits are somebody else's.
pub fn encode(point: &Point, value: &Value) -> Result<Vec<u16>, EncodeError> {
    let data_type = point.data_type();
    match (data_type, value) {
        (DataType::Bool, Value::Bool(on)) => Ok(vec![u16::from(*on)]),
        (DataType::String(max), Value::Text(text)) => encode_text(point, text, max),
        (DataType::Bool | DataType::String(_), _) | (_, Value::Null | Value::Bool(_) | Value::Text(_)) => {
            Err(EncodeError::WrongType { value: value.clone(), data_type })
        }
        (DataType::Float32, _) => encode_float32(point, value),
        (DataType::Float64, _) => encode_float64(point, value),
        _ => encode_integer(point, value),
    }
}

fn encode_text(point: &Point, text: &str, max: u16) -> Result<Vec<u16>, EncodeError> {
    if text.len() > usize::from(max) {
        return Err(EncodeError::TooLong { len: text.len(), max });
    }
    if text.contains('\0') {
        return Err(EncodeError::Nul);
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(usize::from(point.count()) * 2, 0);
    let order = point.byte_order();
    let registers = bytes.chunks_exact(2).map(|pair| order.register(u16::from_be_bytes([pair[0], pair[1]])));
    Ok(registers.collect())
}

/// The number that the device is to hold; finite.
fn raw_number(point: &Point, value: &Value) -> Result<f64, EncodeError> {
    let number = value.as_f64().unwrap_or(f64::NAN);
    let raw = point.linear().map_or(number, |linear| linear.invert(number));
    if !number.is_finite() {
        return Err(EncodeError::NotFinite(number));
    }
    if raw.is_finite() { Ok(raw) } else { Err(EncodeError::NotFinite(raw)) }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to the precision the device has")]
fn encode_float32(point: &Point, value: &Value) -> Result<Vec<u16>, EncodeError> {
    let raw = raw_number(point, value)? as f32;
    if !raw.is_finite() {
        return Err(out_of_range(point, value, f64::from(f32::MIN), f64::from(f32::MAX)));
    }
    Ok(registers(point, u64::from(raw.to_bits())))
}

fn encode_float64(point: &Point, value: &Value) -> Result<Vec<u16>, EncodeError> {
    Ok(registers(point, raw_number(point, value)?.to_bits()))
}

fn encode_integer(point: &Point, value: &Value) -> Result<Vec<u16>, EncodeError> {
    let number = whole_number(point, value)?;
    let (min, max) = range(point.data_type());
    if !(min..=max).contains(&number) {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        return Err(out_of_range(point, value, min as f64, max as f64));
    }
    // In two's complement the low bits of a negative number are those of the narrower type.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, as checked above")]
    Ok(registers(point, number as u64))
}

fn whole_number(point: &Point, value: &Value) -> Result<i128, EncodeError> {
    let identity = point.linear().is_none();
    match value {
        Value::Int(number) if identity => return Ok(i128::from(*number)),
        Value::Uint(number) if identity => return Ok(i128::from(*number)),
        _ => {}
    }
    let raw = raw_number(point, value)?;
    if identity && raw.fract() != 0.0 {
        return Err(EncodeError::Fraction { value: raw, data_type: point.data_type() });
    }
    // Saturates, and what saturates is out of every type's range.
    #[expect(clippy::cast_possible_truncation, reason = "whole after rounding")]
    Ok(raw.round() as i128)
}

/// The least and the most an integer type holds.
fn range(data_type: DataType) -> (i128, i128) {
    let bits = 16 * u32::from(data_type.registers());
    if is_signed(data_type) { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

fn out_of_range(point: &Point, value: &Value, min: f64, max: f64) -> EncodeError {
    let ends = [min, max].map(|end| point.linear().map_or(end, |linear| linear.apply(end)));
    EncodeError::OutOfRange {
        value: value.clone(),
        data_type: point.data_type(),
        min: ends[0].min(ends[1]),
        max: ends[0].max(ends[1]),
    }
}

/// The reverse of [`bits`].
#[expect(clippy::cast_possible_truncation, reason = "register by register")]
fn registers(point: &Point, bits: u64) -> Vec<u16> {
    let order = point.byte_order();
    let count = point.count();
    let register = |index: u16| {
        let place = if order.swaps_registers() { index } else { count - 1 - index };
        order.register((bits >> (16 * place)) as u16)
    };
    (0..count).map(register).collect()
}

#[cfg(test)]
mod tests;
