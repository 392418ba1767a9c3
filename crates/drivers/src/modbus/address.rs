//! Where a value lives in a Modbus device, and the two ways people write it.
//!
//! Modicon numbers are 1-based and name the table by their first digit; the explicit form is 0-based, as on
//! the wire. Digits alone can be read either way by people, so every error says which reading was taken.
//! Knows nothing of data types: whether an address suits one is `Point`'s affair.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// One of a device's four address spaces (Modbus Application Protocol V1.1b3, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Single bits, read and write.
    Coil,
    /// Single bits, read only.
    DiscreteInput,
    /// 16-bit registers, read only.
    InputRegister,
    /// 16-bit registers, read and write.
    HoldingRegister,
}

impl Table {
    /// All four, in the order of their Modicon digits.
    pub const ALL: [Self; 4] = [Self::Coil, Self::DiscreteInput, Self::InputRegister, Self::HoldingRegister];

    /// Whether an address is one bit rather than a register.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::DiscreteInput)
    }

    /// Whether the protocol can write it at all.
    pub fn is_writable(self) -> bool {
        matches!(self, Self::Coil | Self::HoldingRegister)
    }

    /// As it is written in the explicit form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::DiscreteInput => "discrete",
            Self::InputRegister => "input",
            Self::HoldingRegister => "holding",
        }
    }

    /// As it is called in a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::DiscreteInput => "discrete input",
            Self::InputRegister => "input register",
            Self::HoldingRegister => "holding register",
        }
    }

    /// Where it stands in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    fn digit(self) -> char {
        match self {
            Self::Coil => '0',
            Self::DiscreteInput => '1',
            Self::InputRegister => '3',
            Self::HoldingRegister => '4',
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A place in a device: a table, a 0-based offset as on the wire, and perhaps one bit of the register there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Which address space.
    pub table: Table,
    /// 0-based, as on the wire.
    pub offset: u16,
    /// 0 (least significant) to 15; only of registers.
    pub bit: Option<u8>,
}

/// Why a text is no address, which reading of it was taken, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("the address is empty; write 40001 (Modicon, 1-based) or holding:0 (0-based)")]
    Empty,
    /// Neither form.
    #[error("{0:?} is no Modbus address; write 40001 (Modicon, 1-based) or holding:0 (0-based)")]
    NoAddress(String),
    /// A word before the colon that names no table.
    #[error("{text:?}: {name:?} names no table; use coil, discrete, input or holding")]
    UnknownTable {
        /// The whole text.
        text: String,
        /// What stands before the colon.
        name: String,
    },
    /// The explicit form with an offset that the wire can't carry.
    #[error("{text:?} read as explicit, 0-based {}: the offset goes from 0 to 65535", table.noun())]
    Offset {
        /// The whole text.
        text: String,
        /// The table it names.
        table: Table,
    },
    /// Digits, but not as many as Modicon numbers have.
    #[error(
        "{text:?} read as a Modicon number, which has 5 or 6 digits and begins with its table (0, 1, 3 or \
         4); for wire offset {text} write holding:{text}, input:{text}, coil:{text} or discrete:{text}"
    )]
    DigitCount {
        /// The whole text, digits alone.
        text: String,
    },
    /// A first digit that stands for no table.
    #[error(
        "{text:?} read as a Modicon number: no table has the digit {digit}; it is 0 for coils, 1 for \
         discrete inputs, 3 for input registers, 4 for holding registers"
    )]
    ModiconTable {
        /// The whole text.
        text: String,
        /// Its first digit.
        digit: char,
    },
    /// Number zero.
    #[error("{text:?} read as a Modicon number: these begin at 1; the first {} is {table}:0", table.noun())]
    ModiconZero {
        /// The whole text.
        text: String,
        /// The table it names.
        table: Table,
    },
    /// Six digits, beyond the last address.
    #[error(
        "{text:?} read as a Modicon number: the last {} is {}65536, which is {table}:65535",
        table.noun(),
        table.digit()
    )]
    ModiconRange {
        /// The whole text.
        text: String,
        /// The table it names.
        table: Table,
    },
    /// A bit that a register hasn't.
    #[error("{text:?}: bit {bit:?} is none; a register has the bits .0 (least significant) to .15")]
    Bit {
        /// The whole text.
        text: String,
        /// What stands after the point.
        bit: String,
    },
    /// A bit of what is a bit already.
    #[error("{text:?} read as {address} with bit .{bit}: a {} is a single bit; leave .{bit} out", address.table.noun())]
    BitOfBit {
        /// The whole text.
        text: String,
        /// What stands before the point.
        address: Address,
        /// What stands after it.
        bit: u8,
    },
}

impl Address {
    /// An address without a bit.
    pub fn new(table: Table, offset: u16) -> Self {
        Self { table, offset, bit: None }
    }

    /// One bit of a register; `bit` must be below 16, and the table one of registers, for the address to be
    /// of use: `Point::new` checks both.
    #[must_use]
    pub fn with_bit(self, bit: u8) -> Self {
        Self { bit: Some(bit), ..self }
    }

    /// Both forms: `holding:0 (Modicon 40001)`.
    pub fn describe(self) -> String {
        format!("{self} (Modicon {})", self.modicon())
    }

    /// With five digits where they suffice.
    fn modicon(self) -> String {
        let number = u32::from(self.offset) + 1;
        let digit = self.table.digit();
        let bit = self.bit.map_or_else(String::new, |bit| format!(".{bit}"));
        if number <= 9999 { format!("{digit}{number:04}{bit}") } else { format!("{digit}{number:05}{bit}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table, self.offset)?;
        match self.bit {
            Some(bit) => write!(f, ".{bit}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (place, bit) = match text.split_once('.') {
            Some((place, bit)) => (place, Some(bit)),
            None => (text, None),
        };
        let address = match place.split_once(':') {
            Some((name, offset)) => explicit(text, name, offset)?,
            None => modicon(text, place)?,
        };
        match bit {
            Some(bit) => add_bit(text, address, bit),
            None => Ok(address),
        }
    }
}

fn explicit(text: &str, name: &str, offset: &str) -> Result<Address, AddressError> {
    let name = name.trim();
    let table = Table::ALL.into_iter().find(|table| table.as_str().eq_ignore_ascii_case(name));
    let table =
        table.ok_or_else(|| AddressError::UnknownTable { text: text.to_owned(), name: name.to_owned() })?;
    let offset = offset.trim();
    let number = if is_digits(offset) { offset.parse().ok() } else { None };
    let offset = number.ok_or_else(|| AddressError::Offset { text: text.to_owned(), table })?;
    Ok(Address::new(table, offset))
}

fn modicon(text: &str, place: &str) -> Result<Address, AddressError> {
    if !is_digits(place) {
        return Err(AddressError::NoAddress(text.to_owned()));
    }
    if !matches!(place.len(), 5 | 6) {
        return Err(AddressError::DigitCount { text: place.to_owned() });
    }
    let (digit, number) = place.split_at(1);
    let table = Table::ALL.into_iter().find(|table| digit.starts_with(table.digit()));
    let table = table.ok_or_else(|| AddressError::ModiconTable {
        text: text.to_owned(),
        digit: digit.chars().next().unwrap_or_default(),
    })?;
    match number.parse::<u32>().unwrap_or(u32::MAX) {
        0 => Err(AddressError::ModiconZero { text: text.to_owned(), table }),
        number => u16::try_from(number - 1)
            .map(|offset| Address::new(table, offset))
            .map_err(|_| AddressError::ModiconRange { text: text.to_owned(), table }),
    }
}

fn add_bit(text: &str, address: Address, bit: &str) -> Result<Address, AddressError> {
    let number = if is_digits(bit) { bit.parse().ok().filter(|bit| *bit < 16) } else { None };
    let Some(bit) = number else {
        return Err(AddressError::Bit { text: text.to_owned(), bit: bit.to_owned() });
    };
    if address.table.is_bits() {
        return Err(AddressError::BitOfBit { text: text.to_owned(), address, bit });
    }
    Ok(address.with_bit(bit))
}

/// `parse` would take a sign as well.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text only: as a number YAML would turn 00001 into 1 and 40001.10 into 40001.1.
impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Address>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    fn refused(text: &str) -> String {
        text.parse::<Address>().expect_err(text).to_string()
    }

    #[test]
    fn modicon_numbers_are_one_based_and_name_their_table_first() {
        for (text, explicit) in [
            ("00001", "coil:0"),
            ("09999", "coil:9998"),
            ("10001", "discrete:0"),
            ("19999", "discrete:9998"),
            ("30001", "input:0"),
            ("39999", "input:9998"),
            ("40001", "holding:0"),
            ("49999", "holding:9998"),
            ("000001", "coil:0"),
            ("065536", "coil:65535"),
            ("165536", "discrete:65535"),
            ("300001", "input:0"),
            ("365536", "input:65535"),
            ("400001", "holding:0"),
            ("465536", "holding:65535"),
            ("40001.0", "holding:0.0"),
            ("300010.15", "input:9.15"),
        ] {
            assert_eq!(parsed(text), explicit, "{text}");
        }
    }

    #[test]
    fn the_explicit_form_is_zero_based() {
        for (text, explicit) in [
            ("holding:0", "holding:0"),
            (" Holding:40001 ", "holding:40001"),
            ("input:10", "input:10"),
            ("coil:3", "coil:3"),
            ("discrete:7", "discrete:7"),
            ("holding:65535.15", "holding:65535.15"),
        ] {
            assert_eq!(parsed(text), explicit, "{text}");
        }
    }

    #[test]
    fn an_error_says_which_reading_was_taken_and_what_to_write() {
        for (text, part) in [
            ("", "write 40001"),
            ("forty", "write 40001 (Modicon, 1-based) or holding:0 (0-based)"),
            ("-40001", "no Modbus address"),
            ("100", "write holding:100"),
            ("4000001", "5 or 6 digits"),
            ("20001", "no table has the digit 2"),
            ("40000", "read as a Modicon number: these begin at 1; the first holding register is holding:0"),
            ("465537", "the last holding register is 465536, which is holding:65535"),
            ("register:0", "use coil, discrete, input or holding"),
            ("holding:65536", "read as explicit, 0-based holding register: the offset goes from 0 to 65535"),
            ("holding:", "from 0 to 65535"),
            ("holding:+1", "from 0 to 65535"),
            ("40001.16", "bits .0 (least significant) to .15"),
            ("40001.", "bits .0"),
            ("40001.0.0", "bits .0"),
            ("coil:3.1", "read as coil:3 with bit .1: a coil is a single bit; leave .1 out"),
        ] {
            assert!(refused(text).contains(part), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn a_description_gives_both_forms() {
        for (text, both) in [
            ("40001", "holding:0 (Modicon 40001)"),
            ("coil:9998", "coil:9998 (Modicon 09999)"),
            ("input:9999.4", "input:9999.4 (Modicon 310000.4)"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().describe(), both);
        }
    }

    proptest! {
        #[test]
        fn every_address_reads_back_from_either_form(table in 0_usize..4, offset: u16, bit in 0_u8..16) {
            let table = Table::ALL[table];
            let plain = Address::new(table, offset);
            let address = if table.is_bits() { plain } else { plain.with_bit(bit) };
            prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            prop_assert_eq!(address.modicon().parse::<Address>().unwrap(), address);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = text.parse::<Address>();
        }
    }
}
