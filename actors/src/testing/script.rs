//! A device that answers as its script says.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bifrost_drivers::{DeviceError, Driver, WriteError};
use bifrost_model::{Quality, Reading, Reason, Value};
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::link::Traffic;

/// How a device answers scans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Every tag with this number.
    Answers(f64),
    /// Every tag with the number of scans so far.
    Counts,
    /// The first tag, and then silence.
    HalfSilent(f64),
    /// Not at all.
    Silent,
    /// There is no connection.
    Unreachable,
    /// Every tag is refused with this code.
    Refuses(u8),
    /// The gateway in front of it doesn't reach it.
    BehindGateway(u8),
    /// The driver panics.
    Panics,
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WriteOutcome {
    /// It is acknowledged.
    Taken,
    /// It is refused with this code.
    Refused(u8),
    /// It isn't answered.
    Unanswered,
    /// The value doesn't go into the tag.
    Unacceptable,
}

/// What a device does, to be changed while it runs.
#[derive(Clone)]
pub struct Script(Arc<Mutex<State>>);

struct State {
    mode: Mode,
    scan_takes: Duration,
    write: WriteOutcome,
    write_takes: Duration,
    timeout: Duration,
    scans: Vec<Instant>,
    writes: Vec<(u32, Value)>,
    at_once: usize,
    most_at_once: usize,
}

impl Script {
    /// Answers at once in this mode, and takes writes.
    pub fn new(mode: Mode) -> Self {
        Self(Arc::new(Mutex::new(State {
            mode,
            scan_takes: Duration::ZERO,
            write: WriteOutcome::Taken,
            write_takes: Duration::ZERO,
            timeout: Duration::from_secs(1),
            scans: Vec::new(),
            writes: Vec::new(),
            at_once: 0,
            most_at_once: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the next scan on.
    pub fn mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// How long a scan takes from now on.
    pub fn scan_takes(&self, time: Duration) {
        self.state().scan_takes = time;
    }

    /// What becomes of writes from now on, and how long each takes.
    pub fn writes_go(&self, outcome: WriteOutcome, time: Duration) {
        let mut state = self.state();
        (state.write, state.write_takes) = (outcome, time);
    }

    /// When scans began.
    pub fn scans(&self) -> Vec<Instant> {
        self.state().scans.clone()
    }

    /// What was written, in order.
    pub fn written(&self) -> Vec<(u32, Value)> {
        self.state().writes.clone()
    }

    /// How many scans were under way at the same time at most.
    pub fn most_scans_at_once(&self) -> usize {
        self.state().most_at_once
    }

    pub(super) fn driver(&self, traffic: Rc<Traffic>) -> Rc<dyn Driver> {
        Rc::new(ScriptedDriver { script: self.clone(), traffic })
    }
}

struct ScriptedDriver {
    script: Script,
    traffic: Rc<Traffic>,
}

/// Counts a scan as under way until it is dropped.
struct UnderWay(Script);

impl UnderWay {
    fn begin(script: &Script) -> Self {
        let mut state = script.state();
        state.scans.push(Instant::now());
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        Self(script.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

impl ScriptedDriver {
    fn good(&self, tags: &[u32], number: f64, out: &mut Vec<Reading>) {
        self.traffic.last_answer.set(Some(Instant::now()));
        let value = Value::Float64(number);
        out.extend(tags.iter().map(|&tag| Reading {
            tag,
            quality: Quality::Good,
            reason: Reason::None,
            value: value.clone(),
        }));
    }

    async fn scan(&self, tags: &[u32], out: &mut Vec<Reading>) -> Result<(), DeviceError> {
        let _under_way = UnderWay::begin(&self.script);
        let (mode, takes, timeout, count) = {
            let state = self.script.state();
            (state.mode, state.scan_takes, state.timeout, state.scans.len())
        };
        tokio::time::sleep(takes).await;
        match mode {
            Mode::Answers(number) => self.good(tags, number, out),
            Mode::Counts => self.good(tags, f64::from(u32::try_from(count).unwrap_or(0)), out),
            Mode::HalfSilent(number) => {
                self.good(&tags[..1], number, out);
                tokio::time::sleep(timeout).await;
                return Err(DeviceError::Timeout(timeout));
            }
            Mode::Silent => {
                tokio::time::sleep(timeout).await;
                return Err(DeviceError::Timeout(timeout));
            }
            Mode::Unreachable => return Err(DeviceError::Offline("scripted".to_owned())),
            Mode::Refuses(code) => {
                self.traffic.last_answer.set(Some(Instant::now()));
                let (quality, reason) = (Quality::Bad, Reason::Refused(code));
                out.extend(tags.iter().map(|&tag| Reading { tag, quality, reason, value: Value::Null }));
            }
            Mode::BehindGateway(code) => return Err(DeviceError::UnitUnreachable { unit: 1, code }),
            Mode::Panics => panic!("scripted panic in a scan"),
        }
        Ok(())
    }
}

impl Driver for ScriptedDriver {
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
        Box::pin(async move {
            let (outcome, takes) = {
                let mut state = self.script.state();
                state.writes.push((tag, value.clone()));
                (state.write, state.write_takes)
            };
            tokio::time::sleep(takes).await;
            match outcome {
                WriteOutcome::Refused(code) => Err(WriteError::Refused(code)),
                WriteOutcome::Unanswered => Err(DeviceError::Timeout(takes).into()),
                WriteOutcome::Taken | WriteOutcome::Unacceptable => Ok(read_back.then(|| value.clone())),
            }
        })
    }

    fn check_write(&self, _: u32, _: &Value) -> Result<(), WriteError> {
        match self.script.state().write {
            WriteOutcome::Unacceptable => Err(WriteError::Unacceptable("scripted".to_owned())),
            _ => Ok(()),
        }
    }

    fn learned(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn forget(&self) {}
}
