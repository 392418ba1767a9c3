//! Alarms: one per cause, told on transitions only.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bifrost_model::{Alarm, AlarmState, Severity};

pub(super) struct Alarms {
    active: HashMap<String, Arc<Alarm>>,
    cleared: VecDeque<Arc<Alarm>>,
    bound: usize,
}

impl Alarms {
    pub(super) fn new(bound: usize) -> Self {
        Self { active: HashMap::new(), cleared: VecDeque::new(), bound }
    }

    /// Takes a state in; answers it when it is a transition.
    pub(super) fn set(&mut self, alarm: Alarm) -> Option<Arc<Alarm>> {
        match (alarm.state, self.active.get(&alarm.alarm_id)) {
            (AlarmState::Active, Some(_)) | (AlarmState::Cleared, None) => None,
            (AlarmState::Active, None) => {
                let alarm = Arc::new(alarm);
                self.active.insert(alarm.alarm_id.clone(), Arc::clone(&alarm));
                Some(alarm)
            }
            (AlarmState::Cleared, Some(active)) => {
                let severity: Severity = active.severity;
                let acknowledged = active.acknowledged;
                self.active.remove(&alarm.alarm_id);
                let alarm = Arc::new(Alarm { severity, acknowledged, ..alarm });
                self.cleared.push_front(Arc::clone(&alarm));
                self.cleared.truncate(self.bound);
                Some(alarm)
            }
        }
    }

    /// Somebody has taken note of an active alarm.
    pub(super) fn acknowledge(&mut self, id: &str) -> Option<Arc<Alarm>> {
        let alarm = self.active.get_mut(id)?;
        let noted = Alarm { acknowledged: true, ..(**alarm).clone() };
        *alarm = Arc::new(noted);
        Some(Arc::clone(alarm))
    }

    /// Active ones first, each kind newest first.
    pub(super) fn list(&self, active_only: bool) -> Vec<Arc<Alarm>> {
        let mut alarms: Vec<_> = self.active.values().cloned().collect();
        alarms.sort_by(|a, b| b.timestamp.cmp(&a.timestamp).then_with(|| a.alarm_id.cmp(&b.alarm_id)));
        if !active_only {
            alarms.extend(self.cleared.iter().cloned());
        }
        alarms
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Arc<Alarm>> {
        self.active.values()
    }
}

#[cfg(test)]
mod tests {
    use bifrost_model::Timestamp;

    use super::*;

    fn alarm(state: AlarmState) -> Alarm {
        Alarm {
            alarm_id: "a".to_owned(),
            device_id: "press-1".into(),
            alarm_type: "actor_failed",
            severity: Severity::Error,
            state,
            timestamp: Timestamp::from_micros(0),
            message: String::new(),
            value: None,
            threshold: None,
            acknowledged: false,
        }
    }

    #[test]
    fn an_alarm_is_told_when_it_comes_and_when_it_goes_and_not_in_between() {
        let mut alarms = Alarms::new(10);
        let states = [AlarmState::Cleared, AlarmState::Active, AlarmState::Active, AlarmState::Cleared];
        let told: Vec<_> = states.map(|state| alarms.set(alarm(state)).is_some()).into();
        assert_eq!(told, [false, true, false, true]);
        assert_eq!((alarms.list(true).len(), alarms.list(false).len()), (0, 1));
    }

    #[test]
    fn cleared_alarms_are_bounded() {
        let mut alarms = Alarms::new(2);
        for _ in 0..5 {
            alarms.set(alarm(AlarmState::Active));
            alarms.set(alarm(AlarmState::Cleared));
        }
        assert_eq!(alarms.list(false).len(), 2);
    }

    #[test]
    fn acknowledging_what_is_not_active_is_answered_with_nothing() {
        assert_eq!(Alarms::new(2).acknowledge("a"), None);
    }
}
