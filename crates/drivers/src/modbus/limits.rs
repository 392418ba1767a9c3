//! What one request may carry (Modbus Application Protocol V1.1b3, section 6), checked before it is sent.
//!
//! These are the protocol's limits. A device's own, often lower, are settings or learned.

use thiserror::Error;
use tokio_modbus::Request;

/// Coils or discrete inputs in one read (6.1, 6.2).
pub const MAX_READ_BITS: u16 = 2000;
/// Registers in one read (6.3, 6.4).
pub const MAX_READ_REGISTERS: u16 = 125;
/// Coils in one write (6.11).
pub const MAX_WRITE_COILS: u16 = 1968;
/// Registers in one write (6.12).
pub const MAX_WRITE_REGISTERS: u16 = 123;
/// Registers read by one read/write (6.17).
pub const MAX_READ_WRITE_READ: u16 = 125;
/// Registers written by one read/write (6.17).
pub const MAX_READ_WRITE_WRITE: u16 = 121;

/// A request that the protocol doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimitError {
    /// Nothing asked for, or too much.
    #[error("function {function} takes 1 to {max} items in a request, not {count}")]
    Count {
        /// The function's code.
        function: u8,
        /// How many were asked for.
        count: usize,
        /// The most it takes.
        max: u16,
    },
    /// Beyond the last address.
    #[error("function {function}: {count} items from {start} reach beyond address 65535")]
    Span {
        /// The function's code.
        function: u8,
        /// The first address.
        start: u16,
        /// How many were asked for.
        count: usize,
    },
}

/// Whether the protocol has this request; what it doesn't limit passes.
pub(super) fn check(request: &Request<'_>) -> Result<(), LimitError> {
    let function = request.function_code().value();
    let span = |start: u16, count: usize, max: u16| check_span(function, start, count, max);
    match request {
        Request::ReadCoils(start, count) | Request::ReadDiscreteInputs(start, count) => {
            span(*start, usize::from(*count), MAX_READ_BITS)
        }
        Request::ReadInputRegisters(start, count) | Request::ReadHoldingRegisters(start, count) => {
            span(*start, usize::from(*count), MAX_READ_REGISTERS)
        }
        Request::WriteMultipleCoils(start, coils) => span(*start, coils.len(), MAX_WRITE_COILS),
        Request::WriteMultipleRegisters(start, words) => span(*start, words.len(), MAX_WRITE_REGISTERS),
        Request::ReadWriteMultipleRegisters(read, count, write, words) => {
            span(*read, usize::from(*count), MAX_READ_WRITE_READ)?;
            span(*write, words.len(), MAX_READ_WRITE_WRITE)
        }
        _ => Ok(()),
    }
}

fn check_span(function: u8, start: u16, count: usize, max: u16) -> Result<(), LimitError> {
    if count == 0 || count > usize::from(max) {
        return Err(LimitError::Count { function, count, max });
    }
    if usize::from(start) + count > 65536 {
        return Err(LimitError::Span { function, start, count });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(count: usize) -> std::borrow::Cow<'static, [u16]> {
        vec![0; count].into()
    }

    #[test]
    fn the_largest_requests_of_the_protocol_pass_and_one_more_is_refused() {
        let read_write = |read, write| Request::ReadWriteMultipleRegisters(0, read, 0, words(write));
        for (largest, too_large) in [
            (Request::ReadCoils(0, 2000), Request::ReadCoils(0, 2001)),
            (Request::ReadDiscreteInputs(0, 2000), Request::ReadDiscreteInputs(0, 2001)),
            (Request::ReadInputRegisters(0, 125), Request::ReadInputRegisters(0, 126)),
            (Request::ReadHoldingRegisters(0, 125), Request::ReadHoldingRegisters(0, 126)),
            (
                Request::WriteMultipleCoils(0, vec![true; 1968].into()),
                Request::WriteMultipleCoils(0, vec![true; 1969].into()),
            ),
            (Request::WriteMultipleRegisters(0, words(123)), Request::WriteMultipleRegisters(0, words(124))),
            (read_write(125, 121), read_write(125, 122)),
            (read_write(125, 121), read_write(126, 121)),
        ] {
            assert_eq!(check(&largest), Ok(()));
            assert!(matches!(check(&too_large), Err(LimitError::Count { .. })), "{too_large:?}");
        }
    }

    #[test]
    fn nothing_is_asked_for_beyond_the_last_address() {
        assert_eq!(check(&Request::ReadHoldingRegisters(65535, 1)), Ok(()));
        let error = check(&Request::ReadHoldingRegisters(65535, 2)).unwrap_err();
        assert_eq!(error.to_string(), "function 3: 2 items from 65535 reach beyond address 65535");
    }

    #[test]
    fn a_request_for_nothing_is_refused() {
        assert!(check(&Request::ReadCoils(0, 0)).is_err());
        assert!(check(&Request::WriteMultipleRegisters(0, words(0))).is_err());
    }
}
