//! A session without a broker: it holds, settles or refuses what it is given, and keeps account of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use bifrost_actors::{
    broker::{Attach, Deliver, Detach, Kind, Outcome, Outgoing, Settled, SpoolPorts, Ticket},
    testing::SpoolUnderTest,
};

/// What becomes of a message at once; nothing: it is held.
type Answer = Box<dyn FnMut(&Outgoing) -> Option<Outcome> + Send>;

/// A message that came.
#[derive(Clone)]
pub(crate) struct Got {
    pub(crate) message: Arc<Outgoing>,
}

impl Got {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.message.payload).unwrap()
    }

    /// Whether it says that it is late; the broker isn't to keep it then.
    pub(crate) fn is_late(&self) -> bool {
        assert!(!(self.message.historical && self.message.retain));
        assert_eq!(self.json()["is_historical"] == true, self.message.historical);
        self.message.historical
    }
}

struct State {
    answer: Answer,
    got: Vec<Got>,
    out: BTreeMap<Ticket, Arc<Outgoing>>,
    most_out: usize,
    most_bytes: usize,
}

/// One incarnation of a session.
pub(crate) struct Session {
    state: Arc<Mutex<State>>,
    ports: SpoolPorts,
    incarnation: u64,
    address: Addr<Carrier>,
}

struct Carrier {
    state: Arc<Mutex<State>>,
    ports: SpoolPorts,
    incarnation: u64,
}

impl Session {
    /// Attaches one that settles everything at once.
    pub(crate) fn taking(spool: &SpoolUnderTest, window: usize) -> Self {
        Self::attach(spool, window, |_| Some(Outcome::Delivered))
    }

    /// Attaches one that holds everything but descriptions.
    pub(crate) fn holding(spool: &SpoolUnderTest, window: usize) -> Self {
        Self::attach(spool, window, |message| {
            (message.kind == Kind::Description).then_some(Outcome::Delivered)
        })
    }

    /// Attaches one that answers so.
    pub(crate) fn attach(
        spool: &SpoolUnderTest,
        window: usize,
        answer: impl FnMut(&Outgoing) -> Option<Outcome> + Send + 'static,
    ) -> Self {
        static INCARNATION: AtomicU64 = AtomicU64::new(1);
        let incarnation = INCARNATION.fetch_add(1, Ordering::Relaxed);
        let ports = spool.ports().unwrap();
        let (answer, got, out) = (Box::new(answer), Vec::new(), BTreeMap::new());
        let state = Arc::new(Mutex::new(State { answer, got, out, most_out: 0, most_bytes: 0 }));
        let address = Carrier { state: Arc::clone(&state), ports: ports.clone(), incarnation }.start();
        let to = address.clone().recipient();
        ports.attach.do_send(Attach { incarnation, to, window, max_payload: None });
        Self { state, ports, incarnation, address }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the next message on.
    pub(crate) fn answer(&self, answer: impl FnMut(&Outgoing) -> Option<Outcome> + Send + 'static) {
        self.state().answer = Box::new(answer);
    }

    /// Its connection broke.
    pub(crate) fn detach(&self) {
        self.ports.detach.do_send(Detach { incarnation: self.incarnation });
    }

    /// Its actor ends without a word.
    pub(crate) async fn vanish(&self) {
        self.address.send(Vanish).await.unwrap();
    }

    /// Says what became of the oldest messages that it holds.
    pub(crate) fn settle(&self, count: usize, outcome: &Outcome) {
        let mut state = self.state();
        let tickets: Vec<_> = state.out.keys().take(count).copied().collect();
        state.out.retain(|ticket, _| !tickets.contains(ticket));
        drop(state);
        self.say(tickets.into_iter().map(|ticket| (ticket, outcome.clone())).collect());
    }

    /// Everything that it holds is acknowledged, and from now on what comes.
    pub(crate) fn go_on(&self) {
        self.answer(|_| Some(Outcome::Delivered));
        self.settle(usize::MAX, &Outcome::Delivered);
    }

    /// The same tickets once more, as a session that is late says them.
    pub(crate) fn say(&self, outcomes: Vec<(Ticket, Outcome)>) {
        self.ports.settled.do_send(Settled { incarnation: self.incarnation, outcomes });
    }

    /// All that came, in order.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.state().got.clone()
    }

    /// What came on this topic.
    pub(crate) fn on(&self, topic: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| &*got.message.topic == topic).collect()
    }

    /// Numbers of the device's scans that came: those that are late, or those that aren't.
    pub(crate) fn scans(&self, device: &str, late: bool) -> Vec<u64> {
        let got = self.on(&format!("t/{device}"));
        got.iter().filter(|got| got.is_late() == late).map(|got| got.message.seq).collect()
    }

    /// Numbers of all scans, in the order in which they came.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.got().iter().map(|got| got.message.seq).filter(|seq| *seq > 0).collect()
    }

    /// Tickets of what it holds.
    pub(crate) fn tickets(&self) -> Vec<Ticket> {
        self.state().out.keys().copied().collect()
    }

    /// The most that it held at a time: messages, and bytes of payload.
    pub(crate) fn most(&self) -> (usize, usize) {
        let state = self.state();
        (state.most_out, state.most_bytes)
    }
}

impl Actor for Carrier {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Vanish;

impl Handler<Vanish> for Carrier {
    type Result = ();

    fn handle(&mut self, _: Vanish, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Deliver> for Carrier {
    type Result = ();

    fn handle(&mut self, Deliver(messages): Deliver, _: &mut Self::Context) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.out.extend(messages.iter().cloned());
        state.most_out = state.most_out.max(state.out.len());
        let bytes = state.out.values().map(|message| message.payload.len()).sum();
        state.most_bytes = state.most_bytes.max(bytes);
        let mut outcomes = Vec::new();
        for (ticket, message) in messages {
            if let Some(outcome) = (state.answer)(&message) {
                state.out.remove(&ticket);
                outcomes.push((ticket, outcome));
            }
            state.got.push(Got { message });
        }
        drop(state);
        if !outcomes.is_empty() {
            self.ports.settled.do_send(Settled { incarnation: self.incarnation, outcomes });
        }
    }
}
