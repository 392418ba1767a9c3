//! What is wrong with a PLC now: its script, and what was switched on by hand.
//!
//! What was switched by hand goes before the script, then the order of the script counts: the first fault
//! that has something to say of a request is the one it meets.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    fault::{Fault, ScriptedFault, modulo},
    pdu::Request,
    wave::scramble,
};

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is answered rightly.
    None,
    /// It is read, and that's all.
    Swallow,
    /// Its connection is closed.
    Close,
    /// It is refused.
    Refuse(u8),
    /// It is answered so much later, after all that was delayed before it on its connection.
    Delay(Duration),
    /// It is answered so much later, for itself.
    Late(Duration),
    /// The answer is made wrong.
    Spoil(Spoil),
}

/// How an answer is made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    Transaction,
    Unit,
    Truncate,
    /// Random bytes from this seed.
    Garbage(u64),
}

/// Whether connections work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Open,
    HalfOpen,
    Gone,
}

#[derive(Debug)]
struct Entry {
    script: ScriptedFault,
    /// The requests it had something to say of.
    hits: AtomicU64,
}

/// All faults of one PLC.
#[derive(Debug)]
pub(crate) struct FaultPlan {
    started: Instant,
    script: Vec<Entry>,
    by_hand: Mutex<Vec<Entry>>,
    /// Whether there is any fault at all: most PLCs have none, and their requests don't pay for it.
    any: AtomicBool,
    changed: watch::Sender<()>,
}

impl FaultPlan {
    pub(crate) fn new(script: &[ScriptedFault], started: Instant) -> Self {
        let entry = |script: &ScriptedFault| Entry { script: script.clone(), hits: AtomicU64::new(0) };
        Self {
            started,
            script: script.iter().map(entry).collect(),
            by_hand: Mutex::default(),
            any: AtomicBool::new(!script.is_empty()),
            changed: watch::Sender::new(()),
        }
    }

    /// Switches a fault of the whole PLC (`unit` is `None`) or of one unit on, or off again.
    pub(crate) fn switch(&self, unit: Option<u8>, fault: Option<Fault>) {
        let mut by_hand = self.by_hand();
        by_hand.retain(|entry| entry.script.unit != unit);
        if let Some(fault) = fault {
            let from = self.started.elapsed();
            let script = ScriptedFault { unit, from, ..ScriptedFault::always(fault) };
            by_hand.push(Entry { script, hits: AtomicU64::new(0) });
        }
        self.any.store(!by_hand.is_empty() || !self.script.is_empty(), Ordering::Relaxed);
        drop(by_hand);
        self.changed.send_replace(());
    }

    /// Wakes up whenever something was switched by hand.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What becomes of this request to this unit, `at` after the start. Counts it.
    pub(crate) fn meet(&self, unit: u8, pdu: &[u8], at: Duration) -> Effect {
        if !self.any.load(Ordering::Relaxed) {
            return Effect::None;
        }
        let by_hand = self.by_hand();
        let mut entries = by_hand.iter().chain(&self.script);
        entries.find_map(|entry| entry.meet(unit, pdu, at)).unwrap_or(Effect::None)
    }

    /// Whether connections work at this moment, and when that may change by itself.
    pub(crate) fn reach(&self, now: Instant) -> (Reach, Option<Instant>) {
        if !self.any.load(Ordering::Relaxed) {
            return (Reach::Open, None);
        }
        let at = now.saturating_duration_since(self.started);
        let by_hand = self.by_hand();
        let entries = || by_hand.iter().chain(&self.script);
        let reach = entries().find_map(|entry| entry.reach(at)).unwrap_or(Reach::Open);
        let change = entries().filter_map(|entry| entry.next_change(at)).min();
        (reach, change.and_then(|change| self.started.checked_add(change)))
    }

    fn by_hand(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.by_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Nothing if it has nothing to say of this request.
    fn meet(&self, unit: u8, pdu: &[u8], at: Duration) -> Option<Effect> {
        self.script.began(at)?;
        if self.script.unit.is_some_and(|only| only != unit) {
            return None;
        }
        match &self.script.fault {
            Fault::Refuse | Fault::Flapping { .. } => None,
            Fault::Silence | Fault::HalfOpen => Some(Effect::Swallow),
            Fault::Delay { by } => Some(Effect::Delay(*by)),
            Fault::LateReply { by, every } => {
                self.hit().is_multiple_of(*every.max(&1)).then_some(Effect::Late(*by))
            }
            Fault::WrongTransactionId => Some(Effect::Spoil(Spoil::Transaction)),
            Fault::WrongUnit => Some(Effect::Spoil(Spoil::Unit)),
            Fault::TruncatedFrame => Some(Effect::Spoil(Spoil::Truncate)),
            Fault::Garbage => Some(Effect::Spoil(Spoil::Garbage(scramble(self.hit())))),
            Fault::DropEvery { n } => (self.hit() + 1).is_multiple_of(*n.max(&1)).then_some(Effect::Close),
            Fault::Exception { code, table, range } => {
                if table.is_none() && range.is_none() {
                    return Some(Effect::Refuse(*code));
                }
                let meets = |(touched, span): (_, crate::pdu::Span)| {
                    table.is_none_or(|table| table == touched)
                        && range.is_none_or(|range| range.meets(span.first, span.count))
                };
                let request = Request::parse(pdu).ok()?;
                request.touches().into_iter().flatten().any(meets).then_some(Effect::Refuse(*code))
            }
        }
    }

    fn reach(&self, at: Duration) -> Option<Reach> {
        let began = self.script.began(at)?;
        match self.script.fault {
            Fault::Refuse => Some(Reach::Gone),
            Fault::HalfOpen => Some(Reach::HalfOpen),
            Fault::Flapping { up, down } => {
                let gone = modulo(at.saturating_sub(began), up.saturating_add(down)) >= up;
                gone.then_some(Reach::Gone)
            }
            _ => None,
        }
    }

    fn next_change(&self, at: Duration) -> Option<Duration> {
        if !self.script.fault.is_of_connections() {
            return None;
        }
        let window = self.script.next_change(at);
        let Fault::Flapping { up, down } = self.script.fault else { return window };
        let flap = self.script.began(at).map(|began| {
            let cycle = up.saturating_add(down);
            let into = modulo(at.saturating_sub(began), cycle);
            at.saturating_add(if into < up { up } else { cycle }.saturating_sub(into))
        });
        [window, flap].into_iter().flatten().filter(|next| *next > at).min()
    }

    /// How many hits there were before this one.
    fn hit(&self) -> u64 {
        self.hits.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{AddressRange, Table};

    const READ: &[u8] = &[3, 0, 10, 0, 5];

    fn plan(script: &[ScriptedFault]) -> FaultPlan {
        FaultPlan::new(script, Instant::now())
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_switched_by_hand_goes_before_the_script() {
        let plan = plan(&[ScriptedFault::always(Fault::Silence)]);
        assert_eq!(plan.meet(1, READ, s(1)), Effect::Swallow);
        plan.switch(None, Some(Fault::DropEvery { n: 1 }));
        assert_eq!(plan.meet(1, READ, s(1)), Effect::Close);
        plan.switch(None, None);
        assert_eq!(plan.meet(1, READ, s(1)), Effect::Swallow);
    }

    #[test]
    fn a_unit_can_be_ill_for_itself() {
        let plan = plan(&[ScriptedFault::always(Fault::Silence).of_unit(2)]);
        assert_eq!(plan.meet(1, READ, s(1)), Effect::None);
        assert_eq!(plan.meet(2, READ, s(1)), Effect::Swallow);
        plan.switch(Some(1), Some(Fault::Exception { code: 6, table: None, range: None }));
        assert_eq!(plan.meet(1, READ, s(1)), Effect::Refuse(6));
        assert_eq!(plan.meet(2, READ, s(1)), Effect::Swallow);
    }

    #[test]
    fn an_exception_can_be_limited_to_a_table_and_a_range() {
        let fault = |table, first, last| {
            let range = Some(AddressRange { first, last });
            plan(&[ScriptedFault::always(Fault::Exception { code: 4, table, range })])
        };
        for (plan, met) in [
            (fault(None, 14, 20), true),
            (fault(None, 15, 20), false),
            (fault(Some(Table::Holding), 0, 10), true),
            (fault(Some(Table::Input), 0, 100), false),
        ] {
            assert_eq!(plan.meet(1, READ, s(0)) == Effect::Refuse(4), met);
        }
    }

    #[test]
    fn every_nth_request_is_dropped_and_one_of_so_many_is_late() {
        let count = |fault, effect| {
            let plan = plan(&[ScriptedFault::always(fault)]);
            (0..7).map(|_| if plan.meet(1, READ, s(0)) == effect { '#' } else { '.' }).collect::<String>()
        };
        assert_eq!(count(Fault::DropEvery { n: 3 }, Effect::Close), "..#..#.");
        assert_eq!(count(Fault::LateReply { by: s(1), every: 3 }, Effect::Late(s(1))), "#..#..#");
    }

    #[test]
    fn flapping_is_up_first_and_its_changes_can_be_followed() {
        let flapping = ScriptedFault::always(Fault::Flapping { up: s(3), down: s(2) });
        let plan = plan(&[ScriptedFault { from: s(1), until: Some(s(10)), ..flapping }]);
        let mut at = plan.started;
        let mut course = String::new();
        loop {
            let (reach, next) = plan.reach(at);
            course.push(if reach == Reach::Gone { '.' } else { '#' });
            let Some(next) = next else { break };
            course.push_str(&(next - at).as_secs().to_string());
            at = next;
        }
        assert_eq!(course, "#1#3.2#3.1#");
    }
}
