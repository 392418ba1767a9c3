//! What can go wrong with a PLC, and when: the vocabulary of scripts, and the arithmetic of their times.
//! What is wrong now is `plan`'s affair; what comes of it, `device`'s and `session`'s.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    SimulatorError,
    settings::{AddressRange, Table},
};

/// One way to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The PLC is gone: nobody listens, and every connection is closed.
    Refuse,
    /// Connects and reads, and never answers.
    Silence,
    /// A slow PLC: it takes `by` for each request, one after the other on each connection.
    Delay {
        /// How long it takes.
        #[serde(with = "humantime_serde")]
        by: Duration,
    },
    /// The first of every `every` requests is answered after `by`, the others at once, before it.
    LateReply {
        /// How late.
        #[serde(with = "humantime_serde")]
        by: Duration,
        /// Of how many requests one is late; 1 makes each of them late, and none waits for another.
        #[serde(default = "every_second")]
        every: u64,
    },
    /// Answers carry the request's transaction id plus one. RTU has none: it answers rightly.
    WrongTransactionId,
    /// Answers carry the request's unit plus one.
    WrongUnit,
    /// Of each answer the first half is sent, and no more.
    TruncatedFrame,
    /// Instead of each answer come 1 to 64 random bytes.
    Garbage,
    /// Requests are refused.
    Exception {
        /// The exception code, 1 to 255.
        code: u8,
        /// Only those that touch this table.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<Table>,
        /// Only those that touch these addresses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<AddressRange>,
    },
    /// Connections are accepted and stay open; nothing is read and nothing answered.
    HalfOpen,
    /// As if there were no fault for `up`, then gone as with `Refuse` for `down`, and again.
    Flapping {
        /// How long it is there.
        #[serde(with = "humantime_serde")]
        up: Duration,
        /// How long it is gone.
        #[serde(with = "humantime_serde")]
        down: Duration,
    },
    /// Each `n`-th request, of all connections together, closes its connection instead of being answered.
    DropEvery {
        /// Which one.
        n: u64,
    },
}

fn every_second() -> u64 {
    2
}

impl Fault {
    /// Whether it is one of connections, which no single unit can have for itself.
    pub fn is_of_connections(&self) -> bool {
        matches!(self, Self::Refuse | Self::HalfOpen | Self::Flapping { .. })
    }

    pub(crate) fn validate(&self) -> Result<(), SimulatorError> {
        let (key, reason) = match self {
            Self::LateReply { every: 0, .. } => ("fault.late_reply.every", "must be at least 1"),
            Self::DropEvery { n: 0 } => ("fault.drop_every.n", "must be at least 1"),
            Self::Exception { code: 0, .. } => ("fault.exception.code", "must be from 1 to 255"),
            Self::Flapping { up, down } if up.is_zero() || down.is_zero() => {
                ("fault.flapping", "up and down must be longer than nothing")
            }
            _ => return Ok(()),
        };
        Err(SimulatorError::setting(key, reason))
    }
}

/// A fault and when it happens; times count from the PLC's first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedFault {
    /// What happens.
    pub fault: Fault,
    /// To one unit only, while the others are well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u8>,
    /// When it begins.
    #[serde(default, with = "humantime_serde")]
    pub from: Duration,
    /// When it is over for good; without it and `for`, never.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub until: Option<Duration>,
    /// How long it lasts (`for` in a file); with `every`, each time.
    #[serde(default, rename = "for", with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// It begins again so long after its last beginning.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
}

impl ScriptedFault {
    /// This fault, from the start and for ever.
    pub fn always(fault: Fault) -> Self {
        Self { fault, unit: None, from: Duration::ZERO, until: None, lasts: None, every: None }
    }

    /// The same for one unit only.
    #[must_use]
    pub fn of_unit(self, unit: u8) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// The same from `from` on, for `lasts`.
    #[must_use]
    pub fn between(self, from: Duration, lasts: Duration) -> Self {
        Self { from, lasts: Some(lasts), ..self }
    }

    pub(crate) fn validate(&self, units: &[u8]) -> Result<(), SimulatorError> {
        self.fault.validate()?;
        let (key, reason) = match (self.unit, self.until, self.lasts, self.every) {
            (Some(_), ..) if self.fault.is_of_connections() => {
                ("unit", "this fault is one of connections, which no unit can have for itself")
            }
            (Some(unit), ..) if !units.contains(&unit) => ("unit", "is none of unit_ids"),
            (_, Some(until), ..) if until <= self.from => ("until", "must be later than from"),
            (_, Some(_), Some(_), None) => ("until", "say either until or for, or add every"),
            (_, _, Some(lasts), _) if lasts.is_zero() => ("for", "must be longer than nothing"),
            (_, _, None, Some(_)) => ("every", "needs for: how long it lasts each time"),
            (_, _, Some(lasts), Some(every)) if every <= lasts => ("every", "must be longer than for"),
            _ => return Ok(()),
        };
        Err(SimulatorError::setting(key, reason))
    }

    /// When the occurrence of this moment began; nothing while it isn't active.
    pub(crate) fn began(&self, at: Duration) -> Option<Duration> {
        if self.until.is_some_and(|until| at >= until) {
            return None;
        }
        let since = at.checked_sub(self.from)?;
        let into = self.every.map_or(since, |every| modulo(since, every));
        self.lasts.is_none_or(|lasts| into < lasts).then(|| at.saturating_sub(into))
    }

    /// The next moment after this one at which it begins or ends.
    pub(crate) fn next_change(&self, at: Duration) -> Option<Duration> {
        if self.until.is_some_and(|until| at >= until) {
            return None;
        }
        let Some(since) = at.checked_sub(self.from) else { return Some(self.from) };
        let into = self.every.map_or(since, |every| modulo(since, every));
        let change = match (self.lasts, self.every) {
            (Some(lasts), _) if into < lasts => Some(at.saturating_add(lasts.saturating_sub(into))),
            (_, Some(every)) => Some(at.saturating_add(every.saturating_sub(into))),
            _ => None,
        };
        [change, self.until].into_iter().flatten().min()
    }
}

/// How far `time` is into its period; 0 for a period of nothing.
pub(crate) fn modulo(time: Duration, period: Duration) -> Duration {
    let rest = time.as_nanos().checked_rem(period.as_nanos()).unwrap_or_default();
    Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn always() -> ScriptedFault {
        ScriptedFault::always(Fault::Silence)
    }

    fn course(script: &ScriptedFault, until: u64) -> String {
        (0..until).map(|second| if script.began(s(second)).is_some() { '#' } else { '.' }).collect()
    }

    #[test]
    fn windows_open_and_close_when_they_say() {
        for (script, expected) in [
            (always(), "############"),
            (ScriptedFault { from: s(3), ..always() }, "...#########"),
            (ScriptedFault { from: s(3), until: Some(s(5)), ..always() }, "...##......."),
            (always().between(s(3), s(4)), "...####....."),
            (ScriptedFault { every: Some(s(4)), ..always().between(s(1), s(1)) }, ".#...#...#.."),
            (
                ScriptedFault { every: Some(s(4)), until: Some(s(7)), ..always().between(s(1), s(3)) },
                ".###.##.....",
            ),
        ] {
            assert_eq!(course(&script, 12), expected, "{script:?}");
        }
    }

    #[test]
    fn following_the_changes_misses_none() {
        for script in [
            ScriptedFault { from: s(3), until: Some(s(5)), ..always() },
            always().between(s(3), s(4)),
            ScriptedFault { every: Some(s(4)), until: Some(s(30)), ..always().between(s(1), s(3)) },
        ] {
            let mut changes = vec![s(0)];
            while let Some(next) = script.next_change(*changes.last().unwrap()) {
                assert!(next > *changes.last().unwrap());
                changes.push(next);
            }
            for pair in changes.windows(2) {
                let just_before = pair[1].saturating_sub(Duration::from_nanos(1));
                assert_eq!(script.began(pair[0]).is_some(), script.began(just_before).is_some());
            }
            assert!(script.began(*changes.last().unwrap()).is_none());
        }
    }

    #[test]
    fn senseless_scripts_are_refused_by_their_key() {
        for (script, key) in [
            (ScriptedFault::always(Fault::Refuse).of_unit(1), "unit"),
            (always().of_unit(9), "unit"),
            (ScriptedFault { from: s(5), until: Some(s(5)), ..always() }, "until"),
            (ScriptedFault { until: Some(s(9)), ..always().between(s(0), s(1)) }, "until"),
            (always().between(s(0), s(0)), "for"),
            (ScriptedFault { every: Some(s(5)), ..always() }, "every"),
            (ScriptedFault { every: Some(s(1)), ..always().between(s(0), s(1)) }, "every"),
            (ScriptedFault::always(Fault::DropEvery { n: 0 }), "fault.drop_every.n"),
            (ScriptedFault::always(Fault::LateReply { by: s(1), every: 0 }), "fault.late_reply.every"),
            (
                ScriptedFault::always(Fault::Exception { code: 0, table: None, range: None }),
                "fault.exception",
            ),
            (ScriptedFault::always(Fault::Flapping { up: s(0), down: s(1) }), "fault.flapping"),
        ] {
            let error = script.validate(&[1, 2]).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
        always().of_unit(2).validate(&[1, 2]).unwrap();
    }
}
