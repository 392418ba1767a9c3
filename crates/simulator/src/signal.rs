//! A wave and where a PLC keeps it: table, address, type, order, scale. Pure.
//!
//! A signal is computed when a read touches it, from the time since the PLC's start; nothing runs for it in
//! between. What was written since is the memory's affair.

use std::time::Duration;

use bifrost_model::DataType;
use serde::{Deserialize, Serialize};

use crate::{
    SimulatorError,
    byte_order::ByteOrder,
    settings::Table,
    wave::{Wave, noise, scramble},
};

/// A value that moves.
///
/// A write to any register or coil of a signal detaches it: the written value stays until
/// [`Memory::restart_signals`](crate::Memory::restart_signals).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// In which table.
    pub table: Table,
    /// Its first address, 0-based.
    pub address: u16,
    /// How it is stored; `bool` in the tables of bits, and with `bit` in those of registers.
    pub data_type: DataType,
    /// The order of its bytes.
    #[serde(default)]
    pub byte_order: ByteOrder,
    /// Which bit of the register a `bool` is, 0 the least significant; without it, the register is 0 or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit: Option<u8>,
    /// How it moves, in engineering units.
    pub wave: Wave,
    /// The standard deviation of noise on top, in engineering units.
    #[serde(default)]
    pub noise: f64,
    /// Engineering units for one unit of the stored number: stored = value / scale.
    #[serde(default = "one")]
    pub scale: f64,
    /// How far into its wave it is when the PLC starts.
    #[serde(default, with = "humantime_serde")]
    pub phase: Duration,
    /// How many such values lie one behind the other, their phases spread evenly over the period.
    #[serde(default = "once")]
    pub repeat: u16,
}

fn one() -> f64 {
    1.0
}

fn once() -> u16 {
    1
}

impl Signal {
    /// One unscaled value without noise, in ABCD order.
    pub fn new(table: Table, address: u16, data_type: DataType, wave: Wave) -> Self {
        Self {
            table,
            address,
            data_type,
            byte_order: ByteOrder::Abcd,
            bit: None,
            wave,
            noise: 0.0,
            scale: one(),
            phase: Duration::ZERO,
            repeat: once(),
        }
    }

    /// With its bytes in this order.
    #[must_use]
    pub fn ordered(self, byte_order: ByteOrder) -> Self {
        Self { byte_order, ..self }
    }

    /// Stored divided by `scale`.
    #[must_use]
    pub fn scaled(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// With noise of this standard deviation on top.
    #[must_use]
    pub fn noisy(self, noise: f64) -> Self {
        Self { noise, ..self }
    }

    /// So far into its wave at the start.
    #[must_use]
    pub fn shifted(self, phase: Duration) -> Self {
        Self { phase, ..self }
    }

    /// How many addresses one value takes.
    pub fn width(&self) -> u16 {
        if self.table.is_bits() { 1 } else { self.data_type.registers() }
    }

    /// One behind its last address; may lie beyond the table.
    pub(crate) fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.width()) * u32::from(self.repeat)
    }

    pub(crate) fn validate(&self, table_size: u16) -> Result<(), SimulatorError> {
        let (key, reason) = if self.end() > u32::from(table_size) {
            let reason = format!("ends at {}, and the {} table at {table_size}", self.end(), self.table);
            ("address", reason)
        } else if self.table.is_bits() && self.data_type != DataType::Bool {
            ("data_type", format!("must be bool in the {} table", self.table))
        } else if matches!(self.data_type, DataType::String(_)) != matches!(self.wave, Wave::Text { .. }) {
            ("wave", "text belongs to string(N), and nothing else does".to_owned())
        } else if self.bit.is_some_and(|bit| bit > 15) {
            ("bit", "must be from 0 to 15".to_owned())
        } else if self.bit.is_some() && (self.table.is_bits() || self.data_type != DataType::Bool) {
            ("bit", "is for a bool in a register".to_owned())
        } else if !self.scale.is_normal() || !self.noise.is_finite() {
            ("scale", "scale must be a number other than 0, and noise a finite one".to_owned())
        } else if self.repeat == 0 {
            ("repeat", "must be at least 1".to_owned())
        } else {
            return self.wave.validate();
        };
        Err(SimulatorError::setting(key, reason))
    }

    /// The stored number, not yet rounded, of the `index`-th repetition.
    pub(crate) fn number(&self, index: u16, at: Duration, seed: u64) -> f64 {
        let seed = scramble(seed ^ (u64::from(self.address) << 20) ^ ((self.table as u64) << 36))
            .wrapping_add(u64::from(index));
        let value = self.wave.at(self.time(index, at), seed);
        let noise = if self.noise == 0.0 { 0.0 } else { self.noise * noise(at, seed) };
        (value + noise) / self.scale
    }

    /// The value of a bit, in the tables of bits and in a register.
    pub(crate) fn is_on(&self, index: u16, at: Duration, seed: u64) -> bool {
        self.number(index, at, seed) >= 0.5
    }

    /// Puts the `index`-th repetition into its registers; `registers` are exactly [`Self::width`] of them.
    pub(crate) fn store(&self, index: u16, at: Duration, seed: u64, registers: &mut [u16]) {
        if let Some(text) = self.wave.text_at(self.time(index, at)) {
            store_text(text, self.data_type, registers);
            return self.byte_order.arrange_bytes(registers);
        }
        if self.data_type == DataType::Bool {
            return self.store_bit(self.is_on(index, at, seed), registers);
        }
        store_number(self.number(index, at, seed), self.wave.wraps(), self.data_type, registers);
        self.byte_order.arrange(registers);
    }

    fn store_bit(&self, on: bool, registers: &mut [u16]) {
        let Some(register) = registers.first_mut() else { return };
        let Some(bit) = self.bit else {
            *register = u16::from(on);
            return self.byte_order.arrange_bytes(registers);
        };
        let bit = if self.byte_order.swaps_bytes() { bit ^ 8 } else { bit };
        *register = *register & !(1 << bit) | u16::from(on) << bit;
    }

    fn time(&self, index: u16, at: Duration) -> Duration {
        let at = at.saturating_add(self.phase);
        match self.wave.period() {
            Some(period) if index > 0 => {
                at.saturating_add(period.saturating_mul(index.into()) / u32::from(self.repeat))
            }
            _ => at,
        }
    }
}

/// Big endian; a number beyond its type stops at the type's end, or wraps around.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` stops at the type's ends")]
fn store_number(number: f64, wraps: bool, data_type: DataType, registers: &mut [u16]) {
    let whole = || {
        let bits = i32::from(data_type.registers()) * 16;
        if wraps { number.round().rem_euclid(2.0_f64.powi(bits)) } else { number.round() }
    };
    let bits = match data_type {
        DataType::Int16 if !wraps => u64::from((whole() as i16).cast_unsigned()),
        DataType::Int32 if !wraps => u64::from((whole() as i32).cast_unsigned()),
        DataType::Int64 if !wraps => (whole() as i64).cast_unsigned(),
        // Two's complement: what wraps has the same bits, signed or not.
        DataType::Bool | DataType::Uint16 | DataType::Int16 => u64::from(whole() as u16),
        DataType::Uint32 | DataType::Int32 => u64::from(whole() as u32),
        DataType::Uint64 | DataType::Int64 => whole() as u64,
        DataType::Float32 => u64::from((number as f32).to_bits()),
        DataType::Float64 => number.to_bits(),
        DataType::String(_) => 0,
    };
    for (index, register) in registers.iter_mut().rev().enumerate() {
        *register = bits.checked_shr(16 * index as u32).unwrap_or_default() as u16;
    }
}

/// Two bytes in each register, the first one high, filled up with zeros.
fn store_text(text: &str, data_type: DataType, registers: &mut [u16]) {
    let room = if let DataType::String(bytes) = data_type { usize::from(bytes) } else { 0 };
    let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let mut bytes = text.bytes().take(end);
    for register in registers {
        *register = u16::from_be_bytes([bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(data_type: DataType, order: ByteOrder, value: f64) -> Vec<u16> {
        let signal = Signal::new(Table::Holding, 0, data_type, Wave::Constant { value }).ordered(order);
        let mut registers = vec![0; usize::from(signal.width())];
        signal.store(0, Duration::ZERO, 0, &mut registers);
        registers
    }

    #[test]
    fn numbers_are_stored_in_the_order_that_was_asked_for() {
        let value = f64::from(0x0102_0304);
        for (order, registers) in [
            (ByteOrder::Abcd, [0x0102, 0x0304]),
            (ByteOrder::Cdab, [0x0304, 0x0102]),
            (ByteOrder::Badc, [0x0201, 0x0403]),
            (ByteOrder::Dcba, [0x0403, 0x0201]),
        ] {
            assert_eq!(stored(DataType::Uint32, order, value), registers, "{order}");
        }
        assert_eq!(stored(DataType::Uint64, ByteOrder::Cdab, value), [0x0304, 0x0102, 0, 0]);
        assert_eq!(stored(DataType::Float32, ByteOrder::Abcd, 25.5), [0x41CC, 0x0000]);
        assert_eq!(stored(DataType::Float64, ByteOrder::Abcd, -2.0), [0xC000, 0, 0, 0]);
        assert_eq!(stored(DataType::Uint16, ByteOrder::Badc, 1.0), [0x0100]);
    }

    #[test]
    fn numbers_beyond_their_type_stop_at_its_end() {
        let abcd = ByteOrder::Abcd;
        assert_eq!(stored(DataType::Int16, abcd, -1.0), [0xFFFF]);
        assert_eq!(stored(DataType::Int16, abcd, -1e9), [0x8000]);
        assert_eq!(stored(DataType::Uint16, abcd, -5.0), [0]);
        assert_eq!(stored(DataType::Uint16, abcd, 1e9), [0xFFFF]);
        assert_eq!(stored(DataType::Int32, abcd, -2.0), [0xFFFF, 0xFFFE]);
        assert_eq!(stored(DataType::Int64, abcd, -2.0), [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE]);
    }

    #[test]
    fn a_counter_wraps_around_at_the_end_of_its_type() {
        let wave = Wave::Counter {
            step: 1.0,
            period: Duration::from_secs(1),
            start: 65535.0,
            run: None,
            pause: Duration::ZERO,
        };
        for (data_type, after) in [(DataType::Uint16, vec![1]), (DataType::Uint32, vec![1, 1])] {
            let signal = Signal::new(Table::Input, 0, data_type, wave.clone());
            let mut registers = vec![0; usize::from(signal.width())];
            signal.store(0, Duration::from_secs(2), 0, &mut registers);
            assert_eq!(registers, after);
        }
    }

    #[test]
    fn scale_is_taken_off_and_a_text_is_cut_at_a_whole_character() {
        let mut registers = [0; 2];
        Signal::new(Table::Holding, 0, DataType::Int16, Wave::Constant { value: 21.5 }).scaled(0.1).store(
            0,
            Duration::ZERO,
            0,
            &mut registers[..1],
        );
        assert_eq!(registers[0], 215);

        let text = |value: &str, order| {
            let wave = Wave::Text { values: vec![value.to_owned()], period: Duration::from_secs(1) };
            let signal = Signal::new(Table::Holding, 0, DataType::String(4), wave).ordered(order);
            let mut registers = [9; 2];
            signal.store(0, Duration::ZERO, 0, &mut registers);
            registers
        };
        assert_eq!(text("ABCDE", ByteOrder::Cdab), [0x4142, 0x4344]);
        assert_eq!(text("ABC", ByteOrder::Dcba), [0x4241, 0x0043]);
        assert_eq!(text("ABC\u{e9}", ByteOrder::Abcd), [0x4142, 0x4300]);
    }

    #[test]
    fn a_bit_leaves_its_neighbours_alone() {
        let signal = |value| Signal {
            bit: Some(3),
            ..Signal::new(Table::Holding, 0, DataType::Bool, Wave::Constant { value })
        };
        let mut register = [0b0101];
        signal(1.0).store(0, Duration::ZERO, 0, &mut register);
        assert_eq!(register, [0b1101]);
        signal(0.0).store(0, Duration::ZERO, 0, &mut register);
        assert_eq!(register, [0b0101]);
    }

    #[test]
    fn repetitions_are_spread_over_the_period() {
        let wave = Wave::Ramp { min: 0.0, max: 100.0, period: Duration::from_secs(10) };
        let signal = Signal { repeat: 4, ..Signal::new(Table::Holding, 0, DataType::Uint16, wave) };
        let numbers: Vec<f64> = (0..4).map(|index| signal.number(index, Duration::ZERO, 0)).collect();
        assert_eq!(numbers, [0.0, 25.0, 50.0, 75.0]);
    }

    #[test]
    fn signals_that_fit_nowhere_are_refused_by_their_key() {
        let wave = Wave::Constant { value: 0.0 };
        let good = Signal::new(Table::Holding, 98, DataType::Float32, wave.clone());
        good.validate(100).unwrap();
        for (bad, key) in [
            (Signal { address: 99, ..good.clone() }, "address"),
            (Signal { repeat: 2, ..good.clone() }, "address"),
            (Signal { repeat: 0, ..good.clone() }, "repeat"),
            (Signal { bit: Some(16), ..good.clone() }, "bit"),
            (Signal { bit: Some(1), ..good.clone() }, "bit"),
            (Signal { scale: 0.0, ..good.clone() }, "scale"),
            (Signal::new(Table::Coil, 0, DataType::Uint16, wave.clone()), "data_type"),
            (Signal::new(Table::Holding, 0, DataType::String(4), wave), "wave"),
        ] {
            let error = bad.validate(100).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
