//! What waits for the connection: writes first, each kind in order of arrival.

use std::{cell::RefCell, collections::VecDeque};

use bifrost_drivers::{DeviceError, modbus::Priority};
use tokio::sync::Notify;

use super::messages::Carry;

pub(super) struct Queue {
    bound: usize,
    waiting: RefCell<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    writes: VecDeque<Carry>,
    reads: VecDeque<Carry>,
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, waiting: RefCell::default(), arrived: Notify::new() }
    }

    /// Lines a request up, or tells its sender that too many wait already.
    pub(super) fn push(&self, job: Carry) {
        let mut waiting = self.waiting.borrow_mut();
        let queue = match job.priority {
            Priority::Write => &mut waiting.writes,
            Priority::Read => &mut waiting.reads,
        };
        if queue.len() < self.bound {
            queue.push_back(job);
            self.arrived.notify_one();
        } else {
            let _ = job.reply.send(Err(DeviceError::Busy.into()));
        }
    }

    /// The next request that somebody still waits for.
    pub(super) async fn pop(&self) -> Carry {
        loop {
            if let Some(job) = self.try_pop() {
                return job;
            }
            self.arrived.notified().await;
        }
    }

    fn try_pop(&self) -> Option<Carry> {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            let waiting = &mut *waiting;
            let job = waiting.writes.pop_front().or_else(|| waiting.reads.pop_front())?;
            if !job.reply.is_closed() {
                return Some(job);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        let waiting = self.waiting.borrow();
        waiting.writes.len() + waiting.reads.len()
    }
}
