//! Store and forward, one for each broker session: what can't be sent now waits in memory, then on disk.
//!
//! `outbox` holds the rules, `store` the files; the actor between them decides when. Knows no broker:
//! who carries its messages attaches ([`crate::broker::Attach`]).

mod actor;
mod age;
mod answers;
mod descriptions;
mod disk;
mod disk_state;
mod farewell;
mod flow;
mod gaps;
mod losses;
mod messages;
mod outbox;
mod pump;
mod reader;
mod report;
mod settings;
mod store;
mod writer;

pub(crate) use actor::{Bury, Diagnose, Parts, spec};
pub use losses::LastDrop;
pub use messages::{
    Depth, DroppedReport, PendingRange, ReplayReport, ReportSpool, SpoolDesk, SpoolReport, SpoolState,
};
pub use settings::{Mode, Modes, OnFull, SpoolSettings};
