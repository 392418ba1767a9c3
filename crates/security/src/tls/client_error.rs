//! Why a TLS client and a server didn't come to terms, in words that say who has to do what.
//!
//! OpenSSL has a result of verification, reasons, and alerts of the other side; each that an operator meets
//! gets a sentence, and every other is told as OpenSSL words it.

use std::io;

use openssl::{
    error::{Error as Reason, ErrorStack},
    ssl::{self, ErrorCode},
    x509::X509VerifyResult,
};
use thiserror::Error;

use super::client_files::words;

/// Why there is no encrypted connection. Sentences without the server's name, which their reader knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// Nobody who is trusted vouches for the server.
    #[error(
        "the server's certificate isn't signed by an authority that is trusted here; name its authority in ca_file ({0})"
    )]
    Untrusted(String),
    /// Its certificate is too old.
    #[error("the server's certificate, or one of its authorities', has expired; renew it at the server")]
    Expired,
    /// Its certificate is too young.
    #[error("the server's certificate isn't valid yet; check the clocks of both machines")]
    NotYetValid,
    /// Its certificate was revoked.
    #[error("the server's certificate is revoked by the list in crl_file; give the server a new one")]
    Revoked,
    /// Whether it was revoked isn't known.
    #[error("crl_file has no usable revocation list of the server's authority ({0}); fetch the current one")]
    NoRevocationList(String),
    /// It is somebody else.
    #[error(
        "the server's certificate isn't for the name {0}; correct the address or server_name, or give the server a certificate with that name"
    )]
    WrongName(String),
    /// It isn't the pinned one.
    #[error(
        "the server's certificate has the fingerprint {shown}, not the one in pinned_sha256; if it was renewed, pin the new one"
    )]
    WrongPin {
        /// SHA-256 of what it showed, lower case hexadecimal.
        shown: String,
    },
    /// Its certificate is otherwise bad.
    #[error("the server's certificate is refused: {0}")]
    Unacceptable(String),
    /// The server wants to know who we are.
    #[error("the server wants a certificate of this gateway; name one in cert_file and key_file")]
    NoCertificate,
    /// The server doesn't accept who we are.
    #[error(
        "the server refuses the certificate in cert_file: {0}; it must be signed by an authority that the server trusts, be in date and not revoked"
    )]
    Refused(&'static str),
    /// No version in common.
    #[error("the two ends have no version of TLS in common: the server has nothing as new as min_version")]
    Version,
    /// No cipher or signature in common.
    #[error(
        "the server ends the handshake: no cipher, signature or curve in common, or it refuses this client ({0})"
    )]
    NothingInCommon(&'static str),
    /// No protocol in common.
    #[error("the server speaks none of the protocols in alpn; correct it, or remove it")]
    Alpn,
    /// The server doesn't know the name it was asked for.
    #[error("the server doesn't know the name it was asked for; correct server_name")]
    UnknownName,
    /// Something else than TLS.
    #[error("what answers there doesn't speak TLS; check the port")]
    NotTls,
    /// The server went away in the middle.
    #[error("the server closed the connection during the handshake")]
    Closed,
    /// The connection broke.
    #[error("the connection broke during the handshake: {0}")]
    Broken(String),
    /// Whatever else OpenSSL says.
    #[error("the handshake failed: {0}")]
    Other(String),
}

const ERR_LIB_SSL: i32 = 20;
/// From here on reasons are alerts of the other side.
const ALERTS: i32 = 1000;

/// Explains a failed handshake. `name`: whom the certificate had to be for.
pub(super) fn explain(error: &ssl::Error, verified: X509VerifyResult, name: &str) -> HandshakeError {
    if let Some(because) = of_verification(verified, name) {
        return because;
    }
    if let Some(because) = error.ssl_error().and_then(of_reasons) {
        return because;
    }
    match (error.io_error(), error.ssl_error()) {
        (Some(error), _) if is_end(error) => HandshakeError::Closed,
        (Some(error), _) => HandshakeError::Broken(error.to_string()),
        (None, Some(stack)) if !stack.errors().is_empty() => HandshakeError::Other(words(stack)),
        _ if matches!(error.code(), ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN) => HandshakeError::Closed,
        _ => HandshakeError::Other(error.to_string()),
    }
}

/// The same of an error after the handshake: with TLS 1.3 a server refuses a client's certificate only then.
pub(super) fn explain_later(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ssl::Error>());
    match inner.and_then(ssl::Error::ssl_error).and_then(of_reasons) {
        Some(HandshakeError::Closed) => io::ErrorKind::UnexpectedEof.into(),
        Some(because) => io::Error::new(io::ErrorKind::ConnectionAborted, because),
        None => error,
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Numbers of `x509_vfy.h`.
fn of_verification(result: X509VerifyResult, name: &str) -> Option<HandshakeError> {
    let said = || result.error_string().to_owned();
    Some(match result.as_raw() {
        0 => return None,
        2 | 7 | 18 | 19 | 20 | 21 | 27 => HandshakeError::Untrusted(said()),
        9 => HandshakeError::NotYetValid,
        10 => HandshakeError::Expired,
        3 | 4 | 8 | 11 | 12 | 33 | 44 => HandshakeError::NoRevocationList(said()),
        23 => HandshakeError::Revoked,
        62 | 64 => HandshakeError::WrongName(name.to_owned()),
        _ => HandshakeError::Unacceptable(said()),
    })
}

fn of_reasons(stack: &ErrorStack) -> Option<HandshakeError> {
    stack.errors().iter().find_map(of_reason)
}

/// Numbers of `sslerr.h` and, above [`ALERTS`], of RFC 8446, section 6.
fn of_reason(reason: &Reason) -> Option<HandshakeError> {
    if reason.library_code() != ERR_LIB_SSL {
        return None;
    }
    if let Some(alert) = reason.reason_code().checked_sub(ALERTS).filter(|alert| *alert >= 0) {
        return of_alert(alert);
    }
    match reason.reason_code() {
        // WRONG_VERSION_NUMBER, PACKET_LENGTH_TOO_LONG, RECORD_LAYER_FAILURE, HTTP_REQUEST, UNEXPECTED_MESSAGE,
        // BAD_RECORD_TYPE
        267 | 198 | 313 | 156 | 244 | 443 => Some(HandshakeError::NotTls),
        // UNSUPPORTED_PROTOCOL, VERSION_TOO_LOW, NO_PROTOCOLS_AVAILABLE
        258 | 396 | 191 => Some(HandshakeError::Version),
        // UNEXPECTED_EOF_WHILE_READING
        294 => Some(HandshakeError::Closed),
        _ => None,
    }
}

fn of_alert(alert: i32) -> Option<HandshakeError> {
    Some(match alert {
        10 => HandshakeError::NothingInCommon("it didn't expect the message"),
        40 => HandshakeError::NothingInCommon("handshake failure"),
        41 | 116 => HandshakeError::NoCertificate,
        42 => HandshakeError::Refused("bad certificate"),
        43 => HandshakeError::Refused("unsupported certificate"),
        44 => HandshakeError::Refused("it is revoked"),
        45 => HandshakeError::Refused("it has expired"),
        46 => HandshakeError::Refused("certificate unknown"),
        48 => HandshakeError::Refused("unknown authority"),
        49 => HandshakeError::Refused("access denied"),
        51 => HandshakeError::Refused("its signature can't be verified"),
        70 => HandshakeError::Version,
        71 => HandshakeError::NothingInCommon("insufficient security"),
        112 => HandshakeError::UnknownName,
        120 => HandshakeError::Alpn,
        _ => return None,
    })
}
