//! Why there is no session, in words for whoever has to do something about it.

use std::{io, time::Duration};

use bifrost_security::tls::FileError;
use thiserror::Error;

/// Why a session couldn't be opened. Each names the server or the file, and what to do.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// The host has no address.
    #[error(
        "the host of {server} can't be found: {evidence}; check the name, and the resolver of this machine"
    )]
    Name { server: String, evidence: io::Error },
    /// Nobody knows whether it has one.
    #[error(
        "looking up the host of {server} takes longer than {limit:?}; check the resolver of this machine, or write the address"
    )]
    SlowName { server: String, limit: Duration },
    /// No connection.
    #[error(
        "{server} can't be reached: {evidence}; check the address, the port, and whether the broker runs"
    )]
    Unreachable { server: String, evidence: io::Error },
    /// No answer.
    #[error(
        "{server} didn't answer within {limit:?}; check the port and what lies between, or raise connect_timeout"
    )]
    Timeout { server: String, limit: Duration },
    /// Connected, and then nothing.
    #[error("{server} accepted the connection and then acknowledged nothing within {limit:?}")]
    Silent { server: String, limit: Duration },
    /// No trust.
    #[error("TLS with {server} failed: {problem}")]
    Tls { server: String, problem: String },
    /// Closed without a word.
    #[error("{server} closed the connection without an answer{hint}")]
    Closed { server: String, hint: &'static str },
    /// Closed with a word.
    #[error("{server} refused the connection: {code} {name}{more}; {advice}")]
    Refused { server: String, code: u8, name: &'static str, more: String, advice: &'static str },
    /// A file of the settings.
    #[error("tls.{0}")]
    File(FileError),
    /// The password.
    #[error("the password of {server} isn't there: {problem}")]
    Password { server: String, problem: String },
    /// What the settings say can't be used.
    #[error("{key} {problem}")]
    Setting { key: &'static str, problem: String },
    /// The client library.
    #[error("the MQTT client failed on {server}: {evidence}")]
    Client { server: String, evidence: String },
}
