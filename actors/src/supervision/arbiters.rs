//! The threads that actors live on.

use actix_rt::{Arbiter, ArbiterHandle};

/// Where an actor lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// With the tree itself.
    Home,
    /// On one of the worker threads; counted round when there are fewer.
    Worker(usize),
}

/// One thread for the tree and what is chatty with it, and one per core for devices.
#[derive(Debug)]
pub struct Arbiters {
    workers: Vec<ArbiterHandle>,
}

impl Arbiters {
    /// Starts worker threads; with none, everything lives on the caller's own arbiter, as tests with
    /// virtual time need it.
    pub fn start(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Arbiter::new().handle()).collect() }
    }

    /// How many workers there are, at least one counting the caller's arbiter.
    pub fn count(&self) -> usize {
        self.workers.len().max(1)
    }

    /// The thread of a placement. Must be called inside an actix system.
    pub fn handle(&self, placement: Placement) -> ArbiterHandle {
        match placement {
            Placement::Worker(index) if !self.workers.is_empty() => {
                self.workers[index % self.workers.len()].clone()
            }
            _ => Arbiter::current(),
        }
    }

    /// Gives a placement a new thread, because the old one is stuck; the old one ends when it gets unstuck.
    ///
    /// Returns whether there was something to replace: the tree's own thread can't be.
    pub fn replace(&mut self, placement: Placement) -> bool {
        let (Placement::Worker(index), false) = (placement, self.workers.is_empty()) else {
            return false;
        };
        let index = index % self.workers.len();
        let stuck = std::mem::replace(&mut self.workers[index], Arbiter::new().handle());
        stuck.stop();
        true
    }

    /// Ends the worker threads and all that still lives on them.
    pub fn stop(&self) {
        for worker in &self.workers {
            worker.stop();
        }
    }
}
