//! What one PLC has and accepts. Where it listens is the listener's affair, not the PLC's.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{SimulatorError, fault::ScriptedFault, signal::Signal, tls::TlsSettings};

/// One of the four address spaces (Modbus Application Protocol V1.1b3, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Single bits, read and write.
    Coil,
    /// Single bits, read only.
    Discrete,
    /// 16-bit registers, read and write.
    Holding,
    /// 16-bit registers, read only.
    Input,
}

impl Table {
    /// Whether an address is one bit rather than a register.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        })
    }
}

/// Addresses from `first` to `last`, both included, 0-based. Written `10-19`, or `10` for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    /// The first address.
    pub first: u16,
    /// The last address.
    pub last: u16,
}

impl AddressRange {
    /// Whether this range and `count` addresses from `address` on have one in common.
    pub fn meets(self, address: u16, count: u16) -> bool {
        let end = u32::from(address) + u32::from(count);
        u32::from(self.first) < end && address <= self.last
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        (range.first <= range.last).then_some(range)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Serialize for AddressRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = AddressRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address range such as 10-19, or one address, from 0 to 65535")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AddressRange, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AddressRange, E> {
                AddressRange::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Addresses that the PLC hasn't got, in the middle of a table: every request that touches one is answered
/// with exception 02.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hole {
    /// In which table.
    pub table: Table,
    /// Which addresses.
    pub range: AddressRange,
}

/// One simulated PLC.
#[derive(Debug, Clone, PartialEq)]
pub struct PlcSettings {
    /// What it is called in logs and reports; also the seed of its noise.
    pub name: String,
    /// The units it answers for, each with a memory of its own and the same layout.
    pub unit_ids: Vec<u8>,
    /// Over TCP, units 0 and 255 address the first unit unless this is set; they are strangers then.
    pub strict_units: bool,
    /// How many holding registers, and how many input registers.
    pub registers: u16,
    /// How many coils, and how many discrete inputs.
    pub coils: u16,
    /// What moves; every other register and coil is zero until it is written.
    pub signals: Vec<Signal>,
    /// A read or write of more registers than this is refused with exception 03.
    pub max_registers_per_request: Option<u16>,
    /// What is missing in the middle.
    pub holes: Vec<Hole>,
    /// What fails, and when.
    pub faults: Vec<ScriptedFault>,
    /// One connection more than this is closed at once.
    pub max_connections: Option<usize>,
    /// A connection that sends nothing for so long is closed.
    pub idle_timeout: Option<Duration>,
    /// How it is encrypted, where its endpoint is `tls://`.
    pub tls: Option<TlsSettings>,
}

impl Default for PlcSettings {
    fn default() -> Self {
        Self {
            name: "plc".to_owned(),
            unit_ids: vec![1],
            strict_units: false,
            registers: 100,
            coils: 100,
            signals: Vec::new(),
            max_registers_per_request: None,
            holes: Vec::new(),
            faults: Vec::new(),
            max_connections: None,
            idle_timeout: None,
            tls: None,
        }
    }
}

impl PlcSettings {
    /// The defaults under this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// How many addresses a table has.
    pub fn size(&self, table: Table) -> u16 {
        if table.is_bits() { self.coils } else { self.registers }
    }

    /// Finds the first thing that makes no sense.
    ///
    /// # Errors
    /// [`SimulatorError::Setting`] with the key below this PLC.
    pub fn validate(&self) -> Result<(), SimulatorError> {
        self.check_units()?;
        if self.max_registers_per_request == Some(0) {
            return Err(SimulatorError::setting("max_registers_per_request", "must be at least 1"));
        }
        if self.max_connections == Some(0) {
            return Err(SimulatorError::setting("max_connections", "must be at least 1"));
        }
        for (index, signal) in self.signals.iter().enumerate() {
            signal.validate(self.size(signal.table)).map_err(|e| e.below(&format!("signals[{index}]")))?;
        }
        for (index, fault) in self.faults.iter().enumerate() {
            fault.validate(&self.unit_ids).map_err(|e| e.below(&format!("faults[{index}]")))?;
        }
        Ok(())
    }

    fn check_units(&self) -> Result<(), SimulatorError> {
        if self.unit_ids.is_empty() {
            return Err(SimulatorError::setting("unit_ids", "must name at least one unit"));
        }
        for (index, unit) in self.unit_ids.iter().enumerate() {
            if self.unit_ids[..index].contains(unit) {
                return Err(SimulatorError::setting("unit_ids", format!("unit {unit} is there twice")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_meets_what_shares_an_address_with_it() {
        let range = AddressRange { first: 10, last: 19 };
        for (address, count, meets) in
            [(0, 10, false), (0, 11, true), (19, 1, true), (20, 5, false), (15, 0, true), (0, u16::MAX, true)]
        {
            assert_eq!(range.meets(address, count), meets, "{address}+{count}");
        }
        assert!(AddressRange { first: 65535, last: 65535 }.meets(65535, 1));
    }

    #[test]
    fn ranges_are_read_from_texts_and_numbers() {
        let read = |json: &str| serde_json::from_str::<AddressRange>(json);
        assert_eq!(read("\"10-19\"").unwrap(), AddressRange { first: 10, last: 19 });
        assert_eq!(read("7").unwrap(), AddressRange { first: 7, last: 7 });
        for bad in ["\"19-10\"", "\"\"", "70000", "\"1-2-3\"", "-1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn senseless_units_and_limits_are_refused_by_their_key() {
        let good = PlcSettings::default();
        good.validate().unwrap();
        for (bad, expected) in [
            (PlcSettings { unit_ids: vec![], ..good.clone() }, "unit_ids"),
            (PlcSettings { unit_ids: vec![1, 2, 1], ..good.clone() }, "unit 1 is there twice"),
            (PlcSettings { max_registers_per_request: Some(0), ..good.clone() }, "max_registers_per_request"),
            (PlcSettings { max_connections: Some(0), ..good.clone() }, "max_connections"),
        ] {
            let error = bad.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
