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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener, TcpStream},
        path::{Path, PathBuf},
    };

    use actix_web::{App, HttpRequest, HttpServer, web};
    use bifrost_security::{
        pki::{Folder, KeyAlgorithm, KeySource, Order, Profile, Setup, Subject},
        tls::{ClientAuth, Peer, ServerIdentity, ServerSettings},
    };
    use openssl::ssl::{SslConnector, SslFiletype, SslMethod};

    use super::introduce;

    async fn who(request: HttpRequest) -> String {
        let peer = request.conn_data::<Peer>();
        peer.and_then(|peer| peer.common_name.clone()).unwrap_or_else(|| "nobody".to_owned())
    }

    fn folder(path: &Path) -> Folder {
        let setup = Setup { name: "Test".to_owned(), algorithm: KeyAlgorithm::P256, passphrase: None };
        let mut folder = Folder::create(path, &setup).unwrap();
        for (profile, name) in [(Profile::Server, "localhost"), (Profile::Client, "alice")] {
            let (subject, algorithm) = (Subject::named(name), KeyAlgorithm::P256);
            let order = Order { profile, subject, days: None, algorithm, name: None };
            folder.issue(&order, &KeySource::default()).unwrap();
        }
        folder
    }

    /// What the server answers to whoever shows this certificate.
    fn ask(address: SocketAddr, root: PathBuf, client: Option<(PathBuf, PathBuf)>) -> String {
        let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
        builder.set_ca_file(root).unwrap();
        if let Some((certificate, key)) = client {
            builder.set_certificate_chain_file(certificate).unwrap();
            builder.set_private_key_file(key, SslFiletype::PEM).unwrap();
        }
        let stream = TcpStream::connect(address).unwrap();
        let mut stream = builder.build().connect("localhost", stream).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
    }

    #[actix_web::test]
    async fn handlers_know_who_showed_a_certificate() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = folder(&temporary.path().join("pki"));
        let root = folder.certificate_file(Profile::Root);
        let identity = ServerIdentity::load(ServerSettings {
            certificate: folder.issued_file("localhost"),
            key: folder.issued_key_file("localhost"),
            client_auth: ClientAuth::Optional,
            client_authorities: Some(root.clone()),
            ..ServerSettings::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = HttpServer::new(|| App::new().default_service(web::to(who)))
            .workers(1)
            .on_connect(introduce)
            .disable_signals()
            .listen_openssl(listener, identity.unwrap().acceptor().unwrap())
            .unwrap()
            .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let alice = (folder.issued_file("alice"), folder.issued_key_file("alice"));
        for (client, name) in [(Some(alice), "alice"), (None, "nobody")] {
            let root = root.clone();
            let answer = web::block(move || ask(address, root, client)).await.unwrap();
            assert_eq!(answer, name);
        }
        handle.stop(false).await;
    }
}
