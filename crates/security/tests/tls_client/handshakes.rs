//! What becomes of a handshake, and in which words.

use std::{pin::Pin, time::Duration};

use bifrost_security::tls::{ClientError, ClientStream, ClientTls, HandshakeError, MinVersion};
use openssl::ssl::{
    AlpnError, Ssl, SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_openssl::SslStream;

use crate::certificates::{Certificates, Leaf};

const PATIENCE: Duration = Duration::from_secs(10);

fn tls(certificates: &Certificates) -> ClientTls {
    ClientTls { ca_file: Some(certificates.file("ca.pem")), ..ClientTls::default() }
}

fn acceptor(certificates: &Certificates, name: &str) -> SslAcceptorBuilder {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate_chain_file(certificates.file(&format!("{name}.pem"))).unwrap();
    builder.set_private_key_file(certificates.file(&format!("{name}.key")), SslFiletype::PEM).unwrap();
    builder
}

/// Connects to a server that answers one client, and echoes what it says.
async fn connect(
    tls: &ClientTls,
    host: &str,
    server: SslAcceptorBuilder,
) -> Result<ClientStream<TcpStream>, ClientError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = server.build();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
        if Pin::new(&mut stream).accept().await.is_ok() {
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&byte).await.unwrap();
            }
        }
    });
    let stream = TcpStream::connect(address).await.unwrap();
    timeout(PATIENCE, tls.connector().unwrap().connect(host, stream)).await.expect("an outcome")
}

async fn echoes(mut stream: ClientStream<TcpStream>) -> std::io::Result<()> {
    stream.write_all(b"x").await?;
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap()?, b'x');
    Ok(())
}

async fn refused(tls: &ClientTls, host: &str, server: SslAcceptorBuilder) -> HandshakeError {
    match connect(tls, host, server).await {
        Err(ClientError::Handshake(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_and_the_right_name_is_spoken_to_by_tls_1_3() {
    let certificates = Certificates::usual();
    for host in ["localhost", "127.0.0.1"] {
        let stream = connect(&tls(&certificates), host, acceptor(&certificates, "server")).await.unwrap();
        assert_eq!(stream.version(), "TLSv1.3");
        echoes(stream).await.unwrap();
    }
}

#[tokio::test]
async fn who_is_not_trusted_is_told_from_who_is_out_of_date_and_who_has_another_name() {
    let (certificates, others) = (Certificates::usual(), Certificates::usual());
    certificates.issue("old", &Leaf::loopback().valid(-10, -1));
    certificates.issue("young", &Leaf::loopback().valid(2, 10));
    let ours = tls(&certificates);
    let error = refused(&tls(&others), "localhost", acceptor(&certificates, "server")).await;
    assert!(matches!(error, HandshakeError::Untrusted(_)), "{error:?}");
    let error = refused(&ClientTls::default(), "localhost", acceptor(&certificates, "server")).await;
    assert!(matches!(error, HandshakeError::Untrusted(_)), "the system's authorities: {error:?}");
    let error = refused(&ours, "localhost", acceptor(&certificates, "old")).await;
    assert_eq!(error, HandshakeError::Expired);
    let error = refused(&ours, "localhost", acceptor(&certificates, "young")).await;
    assert_eq!(error, HandshakeError::NotYetValid);
    for host in ["elsewhere.example", "127.0.0.2"] {
        let error = refused(&ours, host, acceptor(&certificates, "server")).await;
        assert_eq!(error, HandshakeError::WrongName(host.to_owned()));
    }
}

#[tokio::test]
async fn a_server_name_stands_for_the_host_and_is_asked_for() {
    let certificates = Certificates::new();
    certificates.issue("plc", &Leaf::named("plc-1.example"));
    let named = ClientTls { server_name: Some("plc-1.example".to_owned()), ..tls(&certificates) };
    let mut server = acceptor(&certificates, "plc");
    let (asked, heard) = std::sync::mpsc::channel();
    server.set_servername_callback(move |ssl, _| {
        let name = ssl.servername(openssl::ssl::NameType::HOST_NAME).map(str::to_owned);
        asked.send(name).unwrap();
        Ok(())
    });
    echoes(connect(&named, "127.0.0.1", server).await.unwrap()).await.unwrap();
    assert_eq!(heard.recv().unwrap().as_deref(), Some("plc-1.example"));
}

#[tokio::test]
async fn a_pinned_certificate_needs_neither_authority_nor_name_and_no_other_passes() {
    let certificates = Certificates::usual();
    certificates.issue("plc", &Leaf::named("plc-1.example"));
    certificates.issue("old", &Leaf::loopback().valid(-10, -1));
    let pinned = |name: &str| ClientTls {
        pinned_sha256: Some(certificates.fingerprint(name).parse().unwrap()),
        ..ClientTls::default()
    };
    echoes(connect(&pinned("plc"), "127.0.0.1", acceptor(&certificates, "plc")).await.unwrap())
        .await
        .unwrap();
    let error = refused(&pinned("plc"), "127.0.0.1", acceptor(&certificates, "server")).await;
    assert_eq!(error, HandshakeError::WrongPin { shown: certificates.fingerprint("server") });
    let error = refused(&pinned("old"), "127.0.0.1", acceptor(&certificates, "old")).await;
    assert_eq!(error, HandshakeError::Expired, "a pin isn't for ever");
}

#[tokio::test]
async fn a_pin_beside_an_authority_loosens_nothing() {
    let (certificates, others) = (Certificates::usual(), Certificates::usual());
    let pin = |certificates: &Certificates| Some(certificates.fingerprint("server").parse().unwrap());
    let both = ClientTls { pinned_sha256: pin(&certificates), ..tls(&certificates) };
    echoes(connect(&both, "localhost", acceptor(&certificates, "server")).await.unwrap()).await.unwrap();
    let foreign = ClientTls { pinned_sha256: pin(&certificates), ..tls(&others) };
    let error = refused(&foreign, "localhost", acceptor(&certificates, "server")).await;
    assert!(matches!(error, HandshakeError::Untrusted(_)), "{error:?}");
    let named = ClientTls { server_name: Some("plc-1.example".to_owned()), ..both };
    let error = refused(&named, "localhost", acceptor(&certificates, "server")).await;
    assert_eq!(error, HandshakeError::WrongName("plc-1.example".to_owned()));
}

#[tokio::test]
async fn a_revoked_server_is_refused_and_so_is_one_of_which_nothing_is_known() {
    let certificates = Certificates::usual();
    certificates.issue("other", &Leaf::loopback());
    certificates.revoke(&["server"]);
    let tls = ClientTls { crl_file: Some(certificates.file("crl.pem")), ..tls(&certificates) };
    let error = refused(&tls, "localhost", acceptor(&certificates, "server")).await;
    assert_eq!(error, HandshakeError::Revoked);
    echoes(connect(&tls, "localhost", acceptor(&certificates, "other")).await.unwrap()).await.unwrap();
    let others = Certificates::usual();
    others.revoke(&["server"]);
    let tls = ClientTls { crl_file: Some(others.file("crl.pem")), ..tls };
    let error = refused(&tls, "localhost", acceptor(&certificates, "other")).await;
    assert!(matches!(error, HandshakeError::NoRevocationList(_)), "{error:?}");
}

#[tokio::test]
async fn tls_1_2_is_spoken_by_exception_alone() {
    let certificates = Certificates::usual();
    let old = || {
        let mut server = acceptor(&certificates, "server");
        server.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        server
    };
    let error = refused(&tls(&certificates), "localhost", old()).await;
    assert_eq!(error, HandshakeError::Version);
    let exception = ClientTls { min_version: MinVersion::V12, ..tls(&certificates) };
    let stream = connect(&exception, "localhost", old()).await.unwrap();
    assert_eq!(stream.version(), "TLSv1.2");
    let stream = connect(&exception, "localhost", acceptor(&certificates, "server")).await.unwrap();
    assert_eq!(stream.version(), "TLSv1.3", "the exception is no wish");
}

#[tokio::test]
async fn a_server_that_wants_to_know_who_asks_is_shown_or_told() {
    let (certificates, others) = (Certificates::usual(), Certificates::usual());
    let asking = |newest| {
        let mut server = acceptor(&certificates, "server");
        server.set_ca_file(certificates.file("ca.pem")).unwrap();
        server.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        server.set_max_proto_version(Some(newest)).unwrap();
        server
    };
    let shown = |by: &Certificates| ClientTls {
        cert_file: Some(by.file("client.pem")),
        key_file: Some(by.file("client.key")),
        min_version: MinVersion::V12,
        ..tls(&certificates)
    };
    let nobody = ClientTls { min_version: MinVersion::V12, ..tls(&certificates) };
    for newest in [SslVersion::TLS1_3, SslVersion::TLS1_2] {
        echoes(connect(&shown(&certificates), "localhost", asking(newest)).await.unwrap()).await.unwrap();
        for (tls, part) in
            [(&nobody, "wants a certificate of this gateway"), (&shown(&others), "unknown authority")]
        {
            let told = match connect(tls, "localhost", asking(newest)).await {
                Ok(stream) => echoes(stream).await.unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            // OpenSSL of 1.2 has no alert for a missing certificate.
            let is_silent = newest == SslVersion::TLS1_2 && part.starts_with("wants");
            assert!(told.contains(if is_silent { "handshake failure" } else { part }), "{newest:?}: {told}");
        }
    }
}

#[tokio::test]
async fn protocols_are_offered_and_agreed_on() {
    let certificates = Certificates::usual();
    let mqtt = || {
        let mut server = acceptor(&certificates, "server");
        server.set_alpn_select_callback(|_, offered| {
            openssl::ssl::select_next_proto(b"\x04mqtt", offered).ok_or(AlpnError::ALERT_FATAL)
        });
        server
    };
    let alpn = |names: &[&str]| ClientTls {
        alpn: names.iter().map(|name| (*name).to_owned()).collect(),
        ..tls(&certificates)
    };
    let stream = connect(&alpn(&["x", "mqtt"]), "localhost", mqtt()).await.unwrap();
    assert_eq!(stream.alpn().as_deref(), Some("mqtt"));
    let error = refused(&alpn(&["x"]), "localhost", mqtt()).await;
    assert_eq!(error, HandshakeError::Alpn);
}

#[tokio::test]
async fn what_speaks_no_tls_and_what_hangs_up_are_told_apart() {
    let certificates = Certificates::usual();
    for (said, expected) in [
        (&b"* OK [CAPABILITY IMAP4rev1] ready\r\n"[..], HandshakeError::NotTls),
        (b"\0\x01\0\0\0\x05\x01\x03\x02\0\0", HandshakeError::NotTls),
        (b"", HandshakeError::Closed),
        (b"\x16\x03\x03", HandshakeError::Closed),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Reading first: what isn't read makes the end a reset.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(said).await;
        };
        let connector = tls(&certificates).connector().unwrap();
        let ((), outcome) = tokio::join!(server, timeout(PATIENCE, connector.connect("localhost", stream)));
        assert_eq!(outcome.unwrap().unwrap_err(), ClientError::Handshake(expected), "{said:?}");
    }
}
