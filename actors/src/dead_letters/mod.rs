//! What a broker refuses for good, and commands that nobody understands: kept with the reason, bounded, to be
//! looked at, replayed or deleted.
//!
//! Burying never holds anybody up: what the disk or the mailbox doesn't take is counted and lost.

mod actor;
mod file;
mod messages;
mod pace;
mod replay;
mod settings;
mod stock;
mod work;

pub(crate) use actor::{Parts, spec};
pub use messages::{
    Asked, Bury, DeleteLetters, GetLetter, Letter, Letters, LettersPorts, ListLetters, NewLetter, Replay,
    ReplayError, Replayed, What, Which,
};
pub use replay::FindSpool;
pub use settings::DeadLetterSettings;
