//! One PLC without its sockets: units, faults, counters; from a request to what becomes of it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    framing::{Framing, Head},
    memory::{Layout, Memory, Unit},
    pdu::MAX_PDU,
    plan::{Effect, FaultPlan, Reach, Spoil},
    respond::{refuse, respond},
    settings::PlcSettings,
    stats::Counters,
    wave::scramble,
};

/// "Gateway target device failed to respond": what a Modbus/TCP gateway says of a unit it can't find.
const NO_SUCH_UNIT: u8 = 0x0B;

/// What Modbus/TCP Security has a PLC say to a role without the right: illegal function.
const NOT_AUTHORISED: u8 = 1;

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) settings: PlcSettings,
    pub(crate) faults: FaultPlan,
    pub(crate) counters: Counters,
    pub(crate) first: (u8, Memory),
    units: Vec<(u8, Memory)>,
    started: Instant,
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) framing: Framing,
    pub(crate) head: Head,
    /// Never empty.
    pub(crate) pdu: &'a [u8],
    pub(crate) now: Instant,
    /// Whether the client may ask for it.
    pub(crate) allowed: bool,
}

/// What became of a request; the answer, if there is one, is the end of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The answer is to be sent now.
    Answered,
    /// There is no answer.
    Unanswered,
    /// The answer is to be sent so much later, after what was delayed before it.
    Delayed(Duration),
    /// The answer is to be sent so much later.
    Late(Duration),
    /// The connection is to be closed.
    Close,
}

/// Whom a request is for.
enum Addressee<'a> {
    One(u8, &'a Memory),
    /// Everybody, and nobody answers: unit 0 on a serial line.
    All,
    Nobody,
}

impl Device {
    pub(crate) fn new(settings: PlcSettings) -> Self {
        let started = Instant::now();
        let layout = Arc::new(Layout::new(&settings));
        let unit = |id: &u8| (*id, Memory::new(Unit::new(&settings, Arc::clone(&layout), *id), started));
        let units: Vec<_> = settings.unit_ids.iter().map(unit).collect();
        Self {
            first: units.first().cloned().unwrap_or_else(|| unit(&1)),
            units,
            faults: FaultPlan::new(&settings.faults, started),
            counters: Counters::default(),
            started,
            settings,
        }
    }

    pub(crate) fn memory(&self, unit: u8) -> Option<&Memory> {
        self.units.iter().find(|(id, _)| *id == unit).map(|(_, memory)| memory)
    }

    /// Whether connections work now, and when that may change by itself.
    pub(crate) fn reach(&self) -> (Reach, Option<Instant>) {
        self.faults.reach(Instant::now())
    }

    /// Answers one request, appending to `out` what is to be sent, now or later.
    pub(crate) fn answer(&self, incoming: Incoming<'_>, out: &mut Vec<u8>) -> Outcome {
        let Incoming { framing, head, pdu, now, .. } = incoming;
        let at = now.saturating_duration_since(self.started);
        match self.addressee(framing, head.unit) {
            Addressee::One(unit, memory) => {
                self.counters.request(pdu[0]);
                match self.faults.meet(unit, pdu, at) {
                    Effect::Swallow => Outcome::Unanswered,
                    Effect::Close => Outcome::Close,
                    effect => self.ask(memory, effect, incoming, out),
                }
            }
            Addressee::All => self.tell_all(pdu, at),
            // A serial line carries requests for others too; a TCP server that can't forward says so.
            Addressee::Nobody if framing == Framing::Rtu => Outcome::Unanswered,
            Addressee::Nobody => wrap(incoming, out, |out| refuse(pdu, NO_SUCH_UNIT, out)),
        }
    }

    fn addressee(&self, framing: Framing, unit: u8) -> Addressee<'_> {
        if framing == Framing::Rtu && unit == 0 {
            return Addressee::All;
        }
        let lenient = framing == Framing::Mbap && !self.settings.strict_units;
        let found = self.units.iter().find(|(id, _)| *id == unit);
        let found = found.or_else(|| (lenient && matches!(unit, 0 | 255)).then_some(&self.first));
        found.map_or(Addressee::Nobody, |(id, memory)| Addressee::One(*id, memory))
    }

    fn ask(&self, memory: &Memory, effect: Effect, mut incoming: Incoming<'_>, out: &mut Vec<u8>) -> Outcome {
        let (start, at) = (out.len(), incoming.now.saturating_duration_since(self.started));
        if effect == Effect::Spoil(Spoil::Unit) {
            incoming.head.unit = incoming.head.unit.wrapping_add(1);
        }
        let answered = wrap(incoming, out, |out| {
            let is_fine = match effect {
                Effect::Refuse(code) => {
                    refuse(incoming.pdu, code, out);
                    false
                }
                _ if !incoming.allowed => {
                    refuse(incoming.pdu, NOT_AUTHORISED, out);
                    false
                }
                _ => respond(incoming.pdu, &mut memory.lock(), at, out),
            };
            self.counters.answer(!is_fine);
        });
        match effect {
            Effect::Delay(by) => return Outcome::Delayed(by),
            Effect::Late(by) => return Outcome::Late(by),
            Effect::Spoil(spoil) => spoil_answer(spoil, incoming.framing, start, out),
            _ => {}
        }
        answered
    }

    /// MODBUS over Serial Line V1.02, 2.1: a broadcast is carried out by all and answered by none.
    fn tell_all(&self, pdu: &[u8], at: Duration) -> Outcome {
        self.counters.request(pdu[0]);
        let mut unheard = Vec::with_capacity(MAX_PDU);
        for (unit, memory) in &self.units {
            if matches!(self.faults.meet(*unit, pdu, at), Effect::Swallow | Effect::Close | Effect::Refuse(_))
            {
                continue;
            }
            unheard.clear();
            respond(pdu, &mut memory.lock(), at, &mut unheard);
        }
        Outcome::Unanswered
    }
}

/// Puts the frame of an answer around what `body` appends.
fn wrap(incoming: Incoming<'_>, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> Outcome {
    let start = out.len();
    incoming.framing.begin(incoming.head, out);
    body(out);
    incoming.framing.finish(start, out);
    Outcome::Answered
}

/// Makes the answer that begins at `start` wrong.
fn spoil_answer(spoil: Spoil, framing: Framing, start: usize, out: &mut Vec<u8>) {
    match spoil {
        Spoil::Transaction if framing == Framing::Mbap => {
            let [high, low] = [out[start], out[start + 1]];
            let wrong = u16::from_be_bytes([high, low]).wrapping_add(1).to_be_bytes();
            out[start..start + 2].copy_from_slice(&wrong);
        }
        Spoil::Transaction | Spoil::Unit => {}
        Spoil::Truncate => out.truncate(start + (out.len() - start) / 2),
        Spoil::Garbage(seed) => {
            out.truncate(start);
            let words = (0..8).map(|word| scramble(seed.wrapping_add(word)));
            let length = 1 + usize::try_from(seed % 64).unwrap_or_default();
            out.extend(words.flat_map(u64::to_be_bytes).take(length));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, ScriptedFault};

    const READ: &[u8] = &[3, 0, 0, 0, 1];
    const WRITE: &[u8] = &[6, 0, 0, 0, 7];

    fn ask(device: &Device, framing: Framing, unit: u8, pdu: &[u8]) -> (Outcome, Vec<u8>) {
        let mut out = Vec::new();
        let head = Head { transaction: 5, unit };
        let outcome =
            device.answer(Incoming { framing, head, pdu, now: Instant::now(), allowed: true }, &mut out);
        (outcome, out)
    }

    fn device(unit_ids: &[u8], strict_units: bool) -> Device {
        Device::new(PlcSettings { unit_ids: unit_ids.to_vec(), strict_units, ..PlcSettings::default() })
    }

    #[test]
    fn over_tcp_units_0_and_255_mean_the_first_one_unless_told_otherwise() {
        for (unit, strict, answered) in [
            (3, true, true),
            (4, true, true),
            (0, false, true),
            (255, false, true),
            (0, true, false),
            (9, false, false),
        ] {
            let (outcome, out) = ask(&device(&[3, 4], strict), Framing::Mbap, unit, READ);
            let expected: &[u8] = if answered {
                &[0, 5, 0, 0, 0, 5, unit, 3, 2, 0, 0]
            } else {
                &[0, 5, 0, 0, 0, 3, unit, 0x83, 0x0B]
            };
            assert_eq!((outcome, &out[..]), (Outcome::Answered, expected), "{unit} {strict}");
        }
    }

    #[test]
    fn each_unit_has_a_memory_of_its_own() {
        let device = device(&[1, 2], false);
        ask(&device, Framing::Mbap, 2, WRITE);
        let holding = |unit| device.memory(unit).unwrap().holding(0);
        assert_eq!((holding(1), holding(2)), (Some(0), Some(7)));
        assert!(device.memory(3).is_none());
    }

    #[test]
    fn on_a_serial_line_strangers_are_left_alone_and_a_broadcast_is_obeyed_in_silence() {
        let device = device(&[1, 2], false);
        assert_eq!(ask(&device, Framing::Rtu, 9, READ), (Outcome::Unanswered, vec![]));
        assert_eq!(ask(&device, Framing::Rtu, 0, WRITE), (Outcome::Unanswered, vec![]));
        for unit in [1, 2] {
            assert_eq!(device.memory(unit).unwrap().holding(0), Some(7));
        }
    }

    #[test]
    fn spoilt_answers_are_wrong_in_the_one_way_that_was_asked_for() {
        let spoilt = |fault, framing| {
            let faults = vec![ScriptedFault::always(fault)];
            let device = Device::new(PlcSettings { faults, ..PlcSettings::default() });
            ask(&device, framing, 1, READ).1
        };
        assert_eq!(spoilt(Fault::WrongTransactionId, Framing::Mbap), [0, 6, 0, 0, 0, 5, 1, 3, 2, 0, 0]);
        assert_eq!(spoilt(Fault::WrongUnit, Framing::Mbap), [0, 5, 0, 0, 0, 5, 2, 3, 2, 0, 0]);
        assert_eq!(spoilt(Fault::TruncatedFrame, Framing::Mbap), [0, 5, 0, 0, 0]);
        assert!((1..=64).contains(&spoilt(Fault::Garbage, Framing::Mbap).len()));
        assert_eq!(spoilt(Fault::WrongTransactionId, Framing::Rtu)[..5], [1, 3, 2, 0, 0]);
        assert_eq!(spoilt(Fault::WrongUnit, Framing::Rtu)[..5], [2, 3, 2, 0, 0]);
    }

    #[test]
    fn what_happens_is_counted() {
        let device = device(&[1], false);
        for pdu in [READ, WRITE, &[3, 0, 200, 0, 1], &[99]] {
            ask(&device, Framing::Mbap, 1, pdu);
        }
        let stats = device.counters.snapshot();
        assert_eq!((stats.requests, stats.answers, stats.exceptions), (4, 4, 2));
        assert_eq!(stats.functions.into_iter().collect::<Vec<_>>(), [(0, 1), (3, 2), (6, 1)]);
    }
}
