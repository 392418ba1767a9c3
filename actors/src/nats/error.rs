//! Why a session with a NATS cluster can't begin or go on.

use std::{error::Error, io, time::Duration};

use bifrost_security::tls::HandshakeError;
use nats::{ConnectError, ConnectErrorKind, rustls};

/// What failed, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NatsError {
    /// A secret, a key or a certificate can't be had.
    #[error("{key}: {problem}")]
    Key {
        /// Which setting names it.
        key: &'static str,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Nothing listens.
    #[error("{server} refuses the connection; start the server, or correct servers")]
    Closed {
        /// Which server.
        server: String,
    },
    /// No such host.
    #[error("the host of {server} is not found ({problem}); correct servers, or the name server")]
    NotFound {
        /// Which server.
        server: String,
        /// What the resolver says.
        problem: String,
    },
    /// No answer in time.
    #[error(
        "{server} didn't answer within {limit:?}; look at the server and the network, or raise connect_timeout"
    )]
    TimedOut {
        /// Which server.
        server: String,
        /// The limit.
        limit: Duration,
    },
    /// The server doesn't accept the login.
    #[error("{server} refuses the login ({login}); correct it here or at the server")]
    Login {
        /// Which server.
        server: String,
        /// How the gateway logs in.
        login: &'static str,
    },
    /// The two ends don't trust each other.
    #[error(
        "TLS with {server} failed: {problem}; look at tls.ca_file, tls.cert_file and the server's certificate, and whether it offers TLS 1.3"
    )]
    Tls {
        /// Which server.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// Connecting failed otherwise.
    #[error("connecting to {server} failed: {problem}")]
    Connect {
        /// Which server.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// None of several servers could be used.
    #[error("no server can be used: {0}")]
    NoServer(String),
    /// The connection broke.
    #[error("the connection to {server} was lost{}", because(.problem.as_ref()))]
    Lost {
        /// Which server.
        server: String,
        /// What the server said before.
        problem: Option<String>,
    },
    /// The connection is open, and nothing comes back.
    #[error(
        "{server} has acknowledged nothing for {limit:?}; look at the server's load and log, and at the network"
    )]
    Silent {
        /// Which server.
        server: String,
        /// For how long.
        limit: Duration,
    },
    /// The user may not do what a session needs.
    #[error("the server doesn't permit this user to {action} {subject}; grant it at the server")]
    Denied {
        /// `publish to` or `subscribe to`.
        action: &'static str,
        /// Which subject.
        subject: String,
    },
    /// There is no `JetStream`.
    #[error(
        "{server} has no JetStream for this account; enable it at the server, or set jetstream.enabled: false"
    )]
    NoJetStream {
        /// Which server.
        server: String,
    },
    /// `JetStream` doesn't answer, or not now.
    #[error("JetStream can't be asked about stream {stream} now: {problem}; it is tried again")]
    Passing {
        /// Which stream.
        stream: String,
        /// What is wrong.
        problem: String,
    },
    /// Another stream takes the same subjects.
    #[error(
        "stream {stream} can't be made: another stream already takes some of {subjects}; name that one in jetstream.stream, or change subjects"
    )]
    Overlap {
        /// Which stream.
        stream: String,
        /// Its subjects.
        subjects: String,
    },
    /// The servers have no room.
    #[error(
        "stream {stream} can't be made: {problem}; lower jetstream.max_bytes or jetstream.replicas, or give the servers more room"
    )]
    NoRoom {
        /// Which stream.
        stream: String,
        /// What the server says.
        problem: String,
    },
    /// The server refuses the stream for another reason.
    #[error("stream {stream} can't be made: {problem} (error {code})")]
    Stream {
        /// Which stream.
        stream: String,
        /// What the server says.
        problem: String,
        /// Its number for that.
        code: u64,
    },
}

fn because(problem: Option<&String>) -> String {
    problem.map_or_else(String::new, |problem| format!(": {problem}"))
}

impl NatsError {
    /// Why one server couldn't be connected to.
    pub(super) fn of_connecting(
        server: &str,
        login: &'static str,
        limit: Duration,
        error: &ConnectError,
    ) -> Self {
        let (server, problem) = (server.to_owned(), root(error));
        match error.kind() {
            ConnectErrorKind::Dns => Self::NotFound { server, problem },
            ConnectErrorKind::TimedOut => Self::TimedOut { server, limit },
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                Self::Login { server, login }
            }
            ConnectErrorKind::Tls => Self::Tls { server, problem: of_tls(error).unwrap_or(problem) },
            _ if has::<rustls::Error>(error) => {
                Self::Tls { server, problem: of_tls(error).unwrap_or(problem) }
            }
            _ if is_refusal(error) => Self::Closed { server },
            _ => Self::Connect { server, problem },
        }
    }

    /// Whether waiting may help while the connection stays.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Passing { .. })
    }
}

/// The errors behind an error, itself first. What an I/O error wraps isn't among its sources.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(move || error.source())
    })
}

fn has<E: Error + 'static>(error: &ConnectError) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<E>().is_some())
}

/// What rustls says of certificates, in the words that the other connections have for it.
fn of_tls(error: &ConnectError) -> Option<String> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};
    let told = causes(error).find_map(|cause| cause.downcast_ref::<Tls>())?;
    let said = || told.to_string();
    let words = match told {
        Tls::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer | Bad::BadSignature => HandshakeError::Untrusted(said()),
            Bad::Expired | Bad::ExpiredContext { .. } => HandshakeError::Expired,
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => HandshakeError::NotYetValid,
            Bad::Revoked => HandshakeError::Revoked,
            Bad::UnknownRevocationStatus
            | Bad::ExpiredRevocationList
            | Bad::ExpiredRevocationListContext { .. } => HandshakeError::NoRevocationList(said()),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                HandshakeError::WrongName("in the server's URL".to_owned())
            }
            _ => HandshakeError::Unacceptable(said()),
        },
        Tls::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => HandshakeError::NoCertificate,
            Alert::BadCertificate => HandshakeError::Refused("bad certificate"),
            Alert::CertificateExpired => HandshakeError::Refused("it has expired"),
            Alert::CertificateRevoked => HandshakeError::Refused("it is revoked"),
            Alert::UnknownCA => HandshakeError::Refused("unknown authority"),
            _ => return None,
        },
        _ => return None,
    };
    Some(words.to_string())
}

fn is_refusal(error: &ConnectError) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// What is at the bottom of an error, in its own words.
fn root(error: &ConnectError) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// A server's `Permissions Violation for Publish to "x"`: what was denied, and on which subject.
pub(super) fn denial(text: &str) -> Option<(&'static str, &str)> {
    const PREFIX: &str = "permissions violation for ";
    let begin = text.to_ascii_lowercase().find(PREFIX)?;
    let rest = text.get(begin + PREFIX.len()..)?;
    let action = if rest.to_ascii_lowercase().starts_with("publish") { "publish to" } else { "subscribe to" };
    let subject = rest.split('"').nth(1)?;
    Some((action, subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_denies_is_found_in_its_words() {
        for (text, expected) in [
            (r#"Permissions Violation for Publish to "a.b""#, Some(("publish to", "a.b"))),
            (r#"'permissions violation for publish to "a.B"'"#, Some(("publish to", "a.B"))),
            (
                r#"Permissions Violation for Subscription to "a.*" using queue "q""#,
                Some(("subscribe to", "a.*")),
            ),
            ("Stale Connection", None),
        ] {
            assert_eq!(denial(text), expected, "{text}");
        }
    }

    #[test]
    fn the_cause_of_a_failed_connection_is_told_from_others() {
        let limit = Duration::from_secs(1);
        let of = |error: ConnectError| NatsError::of_connecting("nats://x:1", "a token", limit, &error);
        let server = "nats://x:1".to_owned();
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(of(refused.into()), NatsError::Closed { server: server.clone() });
        let tls = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::HandshakeNotComplete);
        assert!(matches!(of(tls.into()), NatsError::Tls { .. }));
        let login = ConnectError::new(ConnectErrorKind::AuthorizationViolation);
        assert_eq!(of(login), NatsError::Login { server, login: "a token" });
    }
}
