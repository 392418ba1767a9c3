//! From a request's meaning to the answer's bytes, against one unit's memory. Knows no framing, no faults.

use std::time::Duration;

use crate::{
    memory::Unit,
    pdu::{Refusal, Request, Span, words},
    settings::Table,
};

/// What FC 43/14 says of itself: vendor name, product code, revision.
const IDENTITY: [&str; 3] = ["Bifrost", "SIM", env!("CARGO_PKG_VERSION")];

/// Appends the answer to one request PDU, a refusal too; `at` is the time since the PLC's start.
///
/// Returns whether the answer is no exception.
pub(crate) fn respond(pdu: &[u8], unit: &mut Unit, at: Duration, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    match Request::parse(pdu).and_then(|request| execute(request, pdu, unit, at, out)) {
        Ok(()) => true,
        Err(refusal) => {
            out.truncate(start);
            refuse(pdu, refusal.code(), out);
            false
        }
    }
}

/// Appends an exception with this code as the answer to `pdu`.
pub(crate) fn refuse(pdu: &[u8], code: u8, out: &mut Vec<u8>) {
    out.extend([pdu.first().copied().unwrap_or_default() | 0x80, code]);
}

fn execute(
    request: Request<'_>,
    pdu: &[u8],
    unit: &mut Unit,
    at: Duration,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    check_limit(&request, unit)?;
    for (table, span) in request.touches().into_iter().flatten() {
        unit.check(table, span)?;
    }
    match request {
        Request::ReadBits { table, span } => bits(pdu, unit.read(table, span, at), out),
        Request::ReadRegisters { table, span } => registers(pdu, unit.read(table, span, at), out),
        Request::Identify { access, object } => return identify(access, object, out),
        Request::ReadWrite { read, write, bytes } => {
            unit.write(Table::Holding, write, words(bytes));
            registers(pdu, unit.read(Table::Holding, read, at), out);
        }
        Request::Echo => out.extend_from_slice(pdu),
        write => {
            store(write, unit, at);
            // Single writes are echoed, of multiple ones function, address and quantity.
            let echoed = if matches!(pdu[0], 15 | 16) { 5 } else { pdu.len() };
            out.extend_from_slice(&pdu[..echoed]);
        }
    }
    Ok(())
}

/// A device that takes fewer registers than the protocol allows.
fn check_limit(request: &Request<'_>, unit: &Unit) -> Result<(), Refusal> {
    let Some(most) = unit.max_registers() else { return Ok(()) };
    let too_many = |(table, span): (Table, Span)| !table.is_bits() && span.count > most;
    if request.touches().into_iter().flatten().any(too_many) {
        return Err(Refusal::Value);
    }
    Ok(())
}

fn store(request: Request<'_>, unit: &mut Unit, at: Duration) {
    let one = |first| Span { first, count: 1 };
    match request {
        Request::WriteCoil { address, on } => {
            unit.write(Table::Coil, one(address), std::iter::once(u16::from(on)));
        }
        Request::WriteRegister { address, value } => {
            unit.write(Table::Holding, one(address), std::iter::once(value));
        }
        Request::WriteCoils { span, bits } => {
            let bits = bits.iter().flat_map(|byte| (0..8).map(move |bit| u16::from(byte >> bit & 1)));
            unit.write(Table::Coil, span, bits);
        }
        Request::WriteRegisters { span, bytes } => unit.write(Table::Holding, span, words(bytes)),
        Request::MaskWrite { address, and, or } => {
            let old = unit.read(Table::Holding, one(address), at).first().copied().unwrap_or_default();
            let new = (old & and) | (or & !and);
            unit.write(Table::Holding, one(address), std::iter::once(new));
        }
        _ => {}
    }
}

fn bits(pdu: &[u8], values: &[u16], out: &mut Vec<u8>) {
    head(pdu, values.len().div_ceil(8), out);
    out.extend(values.chunks(8).map(|eight| {
        eight.iter().enumerate().fold(0, |byte, (index, value)| byte | u8::from(*value != 0) << index)
    }));
}

fn registers(pdu: &[u8], values: &[u16], out: &mut Vec<u8>) {
    head(pdu, values.len() * 2, out);
    out.extend(values.iter().flat_map(|value| value.to_be_bytes()));
}

fn head(pdu: &[u8], bytes: usize, out: &mut Vec<u8>) {
    out.reserve(bytes + 2);
    out.extend([pdu[0], u8::try_from(bytes).unwrap_or(u8::MAX)]);
}

/// Section 6.21: basic identification, as a stream or one object by its number.
fn identify(access: u8, object: u8, out: &mut Vec<u8>) -> Result<(), Refusal> {
    // A stream that begins at an object which isn't there begins at the first.
    let known = usize::from(object) < IDENTITY.len();
    let (first, count) = match (access, known) {
        (4, true) => (usize::from(object), 1),
        (4, false) => return Err(Refusal::Address),
        (_, true) => (usize::from(object), IDENTITY.len()),
        (_, false) => (0, IDENTITY.len()),
    };
    let objects = IDENTITY.iter().enumerate().skip(first).take(count);
    // Conformity 0x81: basic, stream and individual access. Nothing follows, so the next object is 0.
    out.extend([43, 14, access, 0x81, 0, 0]);
    out.push(u8::try_from(objects.clone().count()).unwrap_or_default());
    for (number, text) in objects {
        out.extend([number, text.len()].map(|byte| u8::try_from(byte).unwrap_or(u8::MAX)));
        out.extend_from_slice(text.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{memory::Layout, pdu::MAX_PDU, settings::PlcSettings};

    fn unit(settings: &PlcSettings) -> Unit {
        Unit::new(settings, Arc::new(Layout::new(settings)), 1)
    }

    fn ask(unit: &mut Unit, pdu: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        respond(pdu, unit, Duration::ZERO, &mut out);
        out
    }

    #[test]
    fn every_function_answers_as_the_protocol_has_it() {
        let mut unit = unit(&PlcSettings::default());
        for (request, answer) in [
            (&[6, 0, 1, 0x12, 0x34][..], &[6, 0, 1, 0x12, 0x34][..]),
            (&[3, 0, 0, 0, 2], &[3, 4, 0, 0, 0x12, 0x34]),
            (&[16, 0, 2, 0, 2, 4, 0, 1, 0, 2], &[16, 0, 2, 0, 2]),
            (&[3, 0, 1, 0, 3], &[3, 6, 0x12, 0x34, 0, 1, 0, 2]),
            (&[22, 0, 1, 0x00, 0xF0, 0x00, 0x05], &[22, 0, 1, 0x00, 0xF0, 0x00, 0x05]),
            (&[3, 0, 1, 0, 1], &[3, 2, 0x00, 0x35]),
            (&[23, 0, 1, 0, 2, 0, 1, 0, 1, 2, 0xAB, 0xCD], &[23, 4, 0xAB, 0xCD, 0, 1]),
            (&[4, 0, 1, 0, 1], &[4, 2, 0, 0]),
            (&[5, 0, 3, 0xFF, 0], &[5, 0, 3, 0xFF, 0]),
            (&[15, 0, 4, 0, 10, 2, 0b0000_0101, 0b10], &[15, 0, 4, 0, 10]),
            (&[1, 0, 3, 0, 11], &[1, 2, 0b0000_1011, 0b0000_0100]),
            (&[2, 0, 0, 0, 9], &[2, 2, 0, 0]),
            (&[8, 0, 0, 0xA5, 0x37], &[8, 0, 0, 0xA5, 0x37]),
        ] {
            assert_eq!(ask(&mut unit, request), answer, "{request:?}");
        }
    }

    #[test]
    fn a_mask_write_follows_the_example_of_the_specification() {
        let mut unit = unit(&PlcSettings::default());
        ask(&mut unit, &[6, 0, 4, 0, 0x12]);
        ask(&mut unit, &[22, 0, 4, 0, 0xF2, 0, 0x25]);
        assert_eq!(ask(&mut unit, &[3, 0, 4, 0, 1]), [3, 2, 0, 0x17]);
    }

    #[test]
    fn what_lies_beyond_the_tables_is_an_illegal_address() {
        let mut unit = unit(&PlcSettings { registers: 10, coils: 10, ..PlcSettings::default() });
        for request in [
            &[1, 0, 9, 0, 2][..],
            &[2, 0, 10, 0, 1],
            &[3, 0, 9, 0, 2],
            &[4, 0xFF, 0xFF, 0, 125],
            &[5, 0, 10, 0, 0],
            &[6, 0, 10, 0, 0],
            &[15, 0, 9, 0, 2, 1, 0],
            &[16, 0, 9, 0, 2, 4, 0, 0, 0, 0],
            &[22, 0, 10, 0, 0, 0, 0],
            &[23, 0, 9, 0, 2, 0, 0, 0, 1, 2, 0, 0],
            &[23, 0, 0, 0, 1, 0, 10, 0, 1, 2, 0, 0],
        ] {
            assert_eq!(ask(&mut unit, request), [request[0] | 0x80, 2], "{request:?}");
        }
    }

    #[test]
    fn nothing_is_written_by_a_request_that_is_refused() {
        let mut unit = unit(&PlcSettings { registers: 10, ..PlcSettings::default() });
        ask(&mut unit, &[23, 0, 9, 0, 2, 0, 0, 0, 1, 2, 7, 7]);
        assert_eq!(ask(&mut unit, &[3, 0, 0, 0, 1]), [3, 2, 0, 0]);
    }

    #[test]
    fn a_device_with_a_limit_refuses_more_registers_than_that_and_no_coils() {
        let settings = PlcSettings { max_registers_per_request: Some(2), ..PlcSettings::default() };
        let mut unit = unit(&settings);
        assert_eq!(ask(&mut unit, &[3, 0, 0, 0, 2]).len(), 6);
        assert_eq!(ask(&mut unit, &[3, 0, 0, 0, 3]), [0x83, 3]);
        assert_eq!(ask(&mut unit, &[16, 0, 0, 0, 3, 6, 0, 0, 0, 0, 0, 0]), [0x90, 3]);
        assert_eq!(ask(&mut unit, &[1, 0, 0, 0, 30]).len(), 6);
    }

    #[test]
    fn it_says_who_it_is() {
        let mut unit = unit(&PlcSettings::default());
        let all = ask(&mut unit, &[43, 14, 1, 0]);
        assert_eq!(all[..7], [43, 14, 1, 0x81, 0, 0, 3]);
        assert_eq!(all[7..16], [&[0, 7][..], b"Bifrost"].concat());
        assert_eq!(ask(&mut unit, &[43, 14, 4, 1]), [&[43, 14, 4, 0x81, 0, 0, 1, 1, 3][..], b"SIM"].concat());
        assert_eq!(ask(&mut unit, &[43, 14, 4, 9]), [0xAB, 2]);
        assert_eq!(ask(&mut unit, &[43, 14, 3, 99])[3..], all[3..]);
    }

    #[test]
    fn an_answer_is_appended_to_those_before_it() {
        let mut unit = unit(&PlcSettings::default());
        let mut out = vec![0xEE; 2 * MAX_PDU];
        for pdu in [&[43, 14, 1, 0][..], &[3, 0, 0, 0, 1], &[3, 0, 99, 0, 2]] {
            let before = out.clone();
            respond(pdu, &mut unit, Duration::ZERO, &mut out);
            assert_eq!(out.strip_prefix(&before[..]).unwrap(), ask(&mut unit, pdu));
        }
    }

    proptest! {
        #[test]
        fn any_request_gets_one_answer_that_fits_a_pdu(pdu in prop::collection::vec(any::<u8>(), 1..254)) {
            let settings = PlcSettings { registers: 65535, coils: 65535, ..PlcSettings::default() };
            let mut unit = unit(&settings);
            let answer = ask(&mut unit, &pdu);
            prop_assert!((2..=MAX_PDU).contains(&answer.len()));
            prop_assert_eq!(answer[0] & 0x7F, pdu[0] & 0x7F);
        }

        #[test]
        fn what_is_written_is_read_back(first in 0_u16..900, values in prop::collection::vec(any::<u16>(), 1..=100)) {
            let mut unit = unit(&PlcSettings { registers: 1000, ..PlcSettings::default() });
            let count = u8::try_from(values.len()).unwrap();
            let [high, low] = first.to_be_bytes();
            let mut write = vec![16, high, low, 0, count, count * 2];
            write.extend(values.iter().flat_map(|value| value.to_be_bytes()));
            ask(&mut unit, &write);
            let answer = ask(&mut unit, &[3, high, low, 0, count]);
            prop_assert_eq!(words(&answer[2..]).collect::<Vec<_>>(), values);
        }
    }
}
