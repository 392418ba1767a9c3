//! Modbus/TCP Security: who is let in, and what which role may do.

use std::{pin::Pin, time::Duration};

use bifrost_simulator::{
    Access, AddressRange, Endpoint, PlcSettings, Reachable, Right, SimulatedPlc, Table, TlsSettings,
};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVersion};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_modbus::{
    ExceptionCode,
    client::{Context, Reader, Writer, tcp},
    slave::Slave,
};
use tokio_openssl::SslStream;

use crate::{
    certificates::{Certificates, Leaf},
    support::{PATIENCE, address, until},
};

fn rights() -> Vec<Right> {
    let right = |role: &str| Right {
        role: role.to_owned(),
        access: Access::ReadWrite,
        functions: None,
        ranges: None,
    };
    let range = AddressRange { first: 0, last: 9 };
    vec![
        right("operator"),
        Right { access: Access::Read, ..right("viewer") },
        Right { functions: Some(vec![4]), ..right("meter") },
        Right { ranges: Some(vec![Reachable { table: Table::Holding, range }]), ..right("cell") },
    ]
}

fn settings(certificates: &Certificates, rights: Option<Vec<Right>>) -> TlsSettings {
    let file = |name: &str| certificates.file(name);
    TlsSettings { rights, ..TlsSettings::new(file("server.pem"), file("server.key"), file("ca.pem")) }
}

fn plc(tls: TlsSettings) -> SimulatedPlc {
    let settings = PlcSettings { tls: Some(tls), ..PlcSettings::default() };
    SimulatedPlc::listen(&Endpoint::Tls(([127, 0, 0, 1], 0).into()), settings).unwrap()
}

/// Connects with a certificate, or without.
async fn handshake(
    plc: &SimulatedPlc,
    certificates: &Certificates,
    client: Option<&str>,
    newest: Option<SslVersion>,
) -> Result<SslStream<TcpStream>, openssl::ssl::Error> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_ca_file(certificates.file("ca.pem")).unwrap();
    builder.set_max_proto_version(newest).unwrap();
    if let Some(name) = client {
        let file = |ending: &str| certificates.file(&format!("{name}.{ending}"));
        builder.set_certificate_file(file("pem"), SslFiletype::PEM).unwrap();
        builder.set_private_key_file(file("key"), SslFiletype::PEM).unwrap();
    }
    let ssl = builder.build().configure().unwrap().into_ssl("127.0.0.1").unwrap();
    let mut stream = SslStream::new(ssl, TcpStream::connect(address(plc)).await.unwrap()).unwrap();
    timeout(PATIENCE, Pin::new(&mut stream).connect()).await.unwrap()?;
    Ok(stream)
}

async fn client(plc: &SimulatedPlc, certificates: &Certificates, name: &str) -> Context {
    let stream = handshake(plc, certificates, Some(name), None).await.expect("the handshake succeeds");
    tcp::attach_slave(stream, Slave(1))
}

#[tokio::test]
async fn a_role_may_do_what_its_rights_say() {
    let certificates = Certificates::usual();
    for role in ["operator", "viewer", "meter", "cell", "stranger"] {
        certificates.issue(role, &Leaf::default().role(role));
    }
    let plc = plc(settings(&certificates, Some(rights())));
    for (role, reads, writes, beyond) in [
        ("operator", true, true, true),
        ("viewer", true, false, true),
        ("meter", false, false, false),
        ("cell", true, true, false),
        ("stranger", false, false, false),
    ] {
        let mut client = client(&plc, &certificates, role).await;
        let denied = Err(ExceptionCode::IllegalFunction);
        let read = client.read_holding_registers(0, 1).await.unwrap().map(drop);
        assert_eq!(read, if reads { Ok(()) } else { denied }, "{role} reads");
        let written = client.write_single_register(9, 7).await.unwrap();
        assert_eq!(written, if writes { Ok(()) } else { denied }, "{role} writes");
        let read = client.read_holding_registers(9, 2).await.unwrap().map(drop);
        assert_eq!(read, if beyond { Ok(()) } else { denied }, "{role} reads beyond");
        assert_eq!(
            client.read_input_registers(0, 1).await.unwrap().is_ok(),
            role != "stranger" && role != "cell"
        );
    }
    assert_eq!(plc.memory().holding(9), Some(7));
}

#[tokio::test]
async fn what_is_not_one_well_formed_role_is_refused_after_a_handshake_that_succeeds() {
    let certificates = Certificates::usual();
    let leaf = Leaf::default;
    for (name, leaf) in [
        ("none", leaf()),
        ("two", leaf().role("operator").role("operator")),
        ("printable", leaf().role_der(b"\x13\x08operator")),
        ("empty", leaf().role("")),
        ("long", leaf().role_der(b"\x0c\x08operator\x05\x00")),
    ] {
        certificates.issue(name, &leaf);
    }
    let plc = plc(settings(&certificates, Some(rights())));
    for name in ["none", "two", "printable", "empty", "long"] {
        let mut client = client(&plc, &certificates, name).await;
        let read = client.read_holding_registers(0, 1).await.unwrap();
        assert_eq!(read, Err(ExceptionCode::IllegalFunction), "{name}");
    }
    assert_eq!(plc.stats().exceptions, 5);
}

#[tokio::test]
async fn without_a_table_every_client_with_a_good_certificate_may_do_everything() {
    let certificates = Certificates::usual();
    let plc = plc(settings(&certificates, None));
    let mut client = client(&plc, &certificates, "client").await;
    client.write_single_register(0, 7).await.unwrap().unwrap();
    assert_eq!(client.read_holding_registers(0, 1).await.unwrap().unwrap(), [7]);
}

#[tokio::test]
async fn a_client_without_a_certificate_or_with_a_foreign_one_gets_an_alert() {
    let (certificates, others) = (Certificates::usual(), Certificates::usual());
    std::fs::copy(others.file("client.pem"), certificates.file("foreign.pem")).unwrap();
    std::fs::copy(others.file("client.key"), certificates.file("foreign.key")).unwrap();
    let plc = plc(settings(&certificates, None));
    for name in [None, Some("foreign")] {
        let refused = match handshake(&plc, &certificates, name, None).await {
            // TLS 1.3: the client learns it with what it reads first.
            Ok(mut stream) => timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(refused.contains("alert"), "{refused}");
    }
    assert_eq!(plc.stats().requests, 0);
}

#[tokio::test]
async fn a_device_may_have_nothing_newer_than_tls_1_2() {
    let certificates = Certificates::usual();
    let plc = plc(TlsSettings { only_tls_1_2: true, ..settings(&certificates, None) });
    let stream = handshake(&plc, &certificates, Some("client"), None).await.unwrap();
    assert_eq!(stream.ssl().version_str(), "TLSv1.2");
    let refused = handshake(&plc, &certificates, Some("client"), Some(SslVersion::TLS1_1)).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn clients_that_say_nothing_hold_up_nobody_and_are_shown_the_door() {
    let certificates = Certificates::usual();
    let limit = Duration::from_millis(300);
    let plc = plc(TlsSettings { handshake_timeout: limit, ..settings(&certificates, None) });
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address(&plc)).await.unwrap());
    }
    let mut client = client(&plc, &certificates, "client").await;
    client.read_holding_registers(0, 1).await.unwrap().unwrap();
    for stream in &mut silent {
        let end = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("closed");
        assert!(matches!(end, Ok(0) | Err(_)));
    }
    until(|| async { plc.stats().connections_open == 1 }).await;
}

#[tokio::test]
async fn a_file_that_cannot_serve_is_named_with_its_key() {
    let certificates = Certificates::usual();
    let tls = TlsSettings { key_file: certificates.file("client.key"), ..settings(&certificates, None) };
    let settings = PlcSettings { tls: Some(tls), ..PlcSettings::default() };
    let endpoint = Endpoint::Tls(([127, 0, 0, 1], 0).into());
    let error = SimulatedPlc::listen(&endpoint, settings).unwrap_err().to_string();
    assert!(error.starts_with("tls.key_file: ") && error.contains("client.key"), "{error}");
    let error = SimulatedPlc::listen(&endpoint, PlcSettings::default()).unwrap_err().to_string();
    assert!(error.starts_with("tls: is missing"), "{error}");
}
