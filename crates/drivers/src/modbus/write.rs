//! Writes: the function that fits, another where the device doesn't have it, and reading back.
//!
//! | what | function | where the device lacks it (exception 01) |
//! |---|---|---|
//! | a coil | 5 | 15 with one coil |
//! | one register | 6 | 16 |
//! | more registers | 16 | – |
//! | a bit of a register | 22 | 3, then 6 or 16 with the bit changed |
//! | registers, read back | 23 | 6 or 16, then 3 |
//!
//! What a device lacks is remembered until [`forget`](crate::Driver::forget). Function 23 is rare: a device
//! that never answered it and stays silent or hangs up when asked lacks it too. Reading, changing and writing
//! a register is **not atomic**: what the PLC changes in between in that register's other bits is
//! overwritten; so that is done only where the device said that it has no function 22. Every request here goes ahead of all reads.

use std::borrow::Cow;

use bifrost_model::Value;
use serde_json::{Value as Json, json};
use tokio_modbus::{Request, Response};

use super::{
    Exchange, ExchangeError, ModbusDriver, Point, Priority, Table, codec, reply,
    scan::{ACKNOWLEDGE, is_read},
};
use crate::{DeviceError, WriteError};

/// Illegal function.
const NO_SUCH_FUNCTION: u8 = 1;

/// Whether the device has a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Has {
    #[default]
    Unknown,
    Yes,
    No,
}

/// The functions for writing that not every device has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habits {
    single_coil: Has,
    single_register: Has,
    mask: Has,
    read_write: Has,
}

impl Habits {
    /// For people: which functions the device lacks.
    pub(super) fn to_json(self) -> Json {
        let functions =
            [(5, self.single_coil), (6, self.single_register), (22, self.mask), (23, self.read_write)];
        let of = |wanted: Has| -> Vec<u8> {
            functions.iter().filter(|(_, has)| *has == wanted).map(|(function, _)| *function).collect()
        };
        json!({"functions_present": of(Has::Yes), "functions_absent": of(Has::No)})
    }
}

/// Picks one function out of the habits.
type Habit = fn(&mut Habits) -> &mut Has;

impl<E: Exchange> ModbusDriver<E> {
    pub(super) async fn write_tag(
        &self,
        tag: u32,
        value: &Value,
        read_back: bool,
    ) -> Result<Option<Value>, WriteError> {
        let (point, registers) = self.writable(tag, value)?;
        match (point.table(), point.wire_bit()) {
            (Table::Coil, _) => self.write_coil(point, registers.contains(&1)).await?,
            (_, Some(bit)) => self.write_bit(point, bit, registers.contains(&1)).await?,
            _ if read_back => {
                if let Some(held) = self.write_and_read(point, &registers).await? {
                    return Ok(Some(codec::decode(point, &held).0));
                }
                self.write_registers(point.address().offset, registers).await?;
            }
            _ => self.write_registers(point.address().offset, registers).await?,
        }
        Ok(if read_back { self.read_back(point).await } else { None })
    }

    async fn write_coil(&self, point: &Point, on: bool) -> Result<(), WriteError> {
        let at = point.address().offset;
        let single = Request::WriteSingleCoil(at, on);
        if self.try_write(single, |habits| &mut habits.single_coil).await?.is_none() {
            self.write_request(Request::WriteMultipleCoils(at, Cow::Owned(vec![on]))).await?;
        }
        Ok(())
    }

    async fn write_registers(&self, at: u16, registers: Vec<u16>) -> Result<(), WriteError> {
        if let [register] = registers[..] {
            let single = Request::WriteSingleRegister(at, register);
            if self.try_write(single, |habits| &mut habits.single_register).await?.is_some() {
                return Ok(());
            }
        }
        self.write_request(Request::WriteMultipleRegisters(at, Cow::Owned(registers))).await?;
        Ok(())
    }

    /// (current AND and-mask) OR (or-mask AND NOT and-mask): Modbus Application Protocol V1.1b3, 6.16.
    async fn write_bit(&self, point: &Point, bit: u8, on: bool) -> Result<(), WriteError> {
        let at = point.address().offset;
        let mask = 1_u16 << bit;
        let masked = Request::MaskWriteRegister(at, !mask, if on { mask } else { 0 });
        if self.try_write(masked, |habits| &mut habits.mask).await?.is_some() {
            return Ok(());
        }
        let held = registers_of(self.write_request(Request::ReadHoldingRegisters(at, 1)).await?);
        let held = held.first().copied().unwrap_or_default();
        self.write_registers(at, vec![if on { held | mask } else { held & !mask }]).await
    }

    /// In one request; `None` when the device lacks the function and nothing was written.
    async fn write_and_read(&self, point: &Point, registers: &[u16]) -> Result<Option<Vec<u16>>, WriteError> {
        if point.count() > super::MAX_READ_WRITE_WRITE {
            return Ok(None);
        }
        let at = point.address().offset;
        let request =
            Request::ReadWriteMultipleRegisters(at, point.count(), at, Cow::Owned(registers.to_vec()));
        let response = self.try_write(request, |habits| &mut habits.read_write).await?;
        Ok(response.map(registers_of))
    }

    /// The write was acknowledged whatever comes now: without an answer there is just nothing to show.
    async fn read_back(&self, point: &Point) -> Option<Value> {
        let request = point.table().read_request(point.address().offset, point.count());
        let registers = match self.write_request(request).await.ok()? {
            Response::ReadCoils(bits) => vec![u16::from(*bits.first()?)],
            response => registers_of(response),
        };
        Some(codec::decode(point, &registers).0)
    }

    /// `None` when the device lacks the function, known or found out now.
    async fn try_write(
        &self,
        request: Request<'static>,
        habit: Habit,
    ) -> Result<Option<Response>, WriteError> {
        let mut habits = self.habits.get();
        if *habit(&mut habits) == Has::No {
            return Ok(None);
        }
        let is_rare = matches!(request, Request::ReadWriteMultipleRegisters(..));
        let result = self.write_request(request).await;
        let has = match &result {
            Ok(_) => Has::Yes,
            Err(WriteError::Refused(NO_SUCH_FUNCTION)) => Has::No,
            Err(WriteError::Device(DeviceError::Timeout(_) | DeviceError::Transport(_)))
                if is_rare && *habit(&mut habits) == Has::Unknown =>
            {
                Has::No
            }
            Err(_) => *habit(&mut habits),
        };
        // Another write may have learned something meanwhile.
        let mut habits = self.habits.get();
        *habit(&mut habits) = has;
        self.habits.set(habits);
        match result {
            Err(WriteError::Refused(NO_SUCH_FUNCTION)) => Ok(None),
            result => result.map(Some),
        }
    }

    /// One request ahead of all reads, its answer checked.
    async fn write_request(&self, request: Request<'static>) -> Result<Response, WriteError> {
        let response = match self.patiently(request.clone(), Priority::Write).await {
            Ok(response) => response,
            Err(ExchangeError::Exception(code @ (0x0A | 0x0B))) => {
                return Err(DeviceError::UnitUnreachable { unit: self.unit, code }.into());
            }
            Err(ExchangeError::Exception(ACKNOWLEDGE)) if !is_read(&request) => {
                return Err(WriteError::Unconfirmed);
            }
            Err(ExchangeError::Exception(code)) => return Err(WriteError::Refused(code)),
            Err(ExchangeError::Garbled { waited, .. }) => return Err(DeviceError::Timeout(waited).into()),
            Err(ExchangeError::Device(error)) => return Err(error.into()),
        };
        match reply::check(&request, &response) {
            Ok(()) => Ok(response),
            Err(evidence) => Err(DeviceError::Transport(evidence).into()),
        }
    }
}

fn registers_of(response: Response) -> Vec<u16> {
    match response {
        Response::ReadHoldingRegisters(words) | Response::ReadWriteMultipleRegisters(words) => words,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
