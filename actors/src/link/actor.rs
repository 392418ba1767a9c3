//! The link's life: open, carry, end when the transport breaks.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use bifrost_drivers::modbus::{CallError, Request, Response};
use serde_json::json;
use tokio::time::Instant;

use super::{
    messages::Carry,
    queue::Queue,
    state::{LinkLine, LinkState},
    transport::Connection,
};
use crate::{
    supervised,
    supervision::{Birth, Child, ChildKind, ChildSpec, Exit, Placement, Port, Supervised},
};

/// After so long without a request a connection is idle.
const IDLE: Duration = Duration::from_millis(10);

/// How to build the link, again and again.
pub(crate) fn spec(line: Arc<LinkLine>, placement: Placement) -> ChildSpec {
    ChildSpec {
        name: line.settings.target.to_string(),
        kind: ChildKind::PlcLink,
        placement,
        mailbox: Arc::clone(&line.mailbox),
        factory: Box::new(move |birth| Box::pin(open(Arc::clone(&line), birth))),
    }
}

async fn open(line: Arc<LinkLine>, birth: Birth) -> Result<Child, String> {
    let number = line.take_over();
    match line.connect().await {
        Ok(connection) => {
            let capacity = line.mailbox.capacity();
            Ok(Child::new(capacity, |ctx| PlcLink::new(line, number, connection, birth.exit, ctx)))
        }
        Err(reason) => {
            line.set(number, LinkState::Down(reason.as_str().into()));
            Err(reason)
        }
    }
}

struct PlcLink {
    line: Arc<LinkLine>,
    number: u64,
    queue: Rc<Queue>,
    connection: Option<Connection>,
    exit: Exit,
}

impl PlcLink {
    fn new(
        line: Arc<LinkLine>,
        number: u64,
        connection: Connection,
        exit: Exit,
        ctx: &Context<Self>,
    ) -> Self {
        let port = Port::new(ctx.address().recipient(), Arc::clone(&line.mailbox));
        line.set(number, LinkState::Up(port));
        let queue = Rc::new(Queue::new(line.mailbox.capacity()));
        Self { line, number, queue, connection: Some(connection), exit }
    }
}

impl Actor for PlcLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(connection) = self.connection.take() else { return };
        let carrying = carry_all(Arc::clone(&self.line), Rc::clone(&self.queue), connection);
        ctx.spawn(carrying.into_actor(self).map(|reason, actor, ctx| {
            actor.line.set(actor.number, LinkState::Down(reason.as_str().into()));
            actor.exit.because(reason);
            ctx.stop();
        }));
    }
}

impl Drop for PlcLink {
    /// However it ends, devices learn that nobody carries for them.
    fn drop(&mut self) {
        self.line.set(self.number, LinkState::Down("the connection is being rebuilt".into()));
    }
}

impl Handler<Carry> for PlcLink {
    type Result = ();

    fn handle(&mut self, job: Carry, _: &mut Self::Context) {
        self.queue.push(job);
    }
}

impl Supervised for PlcLink {
    fn observe(&self) -> serde_json::Value {
        json!({ "target": self.line.settings.target.to_string(), "waiting": self.queue.len() })
    }
}

supervised!(PlcLink);

/// Carries requests until the transport breaks; answers why it did.
async fn carry_all(line: Arc<LinkLine>, queue: Rc<Queue>, connection: Connection) -> String {
    let mut carrier = Carrier { line, connection: Some(connection) };
    loop {
        let (job, idle) = carrier.next(&queue).await;
        if let Err(reason) = carrier.carry(job, idle).await {
            return reason;
        }
        let pause = carrier.line.settings.pause_between_requests;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// The connection, and how it is replaced. A device may allow but one: the old is closed before the new is
/// opened.
struct Carrier {
    line: Arc<LinkLine>,
    connection: Option<Connection>,
}

impl Carrier {
    /// The next request, and whether the connection was idle before it; an idle one holds no buffers.
    async fn next(&mut self, queue: &Queue) -> (Carry, bool) {
        let since = Instant::now();
        let buffers = self.connection.as_mut().filter(|connection| connection.client.holds_buffers());
        if let Some(connection) = buffers {
            if let Ok(job) = tokio::time::timeout(IDLE, queue.pop()).await {
                return (job, false);
            }
            connection.client.rest();
        }
        let job = queue.pop().await;
        (job, since.elapsed() >= IDLE)
    }

    /// Carries one request; an error is why the link has to end.
    async fn carry(&mut self, job: Carry, idle: bool) -> Result<(), String> {
        // A server that closes idle connections: a fresh one at once.
        if idle && self.connection.as_ref().is_some_and(Connection::is_spoilt) {
            self.connection = None;
        }
        let fresh = self.connection.is_none();
        let mut outcome = self.call(&job).await?;
        // One that closes after each answer: a read may be repeated, a write may have been carried out.
        if matches!(outcome, Err(CallError::Transport(_))) && !fresh && is_read(&job.request) {
            self.connection = None;
            outcome = self.call(&job).await?;
        }
        let broken = self.judge(&outcome);
        let _ = job.reply.send(outcome.map_err(Into::into));
        broken.map_or(Ok(()), Err)
    }

    /// Calls over the connection, opening one if there is none; an error is that none can be opened.
    async fn call(&mut self, job: &Carry) -> Result<Result<Response, CallError>, String> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.line.connect().await?,
        };
        let connection = self.connection.insert(connection);
        // Opening took its time: what nobody waits for any longer isn't sent.
        if job.reply.is_closed() {
            return Ok(Err(CallError::Timeout(job.timeout)));
        }
        connection.client.set_late_reply_wait(job.late_reply_wait);
        Ok(connection.client.call(job.unit, &job.request, job.timeout).await)
    }

    /// Draws the consequences; answers why the link has to end, if it has to: the transport broke. A silent
    /// unit is no reason. On TCP its connection is given up at once, for a late reply to die with it; on a
    /// serial line the client itself leaves the unit alone.
    fn judge(&mut self, outcome: &Result<Response, CallError>) -> Option<String> {
        let connection = self.connection.as_mut()?;
        let silent = matches!(outcome, Err(CallError::Timeout(_) | CallError::Garbled { .. }));
        let usable = connection.client.is_usable() && !(silent && connection.is_socket());
        let broken = match outcome {
            Err(CallError::Transport(evidence)) => Some(evidence.clone()),
            _ => None,
        };
        if !usable || broken.is_some() {
            self.line.remember(connection.client.take_debts());
            connection.abandon();
            self.connection = None;
        }
        broken
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            self.line.remember(connection.client.take_debts());
        }
    }
}

fn is_read(request: &Request<'_>) -> bool {
    matches!(
        request,
        Request::ReadCoils(..)
            | Request::ReadDiscreteInputs(..)
            | Request::ReadHoldingRegisters(..)
            | Request::ReadInputRegisters(..)
    )
}
