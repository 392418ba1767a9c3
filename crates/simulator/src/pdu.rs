//! From a request's bytes to its meaning: Modbus Application Protocol V1.1b3, section 6. Pure.
//!
//! Checks what can be checked without a memory: lengths, quantities, byte counts, values of a coil.

use std::ops::Range;

use crate::settings::Table;

/// The most bytes a PDU has.
pub(crate) const MAX_PDU: usize = 253;

/// Why a request is refused (section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Illegal function.
    Function,
    /// Illegal data address.
    Address,
    /// Illegal data value.
    Value,
}

impl Refusal {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Function => 1,
            Self::Address => 2,
            Self::Value => 3,
        }
    }
}

/// Some addresses in a row; may reach beyond 65535, and is refused then by whoever has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u16,
    pub(crate) count: u16,
}

impl Span {
    /// One behind the last address.
    pub(crate) fn end(self) -> usize {
        usize::from(self.first) + usize::from(self.count)
    }

    pub(crate) fn range(self) -> Range<usize> {
        usize::from(self.first)..self.end()
    }
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// FC 1 and 2.
    ReadBits { table: Table, span: Span },
    /// FC 3 and 4.
    ReadRegisters { table: Table, span: Span },
    /// FC 5.
    WriteCoil { address: u16, on: bool },
    /// FC 6.
    WriteRegister { address: u16, value: u16 },
    /// FC 8, sub-function 0.
    Echo,
    /// FC 15: eight coils in each byte, the first in the least significant bit.
    WriteCoils { span: Span, bits: &'a [u8] },
    /// FC 16: two bytes for each register.
    WriteRegisters { span: Span, bytes: &'a [u8] },
    /// FC 22.
    MaskWrite { address: u16, and: u16, or: u16 },
    /// FC 23: written first, read then.
    ReadWrite { read: Span, write: Span, bytes: &'a [u8] },
    /// FC 43, MEI type 14.
    Identify { access: u8, object: u8 },
}

impl<'a> Request<'a> {
    /// Reads a PDU, function code included.
    pub(crate) fn parse(pdu: &'a [u8]) -> Result<Self, Refusal> {
        let (function, data) = pdu.split_first().ok_or(Refusal::Function)?;
        match function {
            1 => read_bits(Table::Coil, data),
            2 => read_bits(Table::Discrete, data),
            3 => read_registers(Table::Holding, data),
            4 => read_registers(Table::Input, data),
            5 => write_coil(exactly(data)?),
            6 => exactly(data).map(|[address, value]| Self::WriteRegister { address, value }),
            8 => diagnose(data),
            15 => write_coils(data),
            16 => {
                let ([first, count], bytes) = leading(data)?;
                let span = Span { first, count };
                Ok(Self::WriteRegisters { span, bytes: counted_words(span, 123, bytes)? })
            }
            22 => exactly(data).map(|[address, and, or]| Self::MaskWrite { address, and, or }),
            23 => read_write(data),
            43 => interface(data),
            _ => Err(Refusal::Function),
        }
    }

    /// Whether it changes anything.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::ReadBits { .. } | Self::ReadRegisters { .. } | Self::Echo | Self::Identify { .. } => false,
            Self::WriteCoil { .. }
            | Self::WriteRegister { .. }
            | Self::WriteCoils { .. }
            | Self::WriteRegisters { .. }
            | Self::MaskWrite { .. }
            | Self::ReadWrite { .. } => true,
        }
    }

    /// The addresses it touches, at most two of them.
    pub(crate) fn touches(&self) -> [Option<(Table, Span)>; 2] {
        let one = |first| Span { first, count: 1 };
        match *self {
            Self::ReadBits { table, span } | Self::ReadRegisters { table, span } => {
                [Some((table, span)), None]
            }
            Self::WriteCoil { address, .. } => [Some((Table::Coil, one(address))), None],
            Self::WriteCoils { span, .. } => [Some((Table::Coil, span)), None],
            Self::WriteRegister { address, .. } | Self::MaskWrite { address, .. } => {
                [Some((Table::Holding, one(address))), None]
            }
            Self::WriteRegisters { span, .. } => [Some((Table::Holding, span)), None],
            Self::ReadWrite { read, write, .. } => {
                [Some((Table::Holding, read)), Some((Table::Holding, write))]
            }
            Self::Echo | Self::Identify { .. } => [None, None],
        }
    }
}

pub(crate) fn u16_of(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

/// The registers in these bytes.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16_of(pair[0], pair[1]))
}

/// The first fields of a request, and what comes behind them.
fn leading<const N: usize>(data: &[u8]) -> Result<([u16; N], &[u8]), Refusal> {
    let (fields, rest) = data.split_at_checked(2 * N).ok_or(Refusal::Value)?;
    let mut words = words(fields);
    Ok(([(); N].map(|()| words.next().unwrap_or_default()), rest))
}

/// These fields and no more.
fn exactly<const N: usize>(data: &[u8]) -> Result<[u16; N], Refusal> {
    let (fields, rest) = leading(data)?;
    if rest.is_empty() { Ok(fields) } else { Err(Refusal::Value) }
}

/// The bytes behind a count of them that is right.
fn counted(data: &[u8]) -> Result<&[u8], Refusal> {
    let (count, bytes) = data.split_first().ok_or(Refusal::Value)?;
    if usize::from(*count) == bytes.len() { Ok(bytes) } else { Err(Refusal::Value) }
}

fn counted_words(span: Span, most: u16, data: &[u8]) -> Result<&[u8], Refusal> {
    check_count(span, most)?;
    let bytes = counted(data)?;
    if bytes.len() == usize::from(span.count) * 2 { Ok(bytes) } else { Err(Refusal::Value) }
}

fn read_bits<'a>(table: Table, data: &[u8]) -> Result<Request<'a>, Refusal> {
    let [first, count] = exactly(data)?;
    let span = Span { first, count };
    check_count(span, 2000)?;
    Ok(Request::ReadBits { table, span })
}

fn read_registers<'a>(table: Table, data: &[u8]) -> Result<Request<'a>, Refusal> {
    let [first, count] = exactly(data)?;
    let span = Span { first, count };
    check_count(span, 125)?;
    Ok(Request::ReadRegisters { table, span })
}

fn write_coil<'a>([address, value]: [u16; 2]) -> Result<Request<'a>, Refusal> {
    match value {
        0x0000 => Ok(Request::WriteCoil { address, on: false }),
        0xFF00 => Ok(Request::WriteCoil { address, on: true }),
        _ => Err(Refusal::Value),
    }
}

fn write_coils(data: &[u8]) -> Result<Request<'_>, Refusal> {
    let ([first, count], data) = leading(data)?;
    let span = Span { first, count };
    check_count(span, 1968)?;
    let bits = counted(data)?;
    if bits.len() != usize::from(count.div_ceil(8)) {
        return Err(Refusal::Value);
    }
    Ok(Request::WriteCoils { span, bits })
}

fn read_write(data: &[u8]) -> Result<Request<'_>, Refusal> {
    let ([read_first, read_count, first, count], data) = leading(data)?;
    let read = Span { first: read_first, count: read_count };
    let write = Span { first, count };
    check_count(read, 125)?;
    Ok(Request::ReadWrite { read, write, bytes: counted_words(write, 121, data)? })
}

/// FC 8: only "return query data", of any number of words.
fn diagnose<'a>(data: &[u8]) -> Result<Request<'a>, Refusal> {
    match leading(data)? {
        ([0], echo) if echo.len() % 2 == 0 => Ok(Request::Echo),
        ([0], _) => Err(Refusal::Value),
        _ => Err(Refusal::Function),
    }
}

/// FC 43: only MEI type 14.
fn interface<'a>(data: &[u8]) -> Result<Request<'a>, Refusal> {
    match *data {
        [14, access @ 1..=4, object] => Ok(Request::Identify { access, object }),
        [] | [14, ..] => Err(Refusal::Value),
        _ => Err(Refusal::Function),
    }
}

fn check_count(span: Span, most: u16) -> Result<(), Refusal> {
    if (1..=most).contains(&span.count) { Ok(()) } else { Err(Refusal::Value) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_beyond_the_protocol_are_illegal_values() {
        let read = |function: u8, count: u16| {
            let [high, low] = count.to_be_bytes();
            Request::parse(&[function, 0, 0, high, low]).err()
        };
        for (function, most) in [(1, 2000), (2, 2000), (3, 125), (4, 125)] {
            assert_eq!(read(function, 1), None);
            assert_eq!(read(function, most), None);
            assert_eq!(read(function, 0), Some(Refusal::Value));
            assert_eq!(read(function, most + 1), Some(Refusal::Value));
        }
    }

    fn write(function: u8, count: u16, byte_count: u8, bytes: usize) -> Option<Refusal> {
        let [high, low] = count.to_be_bytes();
        let mut pdu = vec![function, 0, 0, high, low, byte_count];
        pdu.resize(6 + bytes, 0);
        Request::parse(&pdu).err()
    }

    #[test]
    fn byte_counts_that_contradict_the_quantity_are_illegal_values() {
        let bad = Some(Refusal::Value);
        assert_eq!(write(16, 123, 246, 246), None);
        assert_eq!(write(16, 124, 248, 248), bad);
        assert_eq!(write(16, 0, 0, 0), bad);
        assert_eq!(write(16, 2, 3, 3), bad);
        assert_eq!(write(16, 2, 4, 5), bad);
        assert_eq!(write(15, 1968, 246, 246), None);
        assert_eq!(write(15, 1969, 247, 247), bad);
        assert_eq!(write(15, 9, 1, 1), bad);
        assert_eq!(write(15, 8, 1, 1), None);
    }

    #[test]
    fn read_and_write_in_one_has_limits_of_its_own() {
        let parse = |read: u16, write: u16| {
            let mut pdu = vec![23, 0, 0];
            pdu.extend(read.to_be_bytes());
            pdu.extend([0, 0]);
            pdu.extend(write.to_be_bytes());
            pdu.push(u8::try_from(write * 2).unwrap());
            pdu.resize(10 + usize::from(write) * 2, 0);
            Request::parse(&pdu).err()
        };
        assert_eq!(parse(125, 121), None);
        assert_eq!(parse(126, 121), Some(Refusal::Value));
        assert_eq!(parse(125, 122), Some(Refusal::Value));
        assert_eq!(parse(0, 1), Some(Refusal::Value));
        assert_eq!(parse(1, 0), Some(Refusal::Value));
    }

    #[test]
    fn what_is_no_function_here_is_told_from_what_is_badly_asked() {
        for (pdu, refusal) in [
            (&[][..], Refusal::Function),
            (&[7], Refusal::Function),
            (&[0x83, 0, 0, 0, 1], Refusal::Function),
            (&[24, 0, 0], Refusal::Function),
            (&[8, 0, 1, 0, 0], Refusal::Function),
            (&[43, 13, 0], Refusal::Function),
            (&[3], Refusal::Value),
            (&[3, 0, 0, 0, 1, 0], Refusal::Value),
            (&[5, 0, 0, 0x12, 0], Refusal::Value),
            (&[5, 0, 0, 0xFF, 1], Refusal::Value),
            (&[8, 0, 0, 1], Refusal::Value),
            (&[43, 14, 5, 0], Refusal::Value),
            (&[43], Refusal::Value),
        ] {
            assert_eq!(Request::parse(pdu), Err(refusal), "{pdu:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(pdu in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = Request::parse(&pdu) {
                prop_assert!(request.touches().iter().flatten().all(|(_, span)| span.count > 0));
            }
        }
    }
}
