//! One test's tree, and the clock it runs by.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, Addr};
use tokio::time::Instant;

use crate::supervision::{
    AddBranch, AddChild, Arbiters, ChildSpec, ChildState, NodeSnapshot, Notice, Order, OrderKind, Remove,
    Snapshot, SupervisionSettings, Tree, TreeError,
};

/// How long [`until`] waits: an hour of virtual time is nothing, and of real time nobody's.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tree of its own for one test.
#[derive(Clone)]
pub struct Universe {
    tree: Addr<Tree>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Universe {
    /// Runs a test under virtual time with everything on one thread, and fails it when an actor still runs
    /// after all were stopped.
    pub fn run<F: Future<Output = ()>>(settings: SupervisionSettings, test: impl FnOnce(Self) -> F) {
        virtual_time().block_on(Self::orderly(settings, 0, test));
    }

    /// Runs a test under virtual time and lets go of everything at its end, as a process that is killed does.
    pub fn crash<F: Future<Output = ()>>(settings: SupervisionSettings, test: impl FnOnce(Self) -> F) {
        virtual_time().block_on(async { test(Self::start(settings, 0)).await });
    }

    /// Runs a test under real time with worker threads: for threads that are blocked.
    pub fn on_threads<F: Future<Output = ()>>(
        workers: usize,
        settings: SupervisionSettings,
        test: impl FnOnce(Self) -> F,
    ) {
        actix::System::new().block_on(Self::orderly(settings, workers, test));
    }

    async fn orderly<F: Future<Output = ()>>(
        settings: SupervisionSettings,
        workers: usize,
        test: impl FnOnce(Self) -> F,
    ) {
        let universe = Self::start(settings, workers);
        test(universe.clone()).await;
        universe.end().await;
    }

    fn start(settings: SupervisionSettings, workers: usize) -> Self {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&notices);
        let sink = Box::new(move |notice| told.lock().unwrap_or_else(PoisonError::into_inner).push(notice));
        let tree = Tree::new(settings, Arbiters::start(workers), sink).start();
        Self { tree, notices }
    }

    async fn end(&self) {
        let forced: Vec<_> =
            self.leaves().await.into_iter().filter(was_dropped).map(|leaf| leaf.path).collect();
        assert_eq!(self.order("/", OrderKind::Stop).await, Ok(()));
        let mut left = self.leaves().await;
        left.retain(|leaf| {
            leaf.state != ChildState::Stopped || (was_dropped(leaf) && !forced.contains(&leaf.path))
        });
        assert!(left.is_empty(), "still running at the end: {left:#?}");
    }

    async fn leaves(&self) -> Vec<NodeSnapshot> {
        let mut open: Vec<_> = self.node("/").await.ok().into_iter().collect();
        let mut leaves = Vec::new();
        while let Some(mut node) = open.pop() {
            open.append(&mut node.children);
            if node.mailbox.is_some() {
                leaves.push(node);
            }
        }
        leaves
    }

    /// The tree's address.
    pub fn tree(&self) -> &Addr<Tree> {
        &self.tree
    }

    /// Adds a branch.
    pub async fn branch(&self, parent: &str, name: &str) -> Result<String, TreeError> {
        let add = AddBranch { parent: parent.to_owned(), name: name.to_owned() };
        self.tree.send(add).await.unwrap_or(Err(TreeError::Gone))
    }

    /// Adds a child, and waits until it runs or has failed once.
    pub async fn add(&self, parent: &str, spec: ChildSpec) -> Result<String, TreeError> {
        let add = AddChild { parent: parent.to_owned(), spec };
        self.tree.send(add).await.unwrap_or(Err(TreeError::Gone))
    }

    /// Adds a child without waiting.
    pub fn begin(&self, parent: &str, spec: ChildSpec) {
        self.tree.do_send(AddChild { parent: parent.to_owned(), spec });
    }

    /// Gives an order.
    pub async fn order(&self, path: &str, kind: OrderKind) -> Result<(), TreeError> {
        self.tree.send(Order { path: path.to_owned(), kind }).await.unwrap_or(Err(TreeError::Gone))
    }

    /// Removes a node.
    pub async fn remove(&self, path: &str) -> Result<(), TreeError> {
        self.tree.send(Remove(path.to_owned())).await.unwrap_or(Err(TreeError::Gone))
    }

    /// A node and what is below it.
    pub async fn node(&self, path: &str) -> Result<NodeSnapshot, TreeError> {
        self.snapshot(path, false).await
    }

    /// The same, with what each actor sees of itself.
    pub async fn node_with_detail(&self, path: &str) -> Result<NodeSnapshot, TreeError> {
        self.snapshot(path, true).await
    }

    async fn snapshot(&self, path: &str, detail: bool) -> Result<NodeSnapshot, TreeError> {
        self.tree.send(Snapshot { path: path.to_owned(), detail }).await.unwrap_or(Err(TreeError::Gone))
    }

    /// What a node is doing; `None` when there is no such node.
    pub async fn state(&self, path: &str) -> Option<ChildState> {
        self.node(path).await.ok().map(|node| node.state)
    }

    /// Waits until a node is in a state.
    pub async fn until_state(&self, path: &str, state: ChildState) {
        let deadline = Instant::now() + Duration::from_mins(5);
        while self.state(path).await != Some(state) {
            assert!(
                Instant::now() < deadline,
                "{path} doesn't become {state:?}: {:?}",
                self.node(path).await
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the tree has told of itself so far.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn was_dropped(leaf: &NodeSnapshot) -> bool {
    leaf.last_error.as_deref() == Some("didn't stop in time and was dropped")
}

fn virtual_time() -> actix::SystemRunner {
    actix::System::with_tokio_rt(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap_or_else(|error| panic!("no runtime: {error}"))
    })
}

/// Runs something under virtual time, with everything on one thread.
pub fn in_virtual_time(test: impl Future<Output = ()>) {
    virtual_time().block_on(test);
}

/// Waits until something holds, looking every few milliseconds of whichever clock runs.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
