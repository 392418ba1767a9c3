//! A spool that keeps nothing on disk and remembers everything that a session says to it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};

use crate::{
    broker::{Attach, Deliver, Detach, Outcome, Outgoing, Settled, SpoolPorts, Ticket},
    supervision::{Slot, Tenancy},
};

/// A spool in memory.
#[derive(Clone)]
pub struct FakeSpool {
    slot: Slot<SpoolPorts>,
    state: Arc<Mutex<State>>,
    address: Addr<Keeper>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Outgoing>>,
    /// Handed out again and again.
    endless: Option<Arc<Outgoing>>,
    out: BTreeMap<Ticket, Arc<Outgoing>>,
    tickets: Ticket,
    session: Option<Attach>,
    attached: usize,
    detached: usize,
    outcomes: Vec<(Arc<Outgoing>, Outcome)>,
    delivered: u64,
}

impl FakeSpool {
    /// A spool that lives on the caller's thread, in this slot.
    pub fn start(slot: &Slot<SpoolPorts>) -> Self {
        let state = Arc::default();
        let address = Keeper::create(|ctx| {
            let ports = SpoolPorts {
                attach: ctx.address().recipient(),
                detach: ctx.address().recipient(),
                settled: ctx.address().recipient(),
            };
            Keeper { state: Arc::clone(&state), _place: slot.set(ports) }
        });
        Self { slot: slot.clone(), state, address }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a session finds it.
    pub fn slot(&self) -> Slot<SpoolPorts> {
        self.slot.clone()
    }

    /// Hands messages out as soon as there is a session.
    pub fn push(&self, messages: impl IntoIterator<Item = Outgoing>) {
        self.with(|state| state.queue.extend(messages.into_iter().map(Arc::new)));
        self.address.do_send(Look);
    }

    /// Hands one message out again and again, as fast as it is settled; outcomes are only counted.
    pub fn pour(&self, message: Outgoing) {
        self.with(|state| state.endless = Some(Arc::new(message)));
        self.address.do_send(Look);
    }

    /// The session that is attached.
    pub fn session(&self) -> Option<Attach> {
        self.with(|state| state.session.clone())
    }

    /// How often a session attached and detached.
    pub fn visits(&self) -> (usize, usize) {
        self.with(|state| (state.attached, state.detached))
    }

    /// What became of messages, in the order in which the session said so.
    pub fn outcomes(&self) -> Vec<(Arc<Outgoing>, Outcome)> {
        self.with(|state| state.outcomes.clone())
    }

    /// How many were delivered.
    pub fn delivered(&self) -> u64 {
        self.with(|state| state.delivered)
    }

    /// How many are out.
    pub fn out(&self) -> usize {
        self.with(|state| state.out.len())
    }
}

struct Keeper {
    state: Arc<Mutex<State>>,
    _place: Tenancy<SpoolPorts>,
}

impl Keeper {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = look(&mut state);
        state.hand_out();
        answer
    }
}

impl State {
    /// As much as the session's window takes.
    fn hand_out(&mut self) {
        let Some(session) = self.session.clone() else { return };
        let mut batch = Vec::new();
        while self.out.len() < session.window {
            let Some(message) = self.queue.pop_front().or_else(|| self.endless.clone()) else { break };
            self.tickets += 1;
            self.out.insert(self.tickets, Arc::clone(&message));
            batch.push((self.tickets, message));
        }
        if !batch.is_empty() {
            session.to.do_send(Deliver(batch));
        }
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(message) = self.out.remove(&ticket) else { return };
        match outcome {
            Outcome::Delivered | Outcome::Duplicate => self.delivered += 1,
            Outcome::Again(_) => self.queue.push_back(Arc::clone(&message)),
            Outcome::Refused(_) => {}
        }
        if self.endless.is_none() {
            self.outcomes.push((message, outcome));
        }
    }

    /// What is out goes back to the head of the queue, in its order.
    fn take_back(&mut self) {
        for (_, message) in std::mem::take(&mut self.out).into_iter().rev() {
            self.queue.push_front(message);
        }
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Look;

impl Handler<Look> for Keeper {
    type Result = ();

    fn handle(&mut self, _: Look, _: &mut Self::Context) {
        self.with(|_| ());
    }
}

impl Handler<Attach> for Keeper {
    type Result = ();

    fn handle(&mut self, attach: Attach, _: &mut Self::Context) {
        self.with(|state| {
            state.take_back();
            state.attached += 1;
            state.session = Some(attach);
        });
    }
}

impl Handler<Detach> for Keeper {
    type Result = ();

    fn handle(&mut self, Detach { incarnation }: Detach, _: &mut Self::Context) {
        self.with(|state| {
            if state.session.as_ref().is_some_and(|session| session.incarnation == incarnation) {
                state.session = None;
                state.detached += 1;
                state.take_back();
            }
        });
    }
}

impl Handler<Settled> for Keeper {
    type Result = ();

    fn handle(&mut self, settled: Settled, _: &mut Self::Context) {
        self.with(|state| {
            for (ticket, outcome) in settled.outcomes {
                state.settle(ticket, outcome);
            }
        });
    }
}
