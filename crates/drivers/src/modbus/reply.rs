//! Whether an answer is one to the request that was sent.
//!
//! Unit, function and transaction were matched before; here it is the content: how much was read, and
//! whether a write's echo names what was written.

use tokio_modbus::{Request, Response};

/// Fails with the evidence, for people.
pub(super) fn check(request: &Request<'_>, response: &Response) -> Result<(), String> {
    let fits = match (request, response) {
        (Request::ReadCoils(_, count), Response::ReadCoils(bits))
        | (Request::ReadDiscreteInputs(_, count), Response::ReadDiscreteInputs(bits)) => {
            // Bits come in whole bytes.
            bits.len() == usize::from(*count).next_multiple_of(8) || bits.len() == usize::from(*count)
        }
        (Request::ReadInputRegisters(_, count), Response::ReadInputRegisters(words))
        | (Request::ReadHoldingRegisters(_, count), Response::ReadHoldingRegisters(words))
        | (
            Request::ReadWriteMultipleRegisters(_, count, _, _),
            Response::ReadWriteMultipleRegisters(words),
        ) => words.len() == usize::from(*count),
        (Request::WriteSingleCoil(at, on), Response::WriteSingleCoil(echo_at, echo_on)) => {
            at == echo_at && on == echo_on
        }
        (Request::WriteSingleRegister(at, word), Response::WriteSingleRegister(echo_at, echo)) => {
            at == echo_at && word == echo
        }
        (Request::WriteMultipleCoils(at, coils), Response::WriteMultipleCoils(echo_at, count)) => {
            at == echo_at && coils.len() == usize::from(*count)
        }
        (Request::WriteMultipleRegisters(at, words), Response::WriteMultipleRegisters(echo_at, count)) => {
            at == echo_at && words.len() == usize::from(*count)
        }
        (
            Request::MaskWriteRegister(at, and, or),
            Response::MaskWriteRegister(echo_at, echo_and, echo_or),
        ) => (at, and, or) == (echo_at, echo_and, echo_or),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{} was answered with {}", asked(request), told(response))) }
}

/// A request in a few words, whatever its size.
fn asked(request: &Request<'_>) -> String {
    let function = request.function_code().value();
    match request {
        Request::ReadCoils(at, count)
        | Request::ReadDiscreteInputs(at, count)
        | Request::ReadInputRegisters(at, count)
        | Request::ReadHoldingRegisters(at, count)
        | Request::ReadWriteMultipleRegisters(at, count, _, _) => {
            format!("function {function} for {count} from {at}")
        }
        Request::WriteMultipleCoils(at, coils) => {
            format!("function {function} with {} from {at}", coils.len())
        }
        Request::WriteMultipleRegisters(at, words) => {
            format!("function {function} with {} from {at}", words.len())
        }
        other => format!("{other:?}"),
    }
}

fn told(response: &Response) -> String {
    let function = response.function_code().value();
    match response {
        Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => {
            format!("function {function} and {} bits", bits.len())
        }
        Response::ReadInputRegisters(words)
        | Response::ReadHoldingRegisters(words)
        | Response::ReadWriteMultipleRegisters(words) => {
            format!("function {function} and {} registers", words.len())
        }
        Response::Custom(_, bytes) => format!("function {function} and {} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_that_was_asked_for_and_the_echo_of_what_was_written_pass() {
        for (request, response) in [
            (Request::ReadCoils(0, 3), Response::ReadCoils(vec![false; 8])),
            (Request::ReadCoils(0, 3), Response::ReadCoils(vec![false; 3])),
            (Request::ReadDiscreteInputs(0, 16), Response::ReadDiscreteInputs(vec![false; 16])),
            (Request::ReadHoldingRegisters(0, 2), Response::ReadHoldingRegisters(vec![0; 2])),
            (Request::WriteSingleCoil(1, true), Response::WriteSingleCoil(1, true)),
            (Request::WriteMultipleRegisters(1, vec![0; 2].into()), Response::WriteMultipleRegisters(1, 2)),
            (Request::MaskWriteRegister(1, 2, 3), Response::MaskWriteRegister(1, 2, 3)),
        ] {
            assert_eq!(check(&request, &response), Ok(()));
        }
    }

    #[test]
    fn anything_else_is_told_with_its_evidence() {
        for (request, response, evidence) in [
            (
                Request::ReadHoldingRegisters(7, 2),
                Response::ReadHoldingRegisters(vec![0; 3]),
                "function 3 for 2 from 7 was answered with function 3 and 3 registers",
            ),
            (Request::ReadCoils(0, 3), Response::ReadCoils(vec![false; 16]), "and 16 bits"),
            (Request::ReadCoils(0, 9), Response::ReadCoils(vec![false; 8]), "and 8 bits"),
            (Request::ReadInputRegisters(0, 1), Response::ReadHoldingRegisters(vec![0]), "function 3 and"),
            (Request::WriteSingleCoil(1, true), Response::WriteSingleCoil(1, false), "(1, false)"),
            (Request::WriteSingleRegister(1, 2), Response::WriteSingleRegister(2, 2), "(2, 2)"),
            (Request::WriteMultipleCoils(1, vec![true].into()), Response::WriteMultipleCoils(1, 2), "(1, 2)"),
        ] {
            let error = check(&request, &response).unwrap_err();
            assert!(error.contains(evidence), "{error}");
        }
    }
}
