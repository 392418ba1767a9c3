//! Handshakes over sockets of this machine: what is replaced while clients come and go.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

use openssl::{
    ssl::{SslConnector, SslMethod, SslVersion},
    x509::X509,
};

use super::{ClientAuth, Credentials, Peer, ServerError, ServerIdentity, ServerSettings, Trust};
use crate::pki::{Folder, KeyAlgorithm, KeySource, Order, Profile, Reason, Setup, Subject};

fn folder(path: &Path) -> Folder {
    let setup = Setup { name: "Test".to_owned(), algorithm: KeyAlgorithm::P256, passphrase: None };
    Folder::create(&path.join("pki"), &setup).unwrap()
}

fn issue(folder: &mut Folder, profile: Profile, name: &str) {
    let order = Order {
        profile,
        subject: Subject::named(name),
        days: None,
        algorithm: KeyAlgorithm::P256,
        name: None,
    };
    folder.issue(&order, &KeySource::default()).unwrap();
}

fn settings(folder: &Folder, client_auth: ClientAuth) -> ServerSettings {
    ServerSettings {
        certificate: folder.issued_file("localhost"),
        key: folder.issued_key_file("localhost"),
        authorities: Some(folder.certificate_file(Profile::Root)),
        client_auth,
        client_authorities: Some(folder.certificate_file(Profile::Root)),
        revocation_lists: Some(folder.lists_file()),
        ..ServerSettings::default()
    }
}

/// One handshake; answers whom the client saw, and whom the server saw.
fn meet(
    identity: &ServerIdentity,
    folder: &Folder,
    client: Option<&str>,
) -> Result<(Peer, Option<Peer>), String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor().unwrap().build();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = acceptor.accept(stream).map_err(|error| error.to_string())?;
        let peer = stream.ssl().peer_certificate().map(|certificate| Peer::of(&certificate).unwrap());
        stream.write_all(b"hello").map_err(|error| error.to_string())?;
        Ok::<_, String>(peer)
    });
    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.set_ca_file(folder.certificate_file(Profile::Root)).unwrap();
    connector.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    if let Some(name) = client {
        connector.set_certificate_chain_file(folder.issued_file(name)).unwrap();
        let key = Credentials::load(&folder.issued_file(name), &folder.issued_key_file(name)).unwrap().key;
        connector.set_private_key(&key).unwrap();
    }
    let stream = TcpStream::connect(address).unwrap();
    let seen = connector.build().connect("localhost", stream).map_err(|error| error.to_string()).and_then(
        |mut it| {
            let seen = Peer::of(&it.ssl().peer_certificate().unwrap()).unwrap();
            let mut hello = [0; 5];
            it.read_exact(&mut hello).map_err(|error| error.to_string())?;
            Ok(seen)
        },
    );
    let peer = server.join().unwrap();
    Ok((seen?, peer?))
}

#[test]
fn a_listener_shows_what_was_replaced_since_it_was_made() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = folder(temporary.path());
    issue(&mut folder, Profile::Server, "localhost");
    let identity = ServerIdentity::load(settings(&folder, ClientAuth::None)).unwrap();
    let (before, _) = meet(&identity, &folder, None).unwrap();
    assert_eq!(before.fingerprint, identity.fingerprint());
    assert!(identity.answers_to("LOCALHOST") && !identity.answers_to("other"));
    // The acceptor of before, asked later.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor().unwrap().build();
    let server = thread::spawn(move || acceptor.accept(listener.accept().unwrap().0).map(drop).is_ok());
    let renewed = folder.renew("localhost", None, &KeySource::default()).unwrap();
    assert!(identity.reload().unwrap());
    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.set_ca_file(folder.certificate_file(Profile::Root)).unwrap();
    let stream = connector.build().connect("localhost", TcpStream::connect(address).unwrap()).unwrap();
    let shown = Peer::of(&stream.ssl().peer_certificate().unwrap()).unwrap();
    assert!(server.join().unwrap());
    assert_eq!(shown.serial, renewed.record.serial);
    assert_ne!(shown, before);
    assert!(!identity.reload().unwrap(), "nothing is new");
}

#[test]
fn what_is_no_good_leaves_everything_as_it_was() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = folder(temporary.path());
    issue(&mut folder, Profile::Server, "localhost");
    let identity = ServerIdentity::load(settings(&folder, ClientAuth::None)).unwrap();
    let fingerprint = identity.fingerprint();
    std::fs::write(folder.issued_key_file("localhost"), "nothing").unwrap();
    let error = identity.reload().unwrap_err().to_string();
    assert!(error.contains("localhost.key: holds no private key"), "{error}");
    assert_eq!(identity.fingerprint(), fingerprint);
}

#[test]
fn a_client_is_known_by_its_certificate_until_that_is_revoked() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = folder(temporary.path());
    issue(&mut folder, Profile::Server, "localhost");
    issue(&mut folder, Profile::Client, "alice");
    let identity = ServerIdentity::load(settings(&folder, ClientAuth::Required)).unwrap();
    let (_, peer) = meet(&identity, &folder, Some("alice")).unwrap();
    let record = folder.records().iter().find(|record| record.name == "alice").unwrap().clone();
    let peer = peer.unwrap();
    assert_eq!((peer.common_name.as_deref(), &peer.serial), (Some("alice"), &record.serial));
    assert_eq!(peer.fingerprint, record.fingerprint);
    assert!(meet(&identity, &folder, None).is_err());
    folder.revoke("alice", Reason::KeyCompromise, &KeySource::default()).unwrap();
    meet(&identity, &folder, Some("alice")).unwrap();
    identity.reload().unwrap();
    meet(&identity, &folder, Some("alice")).unwrap_err();
}

#[test]
fn clients_that_nobody_can_check_are_refused_at_the_start() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = folder(temporary.path());
    issue(&mut folder, Profile::Server, "localhost");
    let settings = ServerSettings { client_authorities: None, ..settings(&folder, ClientAuth::Optional) };
    assert!(matches!(ServerIdentity::load(settings), Err(ServerError::NoClientAuthorities)));
}

#[test]
fn trust_changes_its_digest_with_every_list() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = folder(temporary.path());
    let trust = |folder: &Folder| {
        Trust::load(&folder.certificate_file(Profile::Root), Some(&folder.lists_file()))
            .unwrap()
            .digest()
            .unwrap()
    };
    let before = trust(&folder);
    assert_eq!(trust(&folder), before);
    folder.renew_lists(&KeySource::default()).unwrap();
    assert_ne!(trust(&folder), before);
}

#[test]
fn every_certificate_of_a_file_is_read_in_its_order() {
    let temporary = tempfile::tempdir().unwrap();
    let mut folder = folder(temporary.path());
    issue(&mut folder, Profile::Server, "localhost");
    let chain = super::read_certificates(&folder.issued_file("localhost")).unwrap();
    let names: Vec<_> = chain.iter().map(|it: &X509| Peer::of(it).unwrap().common_name.unwrap()).collect();
    assert_eq!(names, ["localhost", "Test Gateway CA"]);
}
