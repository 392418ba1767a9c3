//! What stands for a spool: keeps what it is given until it is settled for good.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use bifrost_actors::{
    broker::{Attach, Deliver, Detach, Outcome, Outgoing, Settled, SpoolPorts, Ticket},
    supervision::{Slot, Tenancy},
};

#[derive(Default)]
pub(crate) struct State {
    queue: VecDeque<(Ticket, Arc<Outgoing>)>,
    out: BTreeMap<Ticket, Arc<Outgoing>>,
    session: Option<Attach>,
    next: Ticket,
    pub(crate) outcomes: BTreeMap<Ticket, Outcome>,
    pub(crate) again: Vec<String>,
    pub(crate) attached: usize,
    pub(crate) detached: usize,
    pub max_payload: Option<usize>,
}

impl State {
    fn pump(&mut self) {
        let Some(session) = &self.session else { return };
        let room = session.window.saturating_sub(self.out.len()).min(self.queue.len());
        let batch: Vec<_> = self.queue.drain(..room).collect();
        self.out.extend(batch.iter().cloned());
        if !batch.is_empty() {
            session.to.do_send(Deliver(batch));
        }
    }

    fn take_back(&mut self) {
        for entry in std::mem::take(&mut self.out).into_iter().rev() {
            self.queue.push_front(entry);
        }
    }
}

/// A handle on the spool.
#[derive(Clone)]
pub(crate) struct Spool {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) slot: Slot<SpoolPorts>,
}

pub(crate) struct FakeSpool(Arc<Mutex<State>>, Option<Tenancy<SpoolPorts>>);

impl Actor for FakeSpool {
    type Context = Context<Self>;
}

impl Spool {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), slot: Slot::empty() }
    }

    /// Moves an actor in.
    pub(crate) fn start(&self) -> Addr<FakeSpool> {
        FakeSpool::create(|ctx| {
            let (attach, detach, settled) =
                (ctx.address().recipient(), ctx.address().recipient(), ctx.address().recipient());
            FakeSpool(Arc::clone(&self.state), Some(self.slot.set(SpoolPorts { attach, detach, settled })))
        })
    }

    /// Hands messages over; answers their tickets.
    pub(crate) fn send(&self, messages: impl IntoIterator<Item = Outgoing>) -> Vec<Ticket> {
        let mut state = self.state.lock().unwrap();
        let mut tickets = Vec::new();
        for message in messages {
            state.next += 1;
            let ticket = state.next;
            state.queue.push_back((ticket, Arc::new(message)));
            tickets.push(ticket);
        }
        state.pump();
        tickets
    }

    pub(crate) fn settled(&self) -> usize {
        self.state.lock().unwrap().outcomes.len()
    }

    pub(crate) fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.state.lock().unwrap().outcomes.get(&ticket).cloned()
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap())
    }
}

impl Handler<Attach> for FakeSpool {
    type Result = ();

    fn handle(&mut self, attach: Attach, _: &mut Self::Context) {
        let mut state = self.0.lock().unwrap();
        state.max_payload = attach.max_payload;
        state.attached += 1;
        state.session = Some(attach);
        state.take_back();
        state.pump();
    }
}

impl Handler<Detach> for FakeSpool {
    type Result = ();

    fn handle(&mut self, Detach { incarnation }: Detach, _: &mut Self::Context) {
        let mut state = self.0.lock().unwrap();
        if state.session.as_ref().is_some_and(|session| session.incarnation == incarnation) {
            state.session = None;
            state.detached += 1;
            state.take_back();
        }
    }
}

impl Handler<Settled> for FakeSpool {
    type Result = ();

    fn handle(&mut self, settled: Settled, _: &mut Self::Context) {
        let mut state = self.0.lock().unwrap();
        if state.session.as_ref().is_none_or(|session| session.incarnation != settled.incarnation) {
            return;
        }
        for (ticket, outcome) in settled.outcomes {
            let Some(message) = state.out.remove(&ticket) else { panic!("{ticket} was settled twice") };
            if let Outcome::Again(reason) = outcome {
                state.again.push(reason);
                state.queue.push_back((ticket, message));
            } else {
                state.outcomes.insert(ticket, outcome);
            }
        }
        state.pump();
    }
}

/// The spool's actor goes, and leaves its slot.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Leave;

impl Handler<Leave> for FakeSpool {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        self.1 = None;
        let mut state = self.0.lock().unwrap();
        state.session = None;
        state.take_back();
        actix::ActorContext::stop(ctx);
    }
}
