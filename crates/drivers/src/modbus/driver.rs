//! A Modbus device as a [`Driver`]: its points, what was learned of it, and the plans made from both.
//!
//! Opens no connection and keeps no schedule. The same sets of tags are read again and again, so each set's
//! plan is kept until something is learned or due.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bifrost_model::{Reading, Reason, Value};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::{
    Exchange, InvalidSetting, MAX_WRITE_REGISTERS, PlanSettings, Point, codec,
    learn::{Learned, RetryDelays},
    plan::{Plan, plan},
    scan::Scan,
    write::Habits,
};
use crate::{DeviceError, Driver, WriteError};

/// Plans that are kept: a device has few groups of tags, and people ask for other sets now and then.
const MAX_PLANS: usize = 16;

/// How a device is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverSettings {
    /// How far reads are merged.
    pub plan: PlanSettings,
    /// How often a request is repeated while the device says that it is busy (exception 06; reads: 05 too).
    pub busy_retries: u32,
    /// The pause before each repetition.
    pub busy_delay: Duration,
    /// When a refused address is asked again for the first time; each refusal doubles the wait.
    pub hole_retry: Duration,
    /// Where the doubling ends.
    pub hole_retry_max: Duration,
    /// How often one refused address is asked again, in turn, while everything that is to be read is refused:
    /// a device that is starting up, or gone, is noticed. Zero: in every scan.
    pub probe_interval: Duration,
    /// Requests that one scan may spend on finding out what in a refused request is to blame.
    pub max_inquiries_per_scan: u16,
}

impl Default for DriverSettings {
    fn default() -> Self {
        Self {
            plan: PlanSettings::default(),
            busy_retries: 3,
            busy_delay: Duration::from_millis(100),
            hole_retry: Duration::from_mins(10),
            hole_retry_max: Duration::from_hours(6),
            probe_interval: Duration::from_secs(5),
            max_inquiries_per_scan: 128,
        }
    }
}

impl DriverSettings {
    /// Whether a device can be read so.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.plan.validate()?;
        if self.hole_retry.is_zero() {
            let expected = "longer than nothing".to_owned();
            return Err(InvalidSetting { key: "hole_retry", expected });
        }
        if self.hole_retry_max < self.hole_retry {
            let expected = "at least as long as hole_retry".to_owned();
            return Err(InvalidSetting { key: "hole_retry_max", expected });
        }
        Ok(())
    }
}

/// One Modbus unit.
#[derive(Debug)]
pub struct ModbusDriver<E> {
    pub(super) exchange: E,
    pub(super) unit: u8,
    pub(super) points: Arc<[Point]>,
    pub(super) settings: DriverSettings,
    pub(super) learned: RefCell<Learned>,
    pub(super) habits: Cell<Habits>,
    /// The last used first.
    plans: RefCell<Vec<Rc<KeptPlan>>>,
}

/// The plan for one set of tags.
#[derive(Debug)]
struct KeptPlan {
    tags: Box<[u32]>,
    plan: Plan,
    /// What was known when it was made.
    news: u64,
    /// When something that was refused is due again.
    outdated_at: Option<Instant>,
    /// With which request a scan begins: after the one that cut the last scan off.
    first: Cell<usize>,
    /// Only of use where nothing is left to ask for.
    probe: Cell<Probe>,
}

/// Which refused tag is asked for next although its time hasn't come, and when.
#[derive(Debug, Clone, Copy)]
struct Probe {
    turn: usize,
    at: Instant,
}

impl KeptPlan {
    /// Every tag there is is refused: no request of this plan would tell how the device is.
    fn is_blind(&self) -> bool {
        self.plan.requests.is_empty() && !self.plan.refused.is_empty()
    }

    /// The refused tag that is to be asked for now.
    fn probe_due(&self) -> Option<u32> {
        let probe = self.probe.get();
        if !self.is_blind() || Instant::now() < probe.at {
            return None;
        }
        let (tag, _) = self.plan.refused.get(probe.turn % self.plan.refused.len())?;
        Some(*tag)
    }

    fn is_valid(&self, news: u64) -> bool {
        self.news == news && self.outdated_at.is_none_or(|at| Instant::now() < at)
    }

    fn probe_again_in(&self, interval: Duration) {
        let turn = self.probe.get().turn.wrapping_add(1);
        self.probe.set(Probe { turn, at: Instant::now() + interval });
    }

    fn to_json(&self) -> Json {
        let requests = self.plan.requests.iter().map(|read| {
            let tags = read.members.len();
            json!({"table": read.table.as_str(), "start": read.start, "count": read.count, "tags": tags})
        });
        json!({
            "tags": self.tags.len(),
            "refused": self.plan.refused.len(),
            "requests": requests.collect::<Json>(),
        })
    }
}

impl<E: Exchange> ModbusDriver<E> {
    /// Tags are indices into `points`. `unit` is the unit id, 1 to 247, or 255 or 0 for a device that is
    /// addressed by its IP address alone.
    pub fn new(exchange: E, unit: u8, points: impl Into<Arc<[Point]>>, settings: DriverSettings) -> Self {
        let delays = RetryDelays { first: settings.hole_retry, max: settings.hole_retry_max };
        Self {
            exchange,
            unit,
            points: points.into(),
            settings,
            learned: RefCell::new(Learned::new(delays)),
            habits: Cell::default(),
            plans: RefCell::default(),
        }
    }

    /// The kept plan for these tags, made anew when it is outdated.
    fn plan_for(&self, tags: &[u32]) -> Rc<KeptPlan> {
        let mut plans = self.plans.borrow_mut();
        let found = plans.iter().position(|kept| *kept.tags == *tags);
        let learned = self.learned.borrow();
        if let Some(index) = found {
            plans[..=index].rotate_right(1);
            if plans[0].is_valid(learned.news()) {
                return Rc::clone(&plans[0]);
            }
        } else {
            plans.truncate(MAX_PLANS - 1);
        }
        let (constraints, outdated_at) = learned.constraints(Instant::now());
        let plan = plan(&self.points, tags, &self.settings.plan, &constraints);
        let before = found.map(|_| &plans[0]);
        let first = before.map_or(0, |before| before.first.get());
        let at = Instant::now() + self.settings.probe_interval;
        let probe = before.map_or(Probe { turn: 0, at }, |before| before.probe.get());
        let made = Rc::new(KeptPlan {
            tags: tags.into(),
            plan,
            news: learned.news(),
            outdated_at,
            first: first.into(),
            probe: probe.into(),
        });
        match found {
            Some(_) => plans[0] = Rc::clone(&made),
            None => plans.insert(0, Rc::clone(&made)),
        }
        made
    }

    async fn scan(&self, tags: &[u32], out: &mut Vec<Reading>) -> Result<(), DeviceError> {
        let mut kept = self.plan_for(tags);
        let mut scan = Scan::new(self, out);
        if let Some(tag) = kept.probe_due()
            // Until it says something, every scan asks: a silent device must not pass for a refusing one.
            && let Some(awake) = scan.probe(tag).await?
        {
            kept.probe_again_in(self.settings.probe_interval);
            if awake {
                kept = self.plan_for(tags);
            }
        } else if !kept.is_blind() {
            kept.probe_again_in(self.settings.probe_interval);
        }
        for (tag, code) in &kept.plan.refused {
            scan.bad(&[*tag], Reason::Refused(*code));
        }
        scan.bad(&kept.plan.unknown, Reason::NotYetRead);
        let requests = &kept.plan.requests;
        let first = kept.first.get();
        for step in 0..requests.len() {
            let index = (first + step) % requests.len();
            let result = scan.read(&requests[index]).await;
            match result {
                // A device that is silent at one address must not keep the rest from being read for ever.
                Err(DeviceError::Timeout(_) | DeviceError::Transport(_)) => kept.first.set(index + 1),
                Err(DeviceError::NotAsked(_)) => kept.first.set(index),
                _ => {}
            }
            result?;
        }
        Ok(())
    }

    fn plans_to_json(&self) -> Json {
        self.plans.borrow().iter().map(|kept| kept.to_json()).collect()
    }
}

impl<E: Exchange> Driver for ModbusDriver<E> {
    fn read<'a>(
        &'a self,
        tags: &'a [u32],
        out: &'a mut Vec<Reading>,
    ) -> LocalBoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(self.scan(tags, out))
    }

    fn write<'a>(
        &'a self,
        tag: u32,
        value: &'a Value,
        read_back: bool,
    ) -> LocalBoxFuture<'a, Result<Option<Value>, WriteError>> {
        Box::pin(self.write_tag(tag, value, read_back))
    }

    fn check_write(&self, tag: u32, value: &Value) -> Result<(), WriteError> {
        self.writable(tag, value).map(|_| ())
    }

    /// `{"tables":{…},"writes":{…},"plans":[…]}`: per table what is refused, how writes are made, and the
    /// requests of each set of tags that was read lately.
    fn learned(&self) -> Json {
        json!({
            "tables": self.learned.borrow().to_json(Instant::now()),
            "writes": self.habits.get().to_json(),
            "plans": self.plans_to_json(),
        })
    }

    fn forget(&self) {
        self.learned.borrow_mut().forget();
        self.habits.take();
    }
}

impl<E> ModbusDriver<E> {
    /// The point and its registers, when the protocol can write it at all.
    pub(super) fn writable(&self, tag: u32, value: &Value) -> Result<(&Point, Vec<u16>), WriteError> {
        let refuse = WriteError::Unacceptable;
        let point = self.points.get(tag as usize);
        let point = point.ok_or_else(|| refuse(format!("the device has no tag number {tag}")))?;
        if !point.table().is_writable() {
            return Err(refuse(format!("{} can only be read", point.address().describe())));
        }
        if point.count() > MAX_WRITE_REGISTERS {
            let (count, max) = (point.count(), MAX_WRITE_REGISTERS);
            return Err(refuse(format!("{count} registers can't be written at once, at most {max} can")));
        }
        let registers = codec::encode(point, value).map_err(|error| refuse(error.to_string()))?;
        Ok((point, registers))
    }
}

#[cfg(test)]
mod tests;
