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
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    handle: ArbiterHandle,
    generation: u64,
}

impl Worker {
    fn start(generation: u64) -> Self {
        Self { handle: Arbiter::new().handle(), generation }
    }
}

impl Arbiters {
    /// Starts worker threads; with none, everything lives on the caller's own arbiter, as tests with
    /// virtual time need it.
    pub fn start(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Worker::start(0)).collect() }
    }

    /// How many workers there are, at least one counting the caller's arbiter.
    pub fn count(&self) -> usize {
        self.workers.len().max(1)
    }

    /// The thread of a placement. Must be called inside an actix system.
    pub fn handle(&self, placement: Placement) -> ArbiterHandle {
        match placement {
            Placement::Worker(index) if !self.workers.is_empty() => {
                self.workers[index % self.workers.len()].handle.clone()
            }
            _ => Arbiter::current(),
        }
    }

    /// Which thread a placement has now: counts up each time that it is replaced.
    pub fn generation(&self, placement: Placement) -> u64 {
        match placement {
            Placement::Worker(index) if !self.workers.is_empty() => {
                self.workers[index % self.workers.len()].generation
            }
            _ => 0,
        }
    }

    /// Gives a placement a new thread, because the one of this generation is stuck; that one ends when it gets
    /// unstuck.
    ///
    /// Returns whether it was replaced: the tree's own thread can't be, and of many that hang on the same
    /// thread only the first has it replaced.
    pub fn replace(&mut self, placement: Placement, generation: u64) -> bool {
        let (Placement::Worker(index), false) = (placement, self.workers.is_empty()) else {
            return false;
        };
        let index = index % self.workers.len();
        let worker = &mut self.workers[index];
        if worker.generation != generation {
            return false;
        }
        let stuck = std::mem::replace(worker, Worker::start(generation + 1));
        stuck.handle.stop();
        true
    }

    /// Ends the worker threads and all that still lives on them.
    pub fn stop(&self) {
        for worker in &self.workers {
            worker.handle.stop();
        }
    }
}
