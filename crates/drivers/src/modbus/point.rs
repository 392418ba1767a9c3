//! One value in a device: where it is, how it is stored, and how to make engineering units of it.
//!
//! A `Point` that exists fits together; nothing after it checks again. Names, limits for writes and deadbands
//! belong to the tag, not here.

use std::ops::Range;

use bifrost_model::DataType;
use thiserror::Error;

use super::{Address, ByteOrder, Table, linear::Linear};

/// One value in a device; address and type are known to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    address: Address,
    data_type: DataType,
    byte_order: ByteOrder,
    /// Absent where values are taken as they are, as of most points.
    linear: Option<Box<Linear>>,
}

/// Why an address, a type and a scale make no point, and what to write instead.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PointError {
    /// A type of several bits where an address is one.
    #[error("{} is a single bit and can't be {data_type}; use data_type bool", address.describe())]
    NumberInBits {
        /// Where.
        address: Address,
        /// What was asked for.
        data_type: DataType,
    },
    /// A `bool` where sixteen bits are.
    #[error("{} is a register of 16 bits; name one for a bool, such as {address}.0", address.describe())]
    BoolWithoutBit {
        /// Where.
        address: Address,
    },
    /// A bit of something that isn't a `bool`.
    #[error("{} is a single bit and can't be {data_type}; use bool, or leave .{bit} out", address.describe())]
    BitWithoutBool {
        /// Where.
        address: Address,
        /// What was asked for.
        data_type: DataType,
        /// The bit.
        bit: u8,
    },
    /// A bit that a register hasn't, or a bit of a bit.
    #[error("a register has the bits 0 to 15 and a {} none, so there is no bit {bit}", table.noun())]
    Bit {
        /// In which table.
        table: Table,
        /// The bit.
        bit: u8,
    },
    /// The value reaches beyond the table.
    #[error("{data_type} takes {count} registers, and {} is too near to the end at 65535", address.describe())]
    Span {
        /// Where it would begin.
        address: Address,
        /// What was asked for.
        data_type: DataType,
        /// How many registers it takes.
        count: u16,
    },
    /// A text that no request could carry.
    #[error("a string has from 1 to 250 bytes, not {0}")]
    StringLength(u16),
    /// An order of two bytes for more than two.
    #[error("byte order {byte_order} is for 16 bits and strings; {data_type} needs ABCD, CDAB, BADC or DCBA")]
    ShortByteOrder {
        /// What was asked for.
        byte_order: ByteOrder,
        /// For which type.
        data_type: DataType,
    },
    /// Nothing could be told from such a value, or written.
    #[error("scale must be a finite number other than zero, not {0}")]
    Scale(f64),
    /// Nothing could be told from such a value.
    #[error("offset must be a finite number, not {0}")]
    Offset(f64),
    /// Arithmetic on what is no number.
    #[error("{0} is no number and takes no scale and no offset; leave both out")]
    Scaled(DataType),
}

impl Point {
    /// `scale` 1 and `offset` 0 mean that the value is taken as it is; else it is `raw × scale + offset`.
    pub fn new(
        address: Address,
        data_type: DataType,
        byte_order: ByteOrder,
        scale: f64,
        offset: f64,
    ) -> Result<Self, PointError> {
        check_bit(address, data_type)?;
        check_span(address, data_type)?;
        if byte_order.is_short() && data_type.is_numeric() && data_type.registers() > 1 {
            return Err(PointError::ShortByteOrder { byte_order, data_type });
        }
        check_scale(data_type, scale, offset)?;
        let linear = Some(Linear::new(scale, offset)).filter(|linear| !linear.is_identity()).map(Box::new);
        Ok(Self { address, data_type, byte_order, linear })
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// How it is stored.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// In which order its bytes come.
    pub fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }

    /// What the raw value is multiplied by.
    pub fn scale(&self) -> f64 {
        self.linear().map_or(1.0, Linear::scale)
    }

    /// What is added then.
    pub fn offset(&self) -> f64 {
        self.linear().map_or(0.0, Linear::offset)
    }

    /// In which table it is.
    pub fn table(&self) -> Table {
        self.address.table
    }

    /// How many addresses it takes: registers, or one bit.
    pub fn count(&self) -> u16 {
        self.data_type.registers()
    }

    /// The addresses it takes; in 32 bits because the end of the last is 65536.
    pub fn span(&self) -> Range<u32> {
        let start = u32::from(self.address.offset);
        start..start + u32::from(self.count())
    }

    pub(super) fn linear(&self) -> Option<&Linear> {
        self.linear.as_deref()
    }

    /// Which bit of the register as it comes over the wire; the byte order counts for bits as for numbers.
    pub(super) fn wire_bit(&self) -> Option<u8> {
        let bit = self.address.bit?;
        Some(if self.byte_order.swaps_bytes() { bit ^ 8 } else { bit })
    }
}

fn check_bit(address: Address, data_type: DataType) -> Result<(), PointError> {
    match (address.table.is_bits(), address.bit, data_type) {
        (true, Some(bit), _) => Err(PointError::Bit { table: address.table, bit }),
        (false, Some(bit), _) if bit > 15 => Err(PointError::Bit { table: address.table, bit }),
        (true, None, DataType::Bool) | (false, Some(_), DataType::Bool) => Ok(()),
        (true, None, _) => Err(PointError::NumberInBits { address, data_type }),
        (false, None, DataType::Bool) => Err(PointError::BoolWithoutBit { address }),
        (false, Some(bit), _) => Err(PointError::BitWithoutBool { address, data_type, bit }),
        (false, None, _) => Ok(()),
    }
}

fn check_span(address: Address, data_type: DataType) -> Result<(), PointError> {
    if let DataType::String(bytes) = data_type
        && !(1..=250).contains(&bytes)
    {
        return Err(PointError::StringLength(bytes));
    }
    let count = data_type.registers();
    if u32::from(address.offset) + u32::from(count) > 65536 {
        return Err(PointError::Span { address, data_type, count });
    }
    Ok(())
}

#[expect(clippy::float_cmp, reason = "what was configured, not what was computed")]
fn check_scale(data_type: DataType, scale: f64, offset: f64) -> Result<(), PointError> {
    if !scale.is_finite() || scale == 0.0 {
        return Err(PointError::Scale(scale));
    }
    if !offset.is_finite() {
        return Err(PointError::Offset(offset));
    }
    if !data_type.is_numeric() && (scale != 1.0 || offset != 0.0) {
        return Err(PointError::Scaled(data_type));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(address: &str, data_type: &str) -> Result<Point, PointError> {
        scaled(address, data_type, 1.0, 0.0)
    }

    fn scaled(address: &str, data_type: &str, scale: f64, offset: f64) -> Result<Point, PointError> {
        let (address, data_type) = (address.parse().unwrap(), data_type.parse().unwrap());
        Point::new(address, data_type, ByteOrder::Abcd, scale, offset)
    }

    #[test]
    fn what_fits_is_a_point() {
        for (address, data_type) in [
            ("coil:0", "bool"),
            ("discrete:65535", "bool"),
            ("holding:0.15", "bool"),
            ("input:65535", "int16"),
            ("input:65534", "float32"),
            ("holding:65532", "float64"),
            ("holding:65411", "string(250)"),
        ] {
            assert!(point(address, data_type).is_ok(), "{address} {data_type}");
        }
    }

    #[test]
    fn what_does_not_fit_says_what_to_write_instead() {
        for (address, data_type, part) in [
            ("coil:0", "int16", "use data_type bool"),
            ("discrete:0", "string(4)", "use data_type bool"),
            ("holding:7", "bool", "such as holding:7.0"),
            ("holding:7.3", "int16", "use bool, or leave .3 out"),
            ("holding:65535", "float32", "takes 2 registers"),
            ("holding:65412", "string(250)", "takes 125 registers"),
        ] {
            let error = point(address, data_type).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_scale_must_be_of_use() {
        for scale in [0.0, -0.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(scaled("holding:0", "int16", scale, 0.0), Err(PointError::Scale(_))));
        }
        assert!(matches!(scaled("holding:0", "int16", 1.0, f64::NAN), Err(PointError::Offset(_))));
        for (address, data_type) in [("coil:0", "bool"), ("holding:0", "string(4)")] {
            assert!(matches!(scaled(address, data_type, 0.1, 0.0), Err(PointError::Scaled(_))));
            assert!(matches!(scaled(address, data_type, 1.0, 5.0), Err(PointError::Scaled(_))));
        }
    }

    #[test]
    fn addresses_made_by_hand_are_checked_too() {
        let bool_at = |address| Point::new(address, DataType::Bool, ByteOrder::Abcd, 1.0, 0.0);
        assert!(bool_at(Address::new(Table::Coil, 0).with_bit(1)).is_err());
        assert!(bool_at(Address::new(Table::HoldingRegister, 0).with_bit(16)).is_err());
        let text = Point::new(
            Address::new(Table::HoldingRegister, 0),
            DataType::String(251),
            ByteOrder::Abcd,
            1.0,
            0.0,
        );
        assert_eq!(text, Err(PointError::StringLength(251)));
    }

    #[test]
    fn an_order_of_two_bytes_is_for_two_bytes_and_texts() {
        let at = Address::new(Table::HoldingRegister, 0);
        for (data_type, fits) in [("int16", true), ("string(9)", true), ("float32", false), ("uint64", false)]
        {
            let point = Point::new(at, data_type.parse().unwrap(), ByteOrder::Ba, 1.0, 0.0);
            assert_eq!(point.is_ok(), fits, "{data_type}");
        }
    }
}
