//! Who is at the other end of a connection, where a client certificate says so.

use std::any::Any;

use actix_tls::accept::openssl::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use bifrost_security::tls::Peer;

/// Puts the [`Peer`] among a new connection's data, if it showed a certificate. The handshake has checked it:
/// one that isn't believed never gets here.
pub(super) fn introduce(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else { return };
    let Some(certificate) = stream.ssl().peer_certificate() else { return };
    match Peer::of(&certificate) {
        Ok(peer) => drop(data.insert(peer)),
        // Without a peer the client is nobody, which may do the least.
        Err(error) => tracing::warn!(%error, "a client's certificate can't be read; it counts as none"),
    }
}
