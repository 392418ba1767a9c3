//! Modbus/TCP framing: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3. Pure.

use crate::{
    framing::{Decoded, Head},
    pdu::{MAX_PDU, u16_of},
};

/// Transaction, protocol and length: what comes before the bytes that the length counts.
const PREFIX: usize = 6;

/// A frame of another protocol is skipped; a length that no frame has leaves nothing to go on with.
pub(crate) fn decode(input: &[u8]) -> Decoded<'_> {
    let [t0, t1, p0, p1, l0, l1, body @ ..] = input else { return Decoded::Incomplete };
    let length = usize::from(u16_of(*l0, *l1));
    if !(2..=MAX_PDU + 1).contains(&length) {
        return Decoded::Broken;
    }
    let Some((unit, pdu)) = body.get(..length).and_then(<[u8]>::split_first) else {
        return Decoded::Incomplete;
    };
    if u16_of(*p0, *p1) != 0 {
        return Decoded::Skip(PREFIX + length);
    }
    let head = Head { transaction: u16_of(*t0, *t1), unit: *unit };
    Decoded::Frame { head, pdu, length: PREFIX + length }
}

pub(crate) fn begin(head: Head, out: &mut Vec<u8>) {
    let [t0, t1] = head.transaction.to_be_bytes();
    out.extend([t0, t1, 0, 0, 0, 0, head.unit]);
}

/// Fills in the length.
pub(crate) fn finish(start: usize, out: &mut [u8]) {
    let length = u16::try_from(out.len().saturating_sub(start + PREFIX)).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(start + 4..start + PREFIX) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_guide_is_understood() {
        let frame = [0x15, 0x01, 0, 0, 0, 6, 0xFF, 3, 0, 4, 0, 1];
        let head = Head { transaction: 0x1501, unit: 0xFF };
        assert_eq!(decode(&frame), Decoded::Frame { head, pdu: &[3, 0, 4, 0, 1], length: 12 });
        assert_eq!(decode(&frame[..11]), Decoded::Incomplete);
    }

    #[test]
    fn another_protocol_is_skipped_and_an_impossible_length_ends_it() {
        assert_eq!(decode(&[0, 1, 0, 9, 0, 2, 1, 3, 0]), Decoded::Skip(8));
        for length in [[0, 0], [0, 1], [0, 255], [255, 255]] {
            assert_eq!(decode(&[0, 1, 0, 0, length[0], length[1]]), Decoded::Broken);
        }
    }
}
