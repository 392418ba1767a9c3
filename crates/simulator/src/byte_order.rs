//! In which order a device keeps the bytes of a value.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The order of a value's bytes, as it comes over the wire; A is the most significant.
///
/// Of 16 bits and of texts only the order within a register counts: ABCD and CDAB are high byte first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ByteOrder {
    /// Big endian: Modbus' own order.
    #[default]
    Abcd,
    /// Registers swapped: the least significant one first.
    Cdab,
    /// Bytes swapped in each register.
    Badc,
    /// Little endian.
    Dcba,
}

impl ByteOrder {
    /// Whether the register with the least significant bits comes first.
    pub fn swaps_registers(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    /// Whether the low byte of each register comes first.
    pub fn swaps_bytes(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba)
    }

    /// Brings the registers of one number from big endian into this order.
    pub(crate) fn arrange(self, registers: &mut [u16]) {
        if self.swaps_registers() {
            registers.reverse();
        }
        self.arrange_bytes(registers);
    }

    /// The same for a text, whose registers always come in the order in which it is read.
    pub(crate) fn arrange_bytes(self, registers: &mut [u16]) {
        if self.swaps_bytes() {
            for register in registers {
                *register = register.swap_bytes();
            }
        }
    }
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Abcd => "ABCD",
            Self::Cdab => "CDAB",
            Self::Badc => "BADC",
            Self::Dcba => "DCBA",
        })
    }
}
