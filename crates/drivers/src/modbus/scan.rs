//! One scan: carries a plan out, keeps every tag alive that can be, and learns from what is refused.
//!
//! A merged request that is refused with exception 02 or 03 is halved until the refused points are found,
//! within the same scan. Where the halves are answered and the whole is not, the reason lies between them
//! or in the size, and a look at the registers between tells which. Decides nothing about when to scan.

use bifrost_model::{Quality, Reading, Reason, Value};
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use super::{
    Exchange, ExchangeError, ModbusDriver, Point, Priority, Request, Response, Table, codec,
    learn::{Learned, Place},
    plan::PlannedRead,
    reply,
};
use crate::DeviceError;

/// The device took the request and works on it still (Modbus Application Protocol V1.1b3, 7).
pub(super) const ACKNOWLEDGE: u8 = 5;
/// The device has no time, and did nothing.
const BUSY: u8 = 6;

/// Addresses that are read at once, and the points to make of them.
#[derive(Clone, Copy)]
struct Part<'p> {
    table: Table,
    start: u16,
    count: u16,
    /// In order of their addresses.
    members: &'p [u32],
}

/// What became of a part; readings are made unless it was refused.
enum Outcome {
    Answered,
    Refused(u8),
    Failed,
}

/// The state of one scan.
pub(super) struct Scan<'s, E> {
    driver: &'s ModbusDriver<E>,
    out: &'s mut Vec<Reading>,
    answered_before: bool,
    silent_in_a_row: u8,
    /// How many more requests may go into explaining refusals.
    inquiries: u16,
}

impl<'s, E: Exchange> Scan<'s, E> {
    pub(super) fn new(driver: &'s ModbusDriver<E>, out: &'s mut Vec<Reading>) -> Self {
        let inquiries = driver.settings.max_inquiries_per_scan;
        Self { driver, out, answered_before: false, silent_in_a_row: 0, inquiries }
    }

    /// Reads one planned request. An error cuts the scan off.
    pub(super) async fn read(&mut self, planned: &PlannedRead) -> Result<(), DeviceError> {
        let part = Part {
            table: planned.table,
            start: planned.start,
            count: planned.count,
            members: &planned.members,
        };
        let refused = self.driver.learned.borrow().refusal_of_table(part.table, Instant::now());
        if let Some(code) = refused {
            self.bad(part.members, Reason::Refused(code));
            return Ok(());
        }
        if let Outcome::Refused(code) = self.ask(part).await? {
            self.refused(part, code).await?;
        }
        Ok(())
    }

    /// Asks for a point that is known to be refused, out of its turn and without a reading: is the device
    /// still of that mind? `None`: it said nothing usable; else whether it has begun to answer.
    pub(super) async fn probe(&mut self, tag: u32) -> Result<Option<bool>, DeviceError> {
        let members = [tag];
        let table = self.driver.points.get(tag as usize).map(Point::table);
        let Some(part) = table.and_then(|table| self.part(table, &members)) else { return Ok(None) };
        let refusal = self.driver.learned.borrow().refusal_of_table(part.table, Instant::now());
        let outcome = self.ask(Part { members: &[], ..part }).await?;
        // Where the function was refused and now it is the address, the function is there.
        let awake = match outcome {
            Outcome::Answered => true,
            Outcome::Refused(_) => refusal.is_some(),
            Outcome::Failed => false,
        };
        if awake {
            self.learn(|learned, now| learned.awake(part.table, now));
        }
        Ok(self.answered_before.then_some(awake))
    }

    /// A part was refused with 02 or 03: finds out which of its points are to blame.
    async fn refused(&mut self, part: Part<'_>, code: u8) -> Result<(), DeviceError> {
        if let Some(halves) = self.halves(part) {
            return self.narrow(part, halves, code, true).await;
        }
        self.learn(|learned, now| learned.refused(part.table, part.span(), Place::Point, code, now));
        self.bad(part.members, Reason::Refused(code));
        Ok(())
    }

    /// Reads the halves of a part that was refused. `asked`: it was really asked for, not just known to be
    /// too much at once.
    fn narrow<'f>(
        &'f mut self,
        whole: Part<'f>,
        [left, right]: [Part<'f>; 2],
        code: u8,
        asked: bool,
    ) -> LocalBoxFuture<'f, Result<(), DeviceError>> {
        Box::pin(async move {
            let left_answered = self.half(left, code, asked).await?;
            let right_answered = self.half(right, code, asked).await?;
            if left_answered && right_answered && asked {
                self.explain(whole, left, right).await?;
            }
            Ok(())
        })
    }

    /// Whether it was answered in one request. `charged`: it is asked for to find something out, rather than
    /// because the plan was made before the maximum was known.
    async fn half(&mut self, part: Part<'_>, code: u8, charged: bool) -> Result<bool, DeviceError> {
        let too_many = self.driver.learned.borrow().is_too_many(part.table, part.count);
        if too_many && let Some(halves) = self.halves(part) {
            self.narrow(part, halves, code, false).await?;
            return Ok(false);
        }
        if charged && !self.may_inquire() {
            self.bad(part.members, Reason::Refused(code));
            return Ok(false);
        }
        match self.ask(part).await? {
            Outcome::Answered => Ok(true),
            Outcome::Failed => Ok(false),
            Outcome::Refused(code) => {
                self.refused(part, code).await?;
                Ok(false)
            }
        }
    }

    /// Both halves were answered: what lies between them, the size of the whole, or a boundary is refused.
    async fn explain(&mut self, whole: Part<'_>, left: Part<'_>, right: Part<'_>) -> Result<(), DeviceError> {
        let table = whole.table;
        let between = left.span().end..right.span().start;
        if let Some(filler) = Part::silent(table, &between) {
            match self.inquire(filler).await? {
                Some(Ok(())) => {}
                Some(Err(code)) => {
                    self.learn(|learned, now| learned.refused(table, between, Place::Between, code, now));
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
        // Asked once more, so that a passing mood of the device is no lasting lesson.
        let Some(Err(code)) = self.inquire(whole).await? else { return Ok(()) };
        if !self.driver.learned.borrow().has_answered(table, whole.count) {
            self.learn(|learned, now| learned.too_many(table, whole.count, code, now));
        } else if let Some(boundary) = self.boundary(table, between, right.span().end).await? {
            self.learn(|learned, now| {
                learned.refused(table, boundary..boundary, Place::Between, code, now);
            });
        }
        Ok(())
    }

    /// Before or behind what lies between, which is readable by itself.
    async fn boundary(
        &mut self,
        table: Table,
        between: std::ops::Range<u32>,
        end: u32,
    ) -> Result<Option<u32>, DeviceError> {
        let (true, Some(with_right)) = (!between.is_empty(), Part::silent(table, &(between.start..end)))
        else {
            return Ok(Some(between.end));
        };
        let answer = self.inquire(with_right).await?;
        Ok(answer.map(|answer| if answer.is_ok() { between.start } else { between.end }))
    }

    fn learn(&self, lesson: impl FnOnce(&mut Learned, Instant)) {
        lesson(&mut self.driver.learned.borrow_mut(), Instant::now());
    }

    /// Asks without making readings: answered, refused with a code, or nothing to learn from.
    async fn inquire(&mut self, part: Part<'_>) -> Result<Option<Result<(), u8>>, DeviceError> {
        if !self.may_inquire() {
            return Ok(None);
        }
        let silent = Part { members: &[], ..part };
        Ok(match self.ask(silent).await? {
            Outcome::Answered => Some(Ok(())),
            Outcome::Refused(code) => Some(Err(code)),
            Outcome::Failed => None,
        })
    }

    fn may_inquire(&mut self) -> bool {
        let may = self.inquiries > 0;
        self.inquiries = self.inquiries.saturating_sub(1);
        may
    }

    /// In the middle of the points; `None` when all are at the same place.
    fn halves<'p>(&self, part: Part<'p>) -> Option<[Part<'p>; 2]> {
        let spans = |index: &u32| self.driver.points.get(*index as usize).map(Point::span);
        let split = |middle: &usize| spans(&part.members[*middle]) != spans(&part.members[*middle - 1]);
        let middle = part.members.len() / 2;
        // The middle, or the nearest place where the span changes.
        let right = (middle.max(1)..part.members.len()).find(split);
        let left = (1..middle).rev().find(split);
        let nearest = |place: &usize| place.abs_diff(middle);
        let middle = [left, right].into_iter().flatten().min_by_key(nearest)?;
        let (left, right) = part.members.split_at(middle);
        Some([self.part(part.table, left)?, self.part(part.table, right)?])
    }

    /// The addresses that these points take.
    fn part<'p>(&self, table: Table, members: &'p [u32]) -> Option<Part<'p>> {
        let spans = || members.iter().filter_map(|index| self.driver.points.get(*index as usize));
        let start = spans().map(|point| point.span().start).min()?;
        let end = spans().map(|point| point.span().end).max()?;
        let (start, count) = (u16::try_from(start).ok()?, u16::try_from(end - start).ok()?);
        Some(Part { table, start, count, members })
    }

    /// One request, patience included. Makes readings unless it is refused with 02 or 03.
    async fn ask(&mut self, part: Part<'_>) -> Result<Outcome, DeviceError> {
        let mut result = self.driver.patiently(part.request(), Priority::Read).await;
        if let Ok(response) = &result
            && let Err(evidence) = reply::check(&part.request(), response)
        {
            result = Err(ExchangeError::Device(DeviceError::Transport(evidence)));
        }
        match result {
            Ok(response) => {
                self.alive();
                self.good(part, response);
                self.learn(|learned, now| learned.answered(part.table, &part.span(), now));
                Ok(Outcome::Answered)
            }
            Err(ExchangeError::Exception(code)) => self.exception(part, code),
            Err(ExchangeError::Garbled { waited, .. }) => {
                self.bad(part.members, Reason::Garbled);
                self.silent(DeviceError::Timeout(waited), true)
            }
            // Not asked because it owes an answer: the same silence goes on.
            Err(ExchangeError::Device(error @ (DeviceError::Timeout(_) | DeviceError::NotAsked(_)))) => {
                self.bad(part.members, Reason::Timeout);
                self.silent(error, self.answered_before)
            }
            Err(ExchangeError::Device(error)) => {
                if matches!(error, DeviceError::Transport(_)) {
                    self.bad(part.members, Reason::Garbled);
                }
                Err(error)
            }
        }
    }

    fn exception(&mut self, part: Part<'_>, code: u8) -> Result<Outcome, DeviceError> {
        self.alive();
        match code {
            1 => self.learn(|learned, now| learned.table_refused(part.table, code, now)),
            2 | 3 => return Ok(Outcome::Refused(code)),
            0x0A | 0x0B => return Err(DeviceError::UnitUnreachable { unit: self.driver.unit, code }),
            _ => {}
        }
        self.bad(part.members, Reason::Refused(code));
        Ok(Outcome::Failed)
    }

    /// An answer, refusals too.
    fn alive(&mut self) {
        self.answered_before = true;
        self.silent_in_a_row = 0;
    }

    /// One request without a valid answer is forgiven, where the device is known to be there.
    fn silent(&mut self, error: DeviceError, forgivable: bool) -> Result<Outcome, DeviceError> {
        self.silent_in_a_row += 1;
        if forgivable && self.silent_in_a_row < 2 {
            return Ok(Outcome::Failed);
        }
        Err(error)
    }

    fn good(&mut self, part: Part<'_>, response: Response) {
        match response {
            Response::ReadInputRegisters(words) | Response::ReadHoldingRegisters(words) => {
                self.decode(part, |at, count| words.get(at..at + count).unwrap_or_default());
            }
            Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => {
                self.decode(part, |at, _| match bits.get(at) {
                    Some(true) => &[1],
                    Some(false) => &[0],
                    None => &[],
                });
            }
            _ => {}
        }
    }

    /// `registers` finds a point's registers by their place in the answer.
    fn decode<'r>(&mut self, part: Part<'_>, registers: impl Fn(usize, usize) -> &'r [u16]) {
        for index in part.members {
            let Some(point) = self.driver.points.get(*index as usize) else { continue };
            let at = usize::from(point.address().offset.saturating_sub(part.start));
            let (value, quality, reason) = codec::decode(point, registers(at, usize::from(point.count())));
            self.out.push(Reading { tag: *index, quality, reason, value });
        }
    }

    pub(super) fn bad(&mut self, members: &[u32], reason: Reason) {
        let reading = |tag: &u32| Reading { tag: *tag, quality: Quality::Bad, reason, value: Value::Null };
        self.out.extend(members.iter().map(reading));
    }
}

impl Part<'_> {
    /// Addresses without points; `None` when there are none.
    fn silent(table: Table, span: &std::ops::Range<u32>) -> Option<Self> {
        let (start, count) = (u16::try_from(span.start).ok()?, u16::try_from(span.len()).ok()?);
        (count > 0).then_some(Self { table, start, count, members: &[] })
    }

    fn span(&self) -> std::ops::Range<u32> {
        u32::from(self.start)..u32::from(self.start) + u32::from(self.count)
    }

    fn request(&self) -> Request<'static> {
        self.table.read_request(self.start, self.count)
    }
}

impl Table {
    /// The request that reads this table: functions 1 to 4.
    pub(super) fn read_request(self, start: u16, count: u16) -> Request<'static> {
        match self {
            Self::Coil => Request::ReadCoils(start, count),
            Self::DiscreteInput => Request::ReadDiscreteInputs(start, count),
            Self::InputRegister => Request::ReadInputRegisters(start, count),
            Self::HoldingRegister => Request::ReadHoldingRegisters(start, count),
        }
    }
}

/// Whether asking twice changes nothing: functions 1 to 4.
pub(super) fn is_read(request: &Request<'_>) -> bool {
    matches!(
        request,
        Request::ReadCoils(..)
            | Request::ReadDiscreteInputs(..)
            | Request::ReadInputRegisters(..)
            | Request::ReadHoldingRegisters(..)
    )
}

impl<E: Exchange> ModbusDriver<E> {
    /// One exchange; while the device says that it is busy, again after a pause. A write that it says to be
    /// working on is **not** repeated: a pulse or a count would be given twice.
    pub(super) async fn patiently(
        &self,
        request: Request<'static>,
        priority: Priority,
    ) -> Result<Response, ExchangeError> {
        let mut retries = self.settings.busy_retries;
        let repeatable = |code| code == BUSY || code == ACKNOWLEDGE && is_read(&request);
        loop {
            match self.exchange.exchange(self.unit, request.clone(), priority).await {
                Err(ExchangeError::Exception(code)) if repeatable(code) && retries > 0 => {
                    retries -= 1;
                    tokio::time::sleep(self.settings.busy_delay).await;
                }
                result => return result,
            }
        }
    }
}
