//! Which requests read a set of points: as few as the device, the protocol and the settings allow.
//!
//! Pure, and in O(n log n). What a device refuses comes in as [`Constraints`]; how that is found out is
//! `learn`'s affair, and what is done with the plan is `scan`'s.

use std::ops::Range;

use thiserror::Error;

use super::{MAX_READ_BITS, MAX_READ_REGISTERS, Point, Table};

/// How far reads are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSettings {
    /// Registers in one request, 1 to 125; a point with more gets a request of its own.
    pub max_registers_per_request: u16,
    /// Coils or discrete inputs in one request, 1 to 2000.
    pub max_bits_per_request: u16,
    /// Registers nobody asked for that are read along to save a request; of bits, sixteen times as many.
    pub max_gap: u16,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            max_registers_per_request: MAX_READ_REGISTERS,
            max_bits_per_request: MAX_READ_BITS,
            max_gap: 8,
        }
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key} must be {expected}")]
pub struct InvalidSetting {
    /// Which setting.
    pub key: &'static str,
    /// What it must be.
    pub expected: String,
}

impl PlanSettings {
    /// Whether the protocol can carry it.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let check = |key, value: u16, max: u16| {
            let expected = || format!("from 1 to {max}, not {value}");
            if (1..=max).contains(&value) {
                Ok(())
            } else {
                Err(InvalidSetting { key, expected: expected() })
            }
        };
        check("max_registers_per_request", self.max_registers_per_request, MAX_READ_REGISTERS)?;
        check("max_bits_per_request", self.max_bits_per_request, MAX_READ_BITS)
    }

    /// Out of the protocol's bounds is brought into them.
    pub(super) fn max_count(&self, table: Table) -> u16 {
        if table.is_bits() {
            self.max_bits_per_request.clamp(1, MAX_READ_BITS)
        } else {
            self.max_registers_per_request.clamp(1, MAX_READ_REGISTERS)
        }
    }

    fn max_gap(&self, table: Table) -> u32 {
        u32::from(self.max_gap) * if table.is_bits() { 16 } else { 1 }
    }
}

/// What a device is known to refuse in one table.
#[derive(Debug, Clone, Default)]
pub(super) struct TableConstraints {
    /// Every read of this table, with this exception.
    pub(super) all: Option<u8>,
    /// The most one request may ask for, where that is known.
    pub(super) max_count: Option<u16>,
    /// What no merged request may touch, sorted by start. An empty range is a boundary that none may cross.
    pub(super) holes: Vec<Range<u32>>,
    /// What is not even asked for now, with the exception it was refused with, sorted by start.
    pub(super) refused: Vec<(Range<u32>, u8)>,
}

/// What a device is known to refuse, by table in the order of [`Table::ALL`].
pub(super) type Constraints = [TableConstraints; 4];

/// One request and the points that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedRead {
    /// From which table.
    pub(super) table: Table,
    /// The first address.
    pub(super) start: u16,
    /// How many.
    pub(super) count: u16,
    /// Indices of the points, in order of their addresses.
    pub(super) members: Vec<u32>,
}

/// How to read a set of points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// In order of table and address.
    pub(super) requests: Vec<PlannedRead>,
    /// Points that aren't asked for, and the exception they were refused with.
    pub(super) refused: Vec<(u32, u8)>,
    /// Indices that no point has.
    pub(super) unknown: Vec<u32>,
}

/// Plans the points at these indices; an index that comes twice is read twice.
pub(super) fn plan(
    points: &[Point],
    indices: &[u32],
    settings: &PlanSettings,
    constraints: &Constraints,
) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = Vec::with_capacity(indices.len());
    for index in indices {
        match points.get(*index as usize) {
            Some(point) => wanted.push((point.table(), point.span().start, point.span().end, *index)),
            None => plan.unknown.push(*index),
        }
    }
    // Equal keys are equal points: stable enough.
    wanted.sort_unstable();
    for table in Table::ALL {
        let first = wanted.partition_point(|entry| entry.0 < table);
        let last = wanted.partition_point(|entry| entry.0 <= table);
        let entries = wanted[first..last].iter().map(|(_, start, end, index)| (*start..*end, *index));
        plan_table(&mut plan, table, entries, settings, &constraints[table.index()]);
    }
    plan
}

/// A request that is still growing.
struct Open {
    span: Range<u32>,
    members: Vec<u32>,
    /// Touches something that was refused: shared only by points with the same span.
    alone: bool,
}

fn plan_table(
    plan: &mut Plan,
    table: Table,
    entries: impl Iterator<Item = (Range<u32>, u32)>,
    settings: &PlanSettings,
    constraints: &TableConstraints,
) {
    let holes = Holes::new(&constraints.holes);
    let known = constraints.max_count.unwrap_or(u16::MAX).max(1);
    let max_count = u32::from(settings.max_count(table).min(known));
    let max_gap = settings.max_gap(table);
    let mut open: Option<Open> = None;
    for (span, index) in entries {
        if let Some(code) = refusal(constraints, &span) {
            plan.refused.push((index, code));
            continue;
        }
        let alone = holes.touch(&span);
        if let Some(open) = &mut open
            && joins(open, &span, alone, max_count, max_gap, &holes)
        {
            open.span.end = open.span.end.max(span.end);
            open.members.push(index);
            continue;
        }
        close(plan, table, open.replace(Open { span, members: vec![index], alone }));
    }
    close(plan, table, open);
}

fn joins(open: &Open, span: &Range<u32>, alone: bool, max_count: u32, max_gap: u32, holes: &Holes) -> bool {
    if open.span == *span {
        return true;
    }
    let joined = open.span.start..open.span.end.max(span.end);
    let gap = span.start.saturating_sub(open.span.end);
    !open.alone && !alone && joined.len() <= max_count as usize && gap <= max_gap && !holes.touch(&joined)
}

fn close(plan: &mut Plan, table: Table, open: Option<Open>) {
    let Some(Open { span, members, .. }) = open else { return };
    // Points lie inside their table, so neither can fail.
    let (Ok(start), Ok(count)) = (u16::try_from(span.start), u16::try_from(span.end - span.start)) else {
        return;
    };
    plan.requests.push(PlannedRead { table, start, count, members });
}

/// The exception that reading this span is known to be refused with: something within it was refused.
fn refusal(constraints: &TableConstraints, span: &Range<u32>) -> Option<u8> {
    let from = constraints.refused.partition_point(|(hole, _)| hole.start < span.start);
    let within = constraints.refused[from..].iter().take_while(|(hole, _)| hole.start < span.end);
    let known = within.filter(|(hole, _)| hole.end <= span.end).map(|(_, code)| *code).next();
    constraints.all.or(known)
}

/// Holes made disjoint, so that one binary search tells.
struct Holes {
    ranges: Vec<Range<u32>>,
    boundaries: Vec<u32>,
}

impl Holes {
    /// `holes` are sorted by start.
    fn new(holes: &[Range<u32>]) -> Self {
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for hole in holes.iter().filter(|hole| !hole.is_empty()) {
            match ranges.last_mut() {
                Some(last) if hole.start <= last.end => last.end = last.end.max(hole.end),
                _ => ranges.push(hole.clone()),
            }
        }
        let boundaries = holes.iter().filter(|hole| hole.is_empty()).map(|hole| hole.start).collect();
        Self { ranges, boundaries }
    }

    fn touch(&self, span: &Range<u32>) -> bool {
        let next = self.ranges.partition_point(|hole| hole.end <= span.start);
        let boundary = self.boundaries.partition_point(|place| *place <= span.start);
        self.ranges.get(next).is_some_and(|hole| hole.start < span.end)
            || self.boundaries.get(boundary).is_some_and(|place| *place < span.end)
    }
}

#[cfg(test)]
mod tests;
