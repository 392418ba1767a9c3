//! What the tree remembers of each node.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bifrost_model::Timestamp;
use futures_util::future::AbortHandle;
use tokio::{sync::oneshot, time::Instant};

use crate::supervision::{
    child::ChildSpec,
    mailbox::MailboxStats,
    messages::{ChildState, ControlPorts},
    policy::{ChildKind, MAX_BUDGET},
};

/// What becomes of a node once its incarnation has ended as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Start,
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    Backoff,
    Parked,
    Stopping(Then),
    Stopped,
}

pub(super) enum Body {
    /// Holds children, by path, in start order.
    Branch(Vec<String>),
    /// Built by a factory.
    Leaf(Arc<ChildSpec>),
    /// Built elsewhere; gone when it ends.
    Guest(Arc<MailboxStats>),
}

pub(super) struct Node {
    pub(super) kind: ChildKind,
    pub(super) parent: Option<String>,
    pub(super) body: Body,
    pub(super) phase: Phase,
    pub(super) restarts: u64,
    pub(super) last_error: Option<String>,
    pub(super) since: Timestamp,
    /// The state that began then.
    shown: ChildState,
    /// Since when it runs, by the clock that nobody sets.
    running_since: Option<Instant>,
    /// When it failed, within the policy's window.
    pub(super) failures: VecDeque<Instant>,
    /// Stopped by hand: rests until told otherwise, also when its branch is restarted.
    pub(super) held: bool,
    /// Whether an alarm says that it failed too often.
    pub(super) alarmed: bool,
    /// Unique in the tree; news of other incarnations are old.
    pub(super) incarnation: u64,
    pub(super) abort: Option<AbortHandle>,
    pub(super) ports: Option<ControlPorts>,
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

impl Node {
    pub(super) fn new(kind: ChildKind, parent: Option<String>, body: Body) -> Self {
        Self {
            kind,
            parent,
            body,
            phase: Phase::Running,
            restarts: 0,
            last_error: None,
            since: Timestamp::now(),
            shown: ChildState::Running,
            running_since: None,
            failures: VecDeque::new(),
            held: false,
            alarmed: false,
            incarnation: 0,
            abort: None,
            ports: None,
            waiters: Vec::new(),
        }
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Running => drop(self.running_since.get_or_insert_with(Instant::now)),
            _ => self.running_since = None,
        }
        let state = self.state();
        if state != self.shown {
            self.shown = state;
            self.since = Timestamp::now();
        }
    }

    pub(super) fn state(&self) -> ChildState {
        match self.phase {
            Phase::Starting if self.alarmed => ChildState::Failed,
            Phase::Starting if !self.failures.is_empty() => ChildState::Backoff,
            Phase::Starting | Phase::Running => ChildState::Running,
            Phase::Backoff | Phase::Stopping(Then::Start) => ChildState::Backoff,
            Phase::Parked => ChildState::Failed,
            Phase::Stopping(_) | Phase::Stopped => ChildState::Stopped,
        }
    }

    /// Whether it has run for at least so long.
    pub(super) fn ran_for(&self, time: Duration) -> bool {
        self.running_since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Remembers a failure and answers how many fell into the window.
    pub(super) fn fail(&mut self, window: Duration) -> usize {
        let now = Instant::now();
        while self.failures.front().is_some_and(|then| now.duration_since(*then) > window) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        // A child that fails very fast mustn't make the tree remember very much.
        if self.failures.len() > MAX_BUDGET as usize + 1 {
            self.failures.pop_front();
        }
        self.failures.len()
    }

    /// Tells everybody who waits that what they waited for has happened.
    pub(super) fn wake_waiters(&mut self) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(());
        }
    }

    pub(super) fn mailbox(&self) -> Option<&MailboxStats> {
        match &self.body {
            Body::Branch(_) => None,
            Body::Leaf(spec) => Some(&spec.mailbox),
            Body::Guest(mailbox) => Some(mailbox),
        }
    }
}
