//! A Modbus unit made up in memory, with everything that real ones do wrong.

use std::{
    cell::{RefCell, RefMut},
    collections::{HashMap, HashSet, VecDeque},
    ops::Range,
    rc::Rc,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;

use super::{Exchange, ExchangeError, Priority, Request, Response, Table};
use crate::DeviceError;

pub(super) const TIMEOUT: ExchangeError = ExchangeError::Device(DeviceError::Timeout(Duration::from_secs(1)));

/// What the unit holds and how it behaves.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Registers and bits; what isn't here is its own address, and as a bit false.
    pub(super) held: HashMap<(Table, u16), u16>,
    /// Addresses that don't exist, with the exception.
    pub(super) refused: Vec<(Table, Range<u32>, u8)>,
    /// Places that no read may cross (exception 02).
    pub(super) boundaries: Vec<u32>,
    /// The most registers or bits at once (exception 03).
    pub(super) max: Option<u16>,
    /// Functions it lacks (exception 01).
    pub(super) lacks: HashSet<u8>,
    /// Addresses at which it stays silent.
    pub(super) silent: Vec<Range<u32>>,
    /// What the next requests are answered with, whatever they are.
    pub(super) next: VecDeque<Result<Response, ExchangeError>>,
    /// Every request that came.
    pub(super) log: Vec<(Request<'static>, Priority)>,
    /// How many of them were refused with 02 or 03.
    pub(super) refusals: usize,
}

/// A unit that answers at once.
#[derive(Debug, Default)]
pub(super) struct Fake(RefCell<State>);

impl Fake {
    pub(super) fn new() -> Rc<Self> {
        Rc::default()
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// The requests since the last call, in short: function, start and count.
    pub(super) fn requests(&self) -> Vec<String> {
        let log = std::mem::take(&mut self.state().log);
        log.iter().map(|(request, _)| describe(request)).collect()
    }
}

fn describe(request: &Request<'_>) -> String {
    let function = request.function_code().value();
    match request {
        Request::WriteMultipleCoils(at, coils) => format!("{function}: {at} {coils:?}"),
        Request::WriteMultipleRegisters(at, words) | Request::ReadWriteMultipleRegisters(_, _, at, words) => {
            format!("{function}: {at} {words:?}")
        }
        Request::WriteSingleCoil(at, on) => format!("{function}: {at} {on}"),
        Request::WriteSingleRegister(at, word) => format!("{function}: {at} {word}"),
        Request::MaskWriteRegister(at, and, or) => format!("{function}: {at} {and:04X} {or:04X}"),
        Request::ReadCoils(at, count)
        | Request::ReadDiscreteInputs(at, count)
        | Request::ReadInputRegisters(at, count)
        | Request::ReadHoldingRegisters(at, count) => format!("{function}: {at}+{count}"),
        other => format!("{other:?}"),
    }
}

impl Exchange for Fake {
    fn exchange(
        &self,
        _unit: u8,
        request: Request<'static>,
        priority: Priority,
    ) -> LocalBoxFuture<'_, Result<Response, ExchangeError>> {
        let mut state = self.state();
        state.log.push((request.clone(), priority));
        let answer = match state.next.pop_front() {
            Some(answer) => answer,
            None => state.answer(request),
        };
        if let Err(ExchangeError::Exception(2 | 3)) = answer {
            state.refusals += 1;
        }
        Box::pin(std::future::ready(answer))
    }
}

impl State {
    fn answer(&mut self, request: Request<'static>) -> Result<Response, ExchangeError> {
        if self.lacks.contains(&request.function_code().value()) {
            return Err(ExchangeError::Exception(1));
        }
        Ok(match request {
            Request::ReadCoils(at, count) => Response::ReadCoils(self.bits(Table::Coil, at, count)?),
            Request::ReadDiscreteInputs(at, count) => {
                Response::ReadDiscreteInputs(self.bits(Table::DiscreteInput, at, count)?)
            }
            Request::ReadInputRegisters(at, count) => {
                Response::ReadInputRegisters(self.registers(Table::InputRegister, at, count)?)
            }
            Request::ReadHoldingRegisters(at, count) => {
                Response::ReadHoldingRegisters(self.registers(Table::HoldingRegister, at, count)?)
            }
            Request::WriteSingleCoil(at, on) => {
                self.write(Table::Coil, at, &[u16::from(on)])?;
                Response::WriteSingleCoil(at, on)
            }
            Request::WriteMultipleCoils(at, coils) => {
                let bits: Vec<u16> = coils.iter().copied().map(u16::from).collect();
                Response::WriteMultipleCoils(at, self.write(Table::Coil, at, &bits)?)
            }
            Request::WriteSingleRegister(at, word) => {
                self.write(Table::HoldingRegister, at, &[word])?;
                Response::WriteSingleRegister(at, word)
            }
            Request::WriteMultipleRegisters(at, words) => {
                Response::WriteMultipleRegisters(at, self.write(Table::HoldingRegister, at, &words)?)
            }
            Request::MaskWriteRegister(at, and, or) => {
                let held = self.registers(Table::HoldingRegister, at, 1)?[0];
                self.write(Table::HoldingRegister, at, &[held & and | or & !and])?;
                Response::MaskWriteRegister(at, and, or)
            }
            Request::ReadWriteMultipleRegisters(from, count, at, words) => {
                self.write(Table::HoldingRegister, at, &words)?;
                Response::ReadWriteMultipleRegisters(self.registers(Table::HoldingRegister, from, count)?)
            }
            _ => return Err(ExchangeError::Exception(1)),
        })
    }

    fn check(&self, table: Table, start: u16, count: u16) -> Result<(), ExchangeError> {
        let span = u32::from(start)..u32::from(start) + u32::from(count);
        let touches = |hole: &Range<u32>| hole.start < span.end && span.start < hole.end;
        if self.silent.iter().any(touches) {
            return Err(TIMEOUT);
        }
        if self.max.is_some_and(|max| count > max) {
            return Err(ExchangeError::Exception(3));
        }
        if self.boundaries.iter().any(|place| span.start < *place && *place < span.end) {
            return Err(ExchangeError::Exception(2));
        }
        let refused = self.refused.iter().find(|(of, hole, _)| *of == table && touches(hole));
        refused.map_or(Ok(()), |(_, _, code)| Err(ExchangeError::Exception(*code)))
    }

    fn registers(&self, table: Table, start: u16, count: u16) -> Result<Vec<u16>, ExchangeError> {
        self.check(table, start, count)?;
        let held = |at: u16| self.held.get(&(table, at)).copied().unwrap_or(at);
        Ok((0..count).map(|step| held(start + step)).collect())
    }

    fn bits(&self, table: Table, start: u16, count: u16) -> Result<Vec<bool>, ExchangeError> {
        self.check(table, start, count)?;
        let held = |at: u16| self.held.get(&(table, at)).is_some_and(|bit| *bit != 0);
        let padded = count.next_multiple_of(8);
        Ok((0..padded).map(|step| step < count && held(start + step)).collect())
    }

    fn write(&mut self, table: Table, start: u16, values: &[u16]) -> Result<u16, ExchangeError> {
        let count = u16::try_from(values.len()).unwrap();
        self.check(table, start, count)?;
        self.held.extend((start..).zip(values).map(|(at, value)| ((table, at), *value)));
        Ok(count)
    }
}
