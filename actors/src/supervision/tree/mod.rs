//! The supervisor tree: knows every child, rebuilds what fails, and carries out orders from outside.
//!
//! One small actor holds the whole tree as data. It never waits for a child: a start that takes long, a stop
//! that hangs or a thread that is stuck delays nobody else.

mod life;
mod node;
mod orders;
mod snapshot;
mod watchdog;

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;
use tokio::sync::oneshot;

use self::node::{Body, Node, Phase};
use super::{
    arbiters::Arbiters,
    child::{Child, ChildSpec, Exit, Life, adopt},
    mailbox::MailboxStats,
    messages::NodeSnapshot,
    policy::{ChildKind, SupervisionSettings},
};

/// The root's path.
const ROOT: &str = "/";

/// How long a guest that was announced may take to run.
const GUEST_LIMIT: Duration = Duration::from_secs(10);

/// What stays readable in a path; `/` joins names and is encoded within them.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A name as it stands in a path.
pub fn encode_name(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// Why the tree didn't do as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// Nothing has this path.
    #[error("there is no actor {0:?}; GET /api/actors lists them")]
    UnknownPath(String),
    /// Something has this path already.
    #[error("an actor {0:?} exists already")]
    Exists(String),
    /// An actor that nobody could build again.
    #[error("{0:?} ends with its client and can't be {1}; it can be stopped")]
    Guest(String, &'static str),
    /// The tree itself is gone: the gateway is stopping.
    #[error("the gateway is stopping")]
    Gone,
}

/// What the tree tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A child ended unasked and will be rebuilt.
    Failed {
        /// Which.
        path: String,
        /// What it is.
        kind: ChildKind,
        /// Why.
        reason: String,
        /// A defect (a panic, a hang) and no trouble from outside.
        defect: bool,
        /// The first failure within its window.
        first: bool,
    },
    /// A child is being rebuilt.
    Restarted {
        /// What it is.
        kind: ChildKind,
    },
    /// A child failed beyond its budget and is rebuilt only slowly.
    Parked {
        /// Which.
        path: String,
        /// What it is.
        kind: ChildKind,
        /// Why it ended last.
        reason: String,
    },
    /// A parked child runs again.
    Recovered {
        /// Which.
        path: String,
        /// What it is.
        kind: ChildKind,
    },
    /// A child was stopped and rests until told otherwise.
    Stopped {
        /// Which.
        path: String,
        /// What it is.
        kind: ChildKind,
    },
    /// A branch is restarted because of a child.
    Escalated {
        /// The branch.
        path: String,
        /// Which child, and why.
        reason: String,
    },
    /// The root failed beyond its budget: the process has to end.
    RootFailed {
        /// What led to it.
        reason: String,
    },
    /// A thread was stuck and replaced.
    ThreadReplaced {
        /// Whose hang showed it.
        path: String,
    },
}

/// Where notices go.
pub type NoticeSink = Box<dyn Fn(Notice)>;

/// The supervisor tree.
pub struct Tree {
    settings: SupervisionSettings,
    arbiters: Arbiters,
    nodes: HashMap<String, Node>,
    next_incarnation: u64,
    notify: NoticeSink,
    watchdog_bucket: u64,
}

impl Tree {
    /// A tree that is only a root. Children live on `arbiters`.
    pub fn new(settings: SupervisionSettings, arbiters: Arbiters, notify: NoticeSink) -> Self {
        let root = Node::new(ChildKind::Branch, None, Body::Branch(Vec::new()));
        let nodes = HashMap::from([(ROOT.to_owned(), root)]);
        Self { settings, arbiters, nodes, next_incarnation: 1, notify, watchdog_bucket: 0 }
    }

    fn insert(&mut self, parent: &str, name: &str, kind: ChildKind, body: Body) -> Result<String, TreeError> {
        let path = child_path(parent, name);
        if self.nodes.contains_key(&path) {
            return Err(TreeError::Exists(path));
        }
        let Some(Node { body: Body::Branch(children), .. }) = self.nodes.get_mut(parent) else {
            return Err(TreeError::UnknownPath(parent.to_owned()));
        };
        children.push(path.clone());
        self.nodes.insert(path.clone(), Node::new(kind, Some(parent.to_owned()), body));
        Ok(path)
    }

    fn forget(&mut self, path: &str) {
        let Some(mut node) = self.nodes.remove(path) else { return };
        node.wake_waiters();
        let parent = node.parent.and_then(|parent| self.nodes.get_mut(&parent));
        if let Some(Node { body: Body::Branch(children), .. }) = parent {
            children.retain(|child| child != path);
        }
        if node.alarmed {
            (self.notify)(Notice::Recovered { path: path.to_owned(), kind: node.kind });
        }
    }

    fn new_incarnation(&mut self) -> u64 {
        self.next_incarnation += 1;
        self.next_incarnation
    }

    /// A future that resolves when the node next comes to rest: started, failed or stopped.
    fn wait_for(&mut self, path: &str) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        if let Some(node) = self.nodes.get_mut(path) {
            node.waiters.push(tx);
        }
        rx
    }
}

fn child_path(parent: &str, name: &str) -> String {
    let name = encode_name(name);
    if parent == ROOT { name } else { format!("{parent}/{name}") }
}

impl Actor for Tree {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Orders and news of a thousand devices arrive in bursts; they are all control messages.
        ctx.set_mailbox_capacity(65_536);
        self.start_watchdog(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.arbiters.stop();
    }
}

/// Adds a branch below a branch.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<String, TreeError>")]
pub struct AddBranch {
    /// The parent's path, `/` for the root.
    pub parent: String,
    /// Its name.
    pub name: String,
}

impl Handler<AddBranch> for Tree {
    type Result = Result<String, TreeError>;

    fn handle(&mut self, message: AddBranch, _: &mut Self::Context) -> Self::Result {
        self.insert(&message.parent, &message.name, ChildKind::Branch, Body::Branch(Vec::new()))
    }
}

/// Adds a child and starts it, unless its branch is stopped. Answers with its path when it runs or has
/// failed once; who doesn't want to wait doesn't await.
#[derive(Debug, Message)]
#[rtype(result = "Result<String, TreeError>")]
pub struct AddChild {
    /// The branch's path.
    pub parent: String,
    /// How to build it.
    pub spec: ChildSpec,
}

impl Handler<AddChild> for Tree {
    type Result = ResponseFuture<Result<String, TreeError>>;

    fn handle(&mut self, message: AddChild, ctx: &mut Self::Context) -> Self::Result {
        let AddChild { parent, spec } = message;
        let (name, kind) = (spec.name.clone(), spec.kind);
        let path = match self.insert(&parent, &name, kind, Body::Leaf(Arc::new(spec))) {
            Ok(path) => path,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        if self.is_stopped(&parent) {
            let held = self.nodes.get(&parent).is_some_and(|parent| parent.held);
            if let Some(node) = self.nodes.get_mut(&path) {
                node.held = held;
                node.enter(Phase::Stopped);
            }
            return Box::pin(async { Ok(path) });
        }
        let rest = self.wait_for(&path);
        self.start_leaf(&path, ctx);
        Box::pin(async {
            let _ = rest.await;
            Ok(path)
        })
    }
}

/// Puts a child that was built elsewhere under the tree's eyes: it can be seen and stopped, and is forgotten
/// when it ends.
pub struct Adopt {
    /// The branch's path.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ChildKind,
    /// Its mailbox.
    pub mailbox: Arc<MailboxStats>,
}

impl Message for Adopt {
    type Result = Result<u64, TreeError>;
}

impl Adopt {
    /// A guest of this name.
    pub fn new(
        parent: impl Into<String>,
        name: impl Into<String>,
        kind: ChildKind,
        mailbox: Arc<MailboxStats>,
    ) -> Self {
        Self { parent: parent.into(), name: name.into(), kind, mailbox }
    }

    /// Registers the guest and runs it on the current arbiter.
    pub async fn run(
        self,
        tree: &actix::Addr<Tree>,
        build: impl FnOnce(Exit) -> Child,
    ) -> Result<(), TreeError> {
        let path = child_path(&self.parent, &self.name);
        let incarnation = tree.send(self).await.map_err(|_| TreeError::Gone)??;
        let exit = Exit::default();
        let child = build(exit.clone());
        let news = tree.clone();
        let report_path = path.clone();
        let report = Box::new(move |life| {
            news.do_send(News { path: report_path.clone(), incarnation, life });
        });
        let abort = adopt(child, exit, report);
        tree.do_send(GuestRuns { path, incarnation, abort });
        Ok(())
    }
}

impl Handler<Adopt> for Tree {
    type Result = Result<u64, TreeError>;

    fn handle(&mut self, message: Adopt, ctx: &mut Self::Context) -> Self::Result {
        let path = self.insert(&message.parent, &message.name, message.kind, Body::Guest(message.mailbox))?;
        let incarnation = self.new_incarnation();
        if let Some(node) = self.nodes.get_mut(&path) {
            node.incarnation = incarnation;
            node.enter(Phase::Starting);
        }
        // Its client may have gone between asking and running: nobody else would ever take it away.
        ctx.run_later(GUEST_LIMIT, move |tree, _| {
            let never_ran = |node: &Node| node.incarnation == incarnation && node.abort.is_none();
            if tree.nodes.get(&path).is_some_and(never_ran) {
                tree.forget(&path);
            }
        });
        Ok(incarnation)
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct GuestRuns {
    path: String,
    incarnation: u64,
    abort: futures_util::future::AbortHandle,
}

impl Handler<GuestRuns> for Tree {
    type Result = ();

    fn handle(&mut self, message: GuestRuns, _: &mut Self::Context) {
        let node = self.nodes.get_mut(&message.path);
        if let Some(node) = node.filter(|node| node.incarnation == message.incarnation) {
            node.abort = Some(message.abort);
        }
    }
}

/// News of one incarnation.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct News {
    pub(super) path: String,
    pub(super) incarnation: u64,
    pub(super) life: Life,
}

impl Handler<News> for Tree {
    type Result = ();

    fn handle(&mut self, message: News, ctx: &mut Self::Context) {
        self.on_news(message, ctx);
    }
}

/// What an order does to a node and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Stop if need be, and build anew.
    Restart,
    /// Stop until told otherwise.
    Stop,
    /// Start what was stopped, or is waiting.
    Start,
}

/// Restarts, stops or starts a branch or a leaf; answered when that has happened.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), TreeError>")]
pub struct Order {
    /// Which node.
    pub path: String,
    /// What to do.
    pub kind: OrderKind,
}

impl Handler<Order> for Tree {
    type Result = ResponseFuture<Result<(), TreeError>>;

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) -> Self::Result {
        match self.carry_out(&order, ctx) {
            Ok(waits) => Box::pin(async {
                futures_util::future::join_all(waits).await;
                Ok(())
            }),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }
}

/// Stops a node and forgets it with all below it; answered when it is gone.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), TreeError>")]
pub struct Remove(pub String);

impl Handler<Remove> for Tree {
    type Result = ResponseActFuture<Self, Result<(), TreeError>>;

    fn handle(&mut self, Remove(path): Remove, ctx: &mut Self::Context) -> Self::Result {
        let removing = self.remove(&path, ctx);
        let gone = async move {
            futures_util::future::join_all(removing?).await;
            Ok(())
        };
        Box::pin(gone.into_actor(self).map(move |outcome, tree, _| {
            tree.forget_branches(&path);
            outcome
        }))
    }
}

/// Asks for a node and all below it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<NodeSnapshot, TreeError>")]
pub struct Snapshot {
    /// Which node, `/` for the root.
    pub path: String,
    /// Whether each actor is asked what it sees of itself.
    pub detail: bool,
}

impl Handler<Snapshot> for Tree {
    type Result = ResponseFuture<Result<NodeSnapshot, TreeError>>;

    fn handle(&mut self, message: Snapshot, _: &mut Self::Context) -> Self::Result {
        let Some(mut snapshot) = self.snapshot(&message.path) else {
            return Box::pin(async move { Err(TreeError::UnknownPath(message.path)) });
        };
        if !message.detail {
            return Box::pin(async { Ok(snapshot) });
        }
        let ports = self.observers(&message.path);
        Box::pin(async move {
            let mut details = snapshot::ask(ports).await;
            snapshot::fill_in(&mut snapshot, &mut details);
            Ok(snapshot)
        })
    }
}

/// Runs a future beside the tree and hands its outcome back to it.
fn beside<T: 'static>(
    ctx: &mut Context<Tree>,
    future: impl Future<Output = T> + 'static,
    then: impl FnOnce(T, &mut Tree, &mut Context<Tree>) + 'static,
) {
    let future = actix::fut::wrap_future::<_, Tree>(future);
    ctx.spawn(future.map(move |outcome, tree, ctx| then(outcome, tree, ctx)));
}
