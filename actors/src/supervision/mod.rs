//! Restarts what fails, so that its neighbours don't notice.
//!
//! actix's own supervisor survives no panic, keeps the failed actor's state and knows no backoff. Here a
//! child is built by its factory, runs inside a guard that learns of every end (in `child`), and is rebuilt by
//! the [`Tree`] as the one policy table says ([`SupervisionSettings`]). State that must survive a rebuild
//! lives on disk or in a [`Slot`], never in the actor.

mod arbiters;
mod backoff;
mod child;
mod mailbox;
mod messages;
mod policy;
mod slot;
mod tree;

pub use arbiters::{Arbiters, Placement};
pub use backoff::Backoff;
pub use child::{Birth, BuildFuture, Child, ChildSpec, Exit, Supervised};
pub use mailbox::{MailboxStats, Port, Undelivered};
pub use messages::{
    ChildState, ControlPorts, MailboxSnapshot, NodeSnapshot, Observation, Observe, Ping, Stop,
};
pub use policy::{BadPolicy, Beyond, ChildKind, RestartPolicy, SupervisionSettings};
pub use slot::{Slot, Tenancy};
pub use tree::{
    AddBranch, AddChild, Adopt, Notice, NoticeSink, Order, OrderKind, Remove, Snapshot, Tree, TreeError,
    encode_name,
};
