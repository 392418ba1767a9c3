//! TLS on both sides: what is loaded from files, and who the peer is.

mod peer;

pub use peer::Peer;
