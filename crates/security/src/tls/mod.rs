//! TLS on both sides: what is loaded from files, and who the peer is.

mod client;
mod client_error;
mod client_files;
mod fingerprint;
mod peer;

pub use client::{ClientError, ClientStream, ClientTls, Connector, MinVersion};
pub use client_error::HandshakeError;
pub use client_files::FileError;
pub use fingerprint::Fingerprint;
pub use peer::Peer;
