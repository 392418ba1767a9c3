//! One actor per client of the live feed.
//!
//! The client says what it wants, gets what is known and then what is new. One that reads too slowly gets
//! the newest value of each tag and is told how many it missed; it holds nobody else up, since what waits for
//! it is bounded and its own.

mod actor;
mod backlog;
mod frames;
mod permit;
mod request;

pub use actor::serve;
pub use permit::{Allowed, Permit};
