//! The link's life: open, carry, end when the transport breaks.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use bifrost_drivers::{
    DeviceError,
    modbus::{CallError, Framing, Response},
};
use serde_json::json;

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
async fn carry_all(line: Arc<LinkLine>, queue: Rc<Queue>, mut connection: Connection) -> String {
    let settings = &line.settings;
    loop {
        let (job, idle) = next(&queue, &mut connection).await;
        // A server that closes idle connections, or one that was silent: a fresh one at once.
        if !connection.client.is_usable() || idle && connection.is_spoilt() {
            connection = match line.connect().await {
                Ok(connection) => connection,
                Err(reason) => {
                    let _ = job.reply.send(Err(DeviceError::Offline(reason.clone()).into()));
                    return reason;
                }
            };
        }
        let outcome = call(&mut connection, &job).await;
        let broken = broken(&outcome, &connection, settings.target.framing());
        let _ = job.reply.send(outcome.map_err(Into::into));
        if let Some(reason) = broken {
            return reason;
        }
        if !settings.pause_between_requests.is_zero() {
            tokio::time::sleep(settings.pause_between_requests).await;
        }
    }
}

/// The next request, and whether the connection was idle before it; an idle one holds no buffers.
async fn next(queue: &Queue, connection: &mut Connection) -> (Carry, bool) {
    if let Ok(job) = tokio::time::timeout(IDLE, queue.pop()).await {
        return (job, false);
    }
    connection.client.rest();
    (queue.pop().await, true)
}

async fn call(connection: &mut Connection, job: &Carry) -> Result<Response, CallError> {
    connection.client.set_late_reply_wait(job.late_reply_wait);
    connection.client.call(job.unit, &job.request, job.timeout).await
}

/// Why the link has to end: the transport broke. A silent unit is no reason, the connection to it is
/// opened anew at once where a late reply could be mistaken.
fn broken(
    outcome: &Result<Response, CallError>,
    connection: &Connection,
    framing: Framing,
) -> Option<String> {
    match outcome {
        Err(CallError::Transport(evidence)) if framing == Framing::Tcp || !connection.client.is_usable() => {
            Some(evidence.clone())
        }
        _ => None,
    }
}
