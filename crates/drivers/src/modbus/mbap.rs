//! Reads over Modbus/TCP, frame by frame: the MBAP header and the PDUs of functions 1 to 4 (Modbus Messaging
//! on TCP/IP V1.0b, 3.1.3; Modbus Application Protocol V1.1b3, 6.1 to 6.4).
//!
//! What a gateway does all day, without a buffer that outlives the request. All other functions, and RTU, are
//! tokio-modbus' affair. Pure: bytes in, bytes out.

use tokio_modbus::{Request, Response};

/// Transaction number, protocol (always 0), and the length of what follows.
const BEFORE_UNIT: usize = 6;
/// Where data begin: after unit, function and their own length.
const DATA: usize = BEFORE_UNIT + 3;
/// The longest frame.
pub(super) const MAX_FRAME: usize = 260;
/// A read is asked for in so many bytes.
pub(super) const READ_FRAME: usize = 12;
/// Set in the function of an exception.
const EXCEPTION: u8 = 0x80;

/// What the device said: a response, or the code of an exception.
pub(super) type Answer = Result<Response, u8>;

/// The frame that asks for it; `None` for anything but a read.
pub(super) fn read_frame(number: u16, unit: u8, request: &Request<'_>) -> Option<[u8; READ_FRAME]> {
    let (function, start, count) = match request {
        Request::ReadCoils(start, count) => (1, start, count),
        Request::ReadDiscreteInputs(start, count) => (2, start, count),
        Request::ReadHoldingRegisters(start, count) => (3, start, count),
        Request::ReadInputRegisters(start, count) => (4, start, count),
        _ => return None,
    };
    let mut frame = [0, 0, 0, 0, 0, 6, unit, function, 0, 0, 0, 0];
    frame[..2].copy_from_slice(&number.to_be_bytes());
    frame[8..10].copy_from_slice(&start.to_be_bytes());
    frame[10..].copy_from_slice(&count.to_be_bytes());
    Some(frame)
}

/// How long the frame is that begins with these bytes, once that can be told; an error when none begins so.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(header) = bytes.get(..BEFORE_UNIT) else { return Ok(None) };
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    if protocol != 0 {
        return Err(format!("invalid data: protocol {protocol} instead of 0"));
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    // Unit, function, and at least one byte more.
    if (3..=MAX_FRAME - BEFORE_UNIT).contains(&length) {
        Ok(Some(BEFORE_UNIT + length))
    } else {
        Err(format!("invalid data: a frame of {length} bytes"))
    }
}

/// What a whole frame says in answer to `asked`; an error when it answers something else.
pub(super) fn answer(asked: &[u8; READ_FRAME], frame: &[u8]) -> Result<Answer, String> {
    if frame.get(..2) != asked.get(..2) {
        return Err("invalid data: the answer has another transaction's number".to_owned());
    }
    let (Some(&unit), Some(&function), Some(&count)) = (frame.get(6), frame.get(7), frame.get(8)) else {
        return Err("invalid data: the answer is cut short".to_owned());
    };
    if unit != asked[6] {
        return Err(format!("invalid data: unit {unit} answered for unit {}", asked[6]));
    }
    if function == asked[7] | EXCEPTION {
        return Ok(Err(count));
    }
    if function != asked[7] {
        return Err(format!("invalid data: function {} was answered with {function}", asked[7]));
    }
    // Some devices fill their frames up.
    let data = frame.get(DATA..DATA + usize::from(count));
    response(function, data.ok_or("invalid data: the answer is cut short")?)
}

fn response(function: u8, data: &[u8]) -> Result<Answer, String> {
    let bits = || data.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect();
    let words = || data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    match function {
        1 => Ok(Ok(Response::ReadCoils(bits()))),
        2 => Ok(Ok(Response::ReadDiscreteInputs(bits()))),
        _ if data.len() % 2 == 1 => Err("invalid data: half a register".to_owned()),
        3 => Ok(Ok(Response::ReadHoldingRegisters(words()))),
        _ => Ok(Ok(Response::ReadInputRegisters(words()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &Request<'_>) -> [u8; READ_FRAME] {
        read_frame(0x0102, 7, request).unwrap()
    }

    /// An answer to `asked` with this PDU.
    fn frame(pdu: &[u8]) -> Vec<u8> {
        [&[1, 2, 0, 0, 0, u8::try_from(pdu.len()).unwrap() + 1, 7], pdu].concat()
    }

    #[test]
    fn reads_are_framed_as_the_standard_says_and_nothing_else_is() {
        let holding = Request::ReadHoldingRegisters(0x0203, 0x0004);
        assert_eq!(asked(&holding), [1, 2, 0, 0, 0, 6, 7, 3, 2, 3, 0, 4]);
        let functions =
            [Request::ReadCoils(0, 1), Request::ReadDiscreteInputs(0, 1), Request::ReadInputRegisters(0, 1)];
        assert_eq!(functions.map(|request| asked(&request)[7]), [1, 2, 4]);
        assert_eq!(read_frame(0, 1, &Request::WriteSingleRegister(0, 1)), None);
    }

    #[test]
    fn the_length_is_known_from_six_bytes_on_and_has_its_bounds() {
        assert_eq!(length(&[0, 1, 0, 0, 0]), Ok(None));
        assert_eq!(length(&[0, 1, 0, 0, 0, 5]), Ok(Some(11)));
        assert_eq!(length(&[0, 1, 0, 0, 0, 254]), Ok(Some(MAX_FRAME)));
        for bad in
            [[0, 1, 0, 1, 0, 5], [0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 2], [0, 1, 0, 0, 0, 255], *b"HTTP/1"]
        {
            assert!(length(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn registers_bits_and_refusals_are_answers() {
        let registers = answer(&asked(&Request::ReadHoldingRegisters(0, 2)), &frame(&[3, 4, 1, 2, 3, 4]));
        assert_eq!(registers, Ok(Ok(Response::ReadHoldingRegisters(vec![0x0102, 0x0304]))));
        let registers = answer(&asked(&Request::ReadInputRegisters(0, 1)), &frame(&[4, 2, 1, 2]));
        assert_eq!(registers, Ok(Ok(Response::ReadInputRegisters(vec![0x0102]))));
        let bits = [true, false, true, false, false, false, false, true].to_vec();
        let coils = answer(&asked(&Request::ReadCoils(0, 8)), &frame(&[1, 1, 0x85]));
        assert_eq!(coils, Ok(Ok(Response::ReadCoils(bits.clone()))));
        let inputs = answer(&asked(&Request::ReadDiscreteInputs(0, 8)), &frame(&[2, 1, 0x85]));
        assert_eq!(inputs, Ok(Ok(Response::ReadDiscreteInputs(bits))));
        assert_eq!(answer(&asked(&Request::ReadCoils(0, 8)), &frame(&[0x81, 2])), Ok(Err(2)));
    }

    #[test]
    fn what_a_device_fills_its_frames_up_with_is_passed_over() {
        let asked = asked(&Request::ReadInputRegisters(0, 1));
        let registers = answer(&asked, &frame(&[4, 2, 1, 2, 0]));
        assert_eq!(registers, Ok(Ok(Response::ReadInputRegisters(vec![0x0102]))));
        assert_eq!(answer(&asked, &frame(&[0x84, 2, 0])), Ok(Err(2)));
    }

    #[test]
    fn what_answers_something_else_is_no_answer() {
        let asked = asked(&Request::ReadHoldingRegisters(0, 1));
        for pdu in [&[3, 2, 1][..], &[3, 1, 1], &[4, 2, 1, 2], &[0x84, 2], &[3]] {
            assert!(answer(&asked, &frame(pdu)).is_err(), "{pdu:?}");
        }
        let mut other = frame(&[3, 2, 1, 2]);
        other[1] += 1;
        assert!(answer(&asked, &other).is_err(), "another transaction");
        let mut other = frame(&[3, 2, 1, 2]);
        other[6] += 1;
        assert!(answer(&asked, &other).is_err(), "another unit");
    }
}
