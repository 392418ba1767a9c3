//! What a device was found to refuse, and when it is asked again.
//!
//! Per table: holes (addresses it refuses to read), boundaries (places no request may cross), the most that
//! one request may ask for, and whether it refuses the table's function altogether. Everything is tried
//! again after a while, doubling each time it is refused again. Pure but for the clock, which is handed in;
//! how a refusal is explained is `scan`'s affair.

use std::{ops::Range, time::Duration};

use bifrost_model::Timestamp;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::{
    Address, Table,
    plan::{Constraints, TableConstraints},
};

/// Refused places that are asked again in one scan: with many, one scan must not take ages.
const RETRIES_PER_SCAN: usize = 16;

/// When to try again what was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RetryDelays {
    /// After the first refusal.
    pub(super) first: Duration,
    /// Doubling ends here.
    pub(super) max: Duration,
}

/// A refusal and its next trial.
#[derive(Debug, Clone)]
struct Refusal {
    code: u8,
    since: Timestamp,
    delay: Duration,
    retry_at: Instant,
}

impl Refusal {
    fn new(code: u8, delays: RetryDelays, now: Instant) -> Self {
        Self { code, since: Timestamp::now(), delay: delays.first, retry_at: now + delays.first }
    }

    fn again(&mut self, code: u8, delays: RetryDelays, now: Instant) {
        self.code = code;
        self.delay = (self.delay * 2).min(delays.max.max(delays.first));
        self.retry_at = now + self.delay;
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.retry_at
    }

    fn to_json(&self, now: Instant) -> Json {
        let wait = self.retry_at.saturating_duration_since(now).as_secs();
        json!({"exception": self.code, "since": self.since, "retry_in_seconds": wait})
    }
}

/// What lies at a refused place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A point that was asked for by itself.
    Point,
    /// Only registers that are read along, or a boundary.
    Between,
}

#[derive(Debug, Clone)]
struct Hole {
    span: Range<u32>,
    place: Place,
    refusal: Refusal,
}

#[derive(Debug, Default)]
struct TableLearned {
    /// Sorted by start and end.
    holes: Vec<Hole>,
    /// The most that was ever answered at once.
    largest: u16,
    /// The least that was too much at once.
    too_many: Option<(u16, Refusal)>,
    /// The function itself.
    all: Option<Refusal>,
}

/// Everything learned of one device.
#[derive(Debug)]
pub(super) struct Learned {
    tables: [TableLearned; 4],
    delays: RetryDelays,
    news: u64,
}

impl Learned {
    pub(super) fn new(delays: RetryDelays) -> Self {
        Self { tables: Default::default(), delays, news: 0 }
    }

    /// Counts what would change a plan; a plan made at another count is outdated.
    pub(super) fn news(&self) -> u64 {
        self.news
    }

    pub(super) fn forget(&mut self) {
        self.tables = Default::default();
        self.news += 1;
    }

    fn table(&mut self, table: Table) -> &mut TableLearned {
        &mut self.tables[table.index()]
    }

    /// A read of this span was refused, and nothing smaller is to be found out.
    pub(super) fn refused(&mut self, table: Table, span: Range<u32>, place: Place, code: u8, now: Instant) {
        self.news += 1;
        let delays = self.delays;
        let holes = &mut self.table(table).holes;
        let key = |hole: &Hole| (hole.span.start, hole.span.end);
        match holes.binary_search_by_key(&(span.start, span.end), key) {
            Ok(known) => {
                holes[known].place = place;
                holes[known].refusal.again(code, delays, now);
            }
            Err(index) => {
                let refusal = Refusal::new(code, delays, now);
                holes.insert(index, Hole { span, place, refusal });
            }
        }
    }

    /// A request for so many was refused although its parts were answered.
    pub(super) fn too_many(&mut self, table: Table, count: u16, code: u8, now: Instant) {
        self.news += 1;
        let delays = self.delays;
        let learned = self.table(table);
        match &mut learned.too_many {
            // The same again: a trial that failed. Less than before: the search goes on.
            Some((known, refusal)) if *known == count => refusal.again(code, delays, now),
            Some((known, _)) => *known = count.min(*known),
            None => learned.too_many = Some((count, Refusal::new(code, delays, now))),
        }
    }

    /// The device refuses the function that reads this table.
    pub(super) fn table_refused(&mut self, table: Table, code: u8, now: Instant) {
        self.news += 1;
        let delays = self.delays;
        match &mut self.table(table).all {
            // Asked out of turn: that costs it no longer wait.
            Some(refusal) if !refusal.is_due(now) => refusal.code = code,
            Some(refusal) => refusal.again(code, delays, now),
            all => *all = Some(Refusal::new(code, delays, now)),
        }
    }

    /// This span was read in one request: what was believed to the contrary is wrong by now.
    pub(super) fn answered(&mut self, table: Table, span: &Range<u32>, now: Instant) {
        let learned = self.table(table);
        let count = u16::try_from(span.len()).unwrap_or(u16::MAX);
        let grown = count > learned.largest;
        learned.largest = learned.largest.max(count);
        let mut news = learned.all.take().is_some();
        if let Some((too_many, _)) = &learned.too_many {
            news |= grown;
            if count >= *too_many {
                learned.too_many = None;
            }
        }
        news |= learned.fill_holes(span, now);
        self.news += u64::from(news);
    }

    /// A device of which everything asked for was refused has begun to answer, `table` at least: it may have
    /// been starting up, so everything is tried again at once.
    pub(super) fn awake(&mut self, table: Table, now: Instant) {
        self.news += 1;
        self.table(table).all = None;
        for learned in &mut self.tables {
            let refusals = learned.holes.iter_mut().map(|hole| &mut hole.refusal).chain(&mut learned.all);
            refusals.for_each(|refusal| refusal.retry_at = now);
        }
    }

    /// The code with which the whole table is refused now.
    pub(super) fn refusal_of_table(&self, table: Table, now: Instant) -> Option<u8> {
        let refusal = self.tables[table.index()].all.as_ref()?;
        (!refusal.is_due(now)).then_some(refusal.code)
    }

    /// Whether so many at once have been answered from this table before.
    pub(super) fn has_answered(&self, table: Table, count: u16) -> bool {
        self.tables[table.index()].largest >= count
    }

    /// Whether so many at once are known to be too many.
    pub(super) fn is_too_many(&self, table: Table, count: u16) -> bool {
        self.tables[table.index()].too_many.as_ref().is_some_and(|(too_many, _)| count >= *too_many)
    }

    /// For planning; and when to plan again because something is due.
    pub(super) fn constraints(&self, now: Instant) -> (Constraints, Option<Instant>) {
        let mut constraints = Constraints::default();
        let mut again: Option<Instant> = None;
        for table in Table::ALL {
            let (of_table, next) = self.tables[table.index()].constraints(now);
            constraints[table.index()] = of_table;
            again = [again, next].into_iter().flatten().min();
        }
        (constraints, again)
    }

    /// For people.
    pub(super) fn to_json(&self, now: Instant) -> Json {
        let tables = Table::ALL.into_iter().map(|table| (table, &self.tables[table.index()]));
        let known = tables.filter(|(_, learned)| learned.is_something());
        known.map(|(table, learned)| (table.as_str().to_owned(), learned.to_json(table, now))).collect()
    }
}

impl TableLearned {
    /// Where one refused place answers again, the others are tried at once: it may have been the device.
    fn fill_holes(&mut self, span: &Range<u32>, now: Instant) -> bool {
        if self.holes.is_empty() {
            return false;
        }
        let filled = |hole: &Hole| {
            let inside = span.start <= hole.span.start && hole.span.end <= span.end;
            let crossed = span.start < hole.span.start && hole.span.start < span.end;
            if hole.span.is_empty() { crossed } else { inside }
        };
        let before = self.holes.len();
        self.holes.retain(|hole| !filled(hole));
        let news = self.holes.len() < before;
        if news {
            self.holes.iter_mut().for_each(|hole| hole.refusal.retry_at = now);
        }
        news
    }

    fn constraints(&self, now: Instant) -> (TableConstraints, Option<Instant>) {
        let mut constraints = TableConstraints::default();
        let mut again = self.due_of_table(now, &mut constraints);
        let mut retries = RETRIES_PER_SCAN;
        for hole in &self.holes {
            let due = hole.refusal.is_due(now) && retries > 0;
            retries -= usize::from(due);
            if !due {
                // Due beyond this scan's share: in the next.
                again = [again, Some(hole.refusal.retry_at.max(now))].into_iter().flatten().min();
            }
            match (hole.place, due) {
                (Place::Between, true) => continue,
                (Place::Point, false) => constraints.refused.push((hole.span.clone(), hole.refusal.code)),
                _ => {}
            }
            constraints.holes.push(hole.span.clone());
        }
        (constraints, again)
    }

    fn due_of_table(&self, now: Instant, constraints: &mut TableConstraints) -> Option<Instant> {
        let mut again = None;
        if let Some(refusal) = self.all.as_ref().filter(|refusal| !refusal.is_due(now)) {
            constraints.all = Some(refusal.code);
            again = Some(refusal.retry_at);
        }
        if let Some((too_many, refusal)) = &self.too_many {
            let due = refusal.is_due(now);
            constraints.max_count = Some(if due { *too_many } else { self.next_size(*too_many) });
            again = [again, (!due).then_some(refusal.retry_at)].into_iter().flatten().min();
        }
        again
    }

    /// Half way between what was answered and what was too much, until they meet.
    fn next_size(&self, too_many: u16) -> u16 {
        let good = self.largest.clamp(1, too_many.max(2) - 1);
        good + (too_many.saturating_sub(good)) / 2
    }

    fn is_something(&self) -> bool {
        self.largest > 0 || self.all.is_some() || self.too_many.is_some() || !self.holes.is_empty()
    }

    fn to_json(&self, table: Table, now: Instant) -> Json {
        let mut json = json!({"largest_answered": self.largest});
        if let Some(all) = &self.all {
            json["refused"] = all.to_json(now);
        }
        if let Some((too_many, refusal)) = &self.too_many {
            json["too_many_at_once"] = refusal.to_json(now);
            json["too_many_at_once"]["count"] = json!(too_many);
        }
        if !self.holes.is_empty() {
            json["holes"] = self.holes.iter().map(|hole| hole.to_json(table, now)).collect();
        }
        json
    }
}

impl Hole {
    fn to_json(&self, table: Table, now: Instant) -> Json {
        let mut json = self.refusal.to_json(now);
        let start = u16::try_from(self.span.start).unwrap_or(u16::MAX);
        json["address"] = json!(Address::new(table, start).describe());
        json["count"] = json!(self.span.len());
        json["kind"] = json!(match self.place {
            Place::Point => "tag",
            Place::Between if self.span.is_empty() => "boundary",
            Place::Between => "filler",
        });
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table::HoldingRegister;
    const FIRST: Duration = Duration::from_mins(10);
    const DELAYS: RetryDelays = RetryDelays { first: FIRST, max: Duration::from_mins(30) };

    fn of(learned: &Learned, now: Instant) -> TableConstraints {
        learned.constraints(now).0[TABLE.index()].clone()
    }

    #[test]
    fn a_refused_point_is_asked_again_at_its_time_and_later_each_time_up_to_the_limit() {
        let mut now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        for delay in [600, 1200, 1800, 1800] {
            learned.refused(TABLE, 5..6, Place::Point, 2, now);
            assert_eq!(of(&learned, now).refused, [(5..6, 2)]);
            let due = now + Duration::from_secs(delay);
            assert_eq!(learned.constraints(now).1, Some(due));
            assert_eq!(of(&learned, due).refused, []);
            let alone = of(&learned, due).holes;
            assert_eq!(alone, [5..6; 1], "asked for, by itself");
            now = due;
        }
    }

    #[test]
    fn a_hole_between_points_is_read_across_again_when_due() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        learned.refused(TABLE, 5..8, Place::Between, 2, now);
        assert_eq!(of(&learned, now).holes, [5..8; 1]);
        assert!(of(&learned, now).refused.is_empty());
        assert!(of(&learned, now + FIRST).holes.is_empty());
    }

    #[test]
    fn an_answer_fills_the_hole_and_has_the_others_tried() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        learned.refused(TABLE, 5..6, Place::Point, 2, now);
        learned.refused(TABLE, 9..10, Place::Point, 2, now);
        let news = learned.news();
        learned.answered(TABLE, &(5..6), now);
        assert!(learned.news() > news);
        assert_eq!(of(&learned, now).holes, [9..10; 1]);
        assert_eq!(of(&learned, now).refused, []);
    }

    #[test]
    fn answers_without_news_keep_plans_valid() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        learned.answered(TABLE, &(0..10), now);
        learned.refused(TABLE, 20..21, Place::Point, 2, now);
        let news = learned.news();
        learned.answered(TABLE, &(0..10), now);
        learned.answered(TABLE, &(0..12), now);
        assert_eq!(learned.news(), news);
    }

    #[test]
    fn the_real_maximum_is_searched_between_what_was_answered_and_what_was_refused() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        let mut sizes = Vec::new();
        learned.answered(TABLE, &(0..60), now);
        learned.too_many(TABLE, 120, 3, now);
        while let Some(size) = of(&learned, now).max_count.filter(|size| sizes.last() != Some(size)) {
            sizes.push(size);
            match size {
                0..=100 => learned.answered(TABLE, &(0..u32::from(size)), now),
                _ => learned.too_many(TABLE, size, 3, now),
            }
        }
        assert_eq!(sizes.last(), Some(&100));
        assert!(sizes.len() <= 7, "{sizes:?}");
        assert!(learned.is_too_many(TABLE, 101));
        assert_eq!(of(&learned, now + FIRST).max_count, Some(101), "tried again when due");
        learned.answered(TABLE, &(0..101), now + FIRST);
        assert_eq!(of(&learned, now + FIRST).max_count, None);
    }

    #[test]
    fn a_refused_function_is_asked_again_when_due_and_an_answer_ends_it() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        learned.table_refused(TABLE, 1, now);
        assert_eq!((of(&learned, now).all, learned.refusal_of_table(TABLE, now)), (Some(1), Some(1)));
        assert_eq!(of(&learned, now + FIRST).all, None);
        learned.answered(TABLE, &(0..1), now + FIRST);
        assert_eq!(of(&learned, now).all, None);
    }

    #[test]
    fn a_function_that_is_refused_out_of_turn_waits_no_longer_for_it() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        learned.table_refused(TABLE, 1, now);
        for second in 1..60 {
            learned.table_refused(TABLE, 1, now + Duration::from_secs(second));
        }
        assert_eq!(learned.constraints(now).1, Some(now + FIRST));
    }

    #[test]
    fn when_a_device_awakes_everything_refused_is_due_in_every_table() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        learned.refused(TABLE, 5..6, Place::Point, 2, now);
        learned.table_refused(TABLE, 1, now);
        learned.table_refused(Table::Coil, 1, now);
        let news = learned.news();
        learned.awake(TABLE, now);
        assert!(learned.news() > news);
        let constraints = learned.constraints(now).0;
        assert!(constraints.iter().all(|table| table.all.is_none() && table.refused.is_empty()));
    }

    #[test]
    fn many_refused_places_are_tried_a_few_in_each_scan() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        for place in 0..40 {
            learned.refused(TABLE, place..place + 1, Place::Point, 2, now);
        }
        let due = now + FIRST;
        let (constraints, again) = learned.constraints(due);
        assert_eq!(constraints[TABLE.index()].refused.len(), 40 - RETRIES_PER_SCAN);
        assert_eq!(again, Some(due));
    }

    #[test]
    fn people_see_what_was_learned_and_forgetting_forgets_it() {
        let now = Instant::now();
        let mut learned = Learned::new(DELAYS);
        learned.answered(TABLE, &(0..50), now);
        learned.refused(TABLE, 5..6, Place::Point, 2, now);
        learned.refused(TABLE, 9..9, Place::Between, 2, now);
        learned.too_many(TABLE, 60, 3, now);
        let json = learned.to_json(now);
        assert_eq!(json["holding"]["holes"][0]["address"], "holding:5 (Modicon 40006)");
        assert_eq!(json["holding"]["holes"][0]["retry_in_seconds"], 600);
        assert_eq!(json["holding"]["holes"][1]["kind"], "boundary");
        assert_eq!(json["holding"]["too_many_at_once"]["count"], 60);
        learned.forget();
        assert_eq!(learned.to_json(now), json!({}));
    }
}
