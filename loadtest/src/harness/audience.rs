//! Who hears what a gateway publishes by MQTT, and keeps count.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use bifrost_model::Timestamp;

use super::{
    message::glance,
    mqtt::Subscriber,
    tally::{Count, Flaws, Tally},
};
use crate::error::LoadError;

/// How long devices may take to be heard.
const PATIENCE: Duration = Duration::from_mins(1);

/// A subscriber that counts.
#[derive(Debug)]
pub(crate) struct Audience {
    tally: Arc<Mutex<Tally>>,
    _hearing: Subscriber,
}

impl Audience {
    /// Hears telemetry at a broker on this port of the loopback.
    pub(crate) fn at(port: u16) -> Result<Self, LoadError> {
        let tally = Arc::<Mutex<Tally>>::default();
        let into = Arc::clone(&tally);
        let hear = move |payload: &[u8]| {
            let (now, at) = (Timestamp::now().as_micros(), Instant::now());
            lock(&into).add(glance(payload), payload.len(), now, at);
        };
        let subscriber = Subscriber::start(port, "bifrost/telemetry/#", hear)?;
        Ok(Self { tally, _hearing: subscriber })
    }

    /// Waits until so many devices were heard.
    pub(crate) fn hears(&self, devices: u16) -> Result<(), LoadError> {
        let begin = Instant::now();
        while lock(&self.tally).devices() < usize::from(devices) {
            if begin.elapsed() > PATIENCE {
                let heard = lock(&self.tally).devices();
                return Err(LoadError::Unreadable(format!(
                    "what is published ({heard} of {devices} devices within {PATIENCE:?})"
                )));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Counts anew.
    pub(crate) fn begin(&self) {
        lock(&self.tally).forget_counts();
    }

    /// Counts live messages anew.
    pub(crate) fn begin_live(&self) {
        lock(&self.tally).live = Count::default();
    }

    /// Live and historical messages since the beginning.
    pub(crate) fn counts(&self) -> (Count, Count) {
        let tally = lock(&self.tally);
        (tally.live.clone(), tally.historical.clone())
    }

    /// Counts for so long, and answers what was heard live and how long it was in seconds.
    pub(crate) fn count_for(&self, window: Duration) -> (Count, f64) {
        self.begin();
        let begin = Instant::now();
        sleep(window);
        let (live, _) = self.counts();
        (live, begin.elapsed().as_secs_f64())
    }

    /// Historical messages since the beginning.
    pub(crate) fn backlog(&self) -> u64 {
        lock(&self.tally).historical.messages
    }

    /// What was lost or repeated so far, of devices with so many tags.
    pub(crate) fn flaws(&self, tags: u16) -> Flaws {
        lock(&self.tally).flaws(tags)
    }
}

/// Whoever panicked, a count stays one.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
