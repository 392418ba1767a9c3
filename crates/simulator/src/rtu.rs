//! RTU framing: MODBUS over Serial Line V1.02, 2.5.1. Pure, and without the silence between frames.
//!
//! A stream has lost the line's timing, so the length of a request follows from its function code. Where the
//! CRC doesn't fit, the search goes on at the next byte. FC 8 is taken to carry two bytes of data.

use crate::framing::{Decoded, Head};

/// Unit, function and CRC.
const MIN_FRAME: usize = 4;
/// The most bytes of a frame.
const MAX_FRAME: usize = 256;

/// What the function code says of the length.
enum Length {
    Known(usize),
    /// The byte that says it isn't there yet.
    NotYet,
    /// A function that nobody here knows.
    Unknown,
    /// No function: 0, or that of an exception.
    None,
}

pub(crate) fn decode(input: &[u8]) -> Decoded<'_> {
    match length(input) {
        Length::NotYet => Decoded::Incomplete,
        Length::Known(length) if length > MAX_FRAME => Decoded::Skip(1),
        Length::Known(length) => match input.get(..length) {
            None => Decoded::Incomplete,
            Some(frame) if crc(frame) == 0 => framed(frame),
            Some(_) => Decoded::Skip(1),
        },
        Length::Unknown => search(input),
        Length::None => Decoded::Skip(1),
    }
}

/// Appends the CRC, low byte first.
pub(crate) fn finish(start: usize, out: &mut Vec<u8>) {
    let crc = crc(out.get(start..).unwrap_or_default());
    out.extend(crc.to_le_bytes());
}

fn length(input: &[u8]) -> Length {
    let counted = |at: usize, around: usize| match input.get(at) {
        Some(count) => Length::Known(around + usize::from(*count)),
        None => Length::NotYet,
    };
    match input.get(1) {
        None => Length::NotYet,
        Some(7 | 11 | 12 | 17) => Length::Known(4),
        Some(24) => Length::Known(6),
        Some(43) => Length::Known(7),
        Some(1..=6 | 8) => Length::Known(8),
        Some(22) => Length::Known(10),
        Some(20 | 21) => counted(2, 5),
        Some(15 | 16) => counted(6, 9),
        Some(23) => counted(10, 13),
        Some(9..=127) => Length::Unknown,
        Some(_) => Length::None,
    }
}

/// The shortest beginning with a right CRC: over a frame and its CRC, the CRC is 0.
fn search(input: &[u8]) -> Decoded<'_> {
    let mut crc = INITIAL;
    for (index, byte) in input.iter().take(MAX_FRAME).enumerate() {
        crc = step(crc, *byte);
        if crc == 0 && index + 1 >= MIN_FRAME {
            return framed(&input[..=index]);
        }
    }
    if input.len() < MAX_FRAME { Decoded::Incomplete } else { Decoded::Skip(1) }
}

fn framed(frame: &[u8]) -> Decoded<'_> {
    let head = Head { transaction: 0, unit: frame[0] };
    Decoded::Frame { head, pdu: &frame[1..frame.len() - 2], length: frame.len() }
}

const INITIAL: u16 = 0xFFFF;

fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(INITIAL, |crc, byte| step(crc, *byte))
}

fn step(crc: u16, byte: u8) -> u16 {
    let [low, _] = (crc ^ u16::from(byte)).to_le_bytes();
    crc >> 8 ^ TABLE[usize::from(low)]
}

/// The polynomial 0xA001 (0x8005 reflected) for every byte; section 6.2.2.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut index = 0_u16;
    while index < 256 {
        let mut crc = index;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        table[index as usize] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit 2, FC 7: the example of section 6.2.2, whose CRC is 0x1241.
    const EXAMPLE: [u8; 4] = [0x02, 0x07, 0x41, 0x12];

    #[test]
    fn the_crc_is_that_of_the_specification() {
        let mut out = EXAMPLE[..2].to_vec();
        finish(0, &mut out);
        assert_eq!(out, EXAMPLE);
    }

    #[test]
    fn a_frame_behind_noise_is_found() {
        let mut stream = vec![0x00, 0x03, 0xFF];
        stream.extend([1, 3, 0, 0, 0, 1, 0x84, 0x0A]);
        let mut rest = &stream[..];
        while let Decoded::Skip(length) = decode(rest) {
            rest = &rest[length..];
        }
        let head = Head { transaction: 0, unit: 1 };
        assert_eq!(decode(rest), Decoded::Frame { head, pdu: &[3, 0, 0, 0, 1], length: 8 });
    }

    #[test]
    fn a_function_nobody_knows_ends_where_its_crc_fits() {
        let mut frame = vec![9, 0x66, 1, 2, 3];
        finish(0, &mut frame);
        let length = frame.len();
        frame.extend([1, 2, 3]);
        let head = Head { transaction: 0, unit: 9 };
        assert_eq!(decode(&frame), Decoded::Frame { head, pdu: &[0x66, 1, 2, 3], length });
        assert_eq!(decode(&frame[..length - 1]), Decoded::Incomplete);
    }
}
