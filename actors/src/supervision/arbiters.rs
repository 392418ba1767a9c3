//! The threads that actors live on.

use actix_rt::{Arbiter, ArbiterHandle};

/// Where an actor lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// With the tree itself.
    Home,
    /// On one of the worker threads; counted round when there are fewer.
    Worker(usize),
    /// On a broker's own thread: its client library may block.
    Broker(usize),
}

/// One thread for the tree and what is chatty with it, one per core for devices, and one per broker.
#[derive(Debug)]
pub struct Arbiters {
    workers: Vec<Worker>,
    brokers: Vec<Worker>,
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
        Self { workers: (0..workers).map(|_| Worker::start(0)).collect(), brokers: Vec::new() }
    }

    /// With so many threads for brokers.
    #[must_use]
    pub fn with_brokers(mut self, brokers: usize) -> Self {
        self.brokers = (0..brokers).map(|_| Worker::start(0)).collect();
        self
    }

    fn index(&self, placement: Placement) -> Option<(bool, usize)> {
        match placement {
            Placement::Worker(index) if !self.workers.is_empty() => Some((false, index % self.workers.len())),
            Placement::Broker(index) if !self.brokers.is_empty() => Some((true, index % self.brokers.len())),
            _ => None,
        }
    }

    fn find(&self, placement: Placement) -> Option<&Worker> {
        let (broker, index) = self.index(placement)?;
        if broker { self.brokers.get(index) } else { self.workers.get(index) }
    }

    /// How many workers there are, at least one counting the caller's arbiter.
    pub fn count(&self) -> usize {
        self.workers.len().max(1)
    }

    /// The thread of a placement. Must be called inside an actix system.
    pub fn handle(&self, placement: Placement) -> ArbiterHandle {
        self.find(placement).map_or_else(Arbiter::current, |worker| worker.handle.clone())
    }

    /// Which thread a placement has now: counts up each time that it is replaced.
    pub fn generation(&self, placement: Placement) -> u64 {
        self.find(placement).map_or(0, |worker| worker.generation)
    }

    /// Gives a placement a new thread, because the one of this generation is stuck; that one ends when it gets
    /// unstuck.
    ///
    /// Returns whether it was replaced: the tree's own thread can't be, and of many that hang on the same
    /// thread only the first has it replaced.
    pub fn replace(&mut self, placement: Placement, generation: u64) -> bool {
        let Some((broker, index)) = self.index(placement) else { return false };
        let threads = if broker { &mut self.brokers } else { &mut self.workers };
        let Some(worker) = threads.get_mut(index) else { return false };
        if worker.generation != generation {
            return false;
        }
        let stuck = std::mem::replace(worker, Worker::start(generation + 1));
        stuck.handle.stop();
        true
    }

    /// Ends the worker threads and all that still lives on them.
    pub fn stop(&self) {
        for worker in self.workers.iter().chain(&self.brokers) {
            worker.handle.stop();
        }
    }
}
