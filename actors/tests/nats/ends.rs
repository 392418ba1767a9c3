//! Why a session doesn't begin, and why it ends.

use std::time::Duration;

use bifrost_actors::supervision::{ChildState, OrderKind};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::{
    Gateway, in_universe, scans,
    server::{Server, Version, free_port},
    settings, until,
};

#[test]
fn a_closed_port_is_named_and_tried_again_until_it_is_open() {
    in_universe(async |universe| {
        let port = free_port();
        let url = format!("nats://127.0.0.1:{port}");
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [url]}))).await;
        gateway.until_error(&[&url, "refuses the connection", "start the server"]).await;
        let state = gateway.node().await.state;
        assert!(matches!(state, ChildState::Backoff | ChildState::Running), "{state:?}");
        gateway.spool.send(scans(1, 10));
        let _server = Server::start_on(Version::Debian, port, "").await;
        gateway.until_settled(10).await;
    });
}

#[test]
fn of_several_servers_the_first_that_can_be_used_is() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, "").await;
        let closed = format!("nats://127.0.0.1:{}", free_port());
        let config = json!({"servers": [closed, server.url()]});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        assert_eq!(gateway.detail().await["server"], server.url());
    });
    in_universe(async |universe| {
        let closed = format!("nats://127.0.0.1:{}", free_port());
        let config = json!({"servers": [closed, "nats://no-such-host.invalid:4222"]});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway
            .until_error(&["no server can be used", &closed, "no-such-host.invalid", "is not found"])
            .await;
    });
}

#[test]
fn a_server_that_stays_silent_is_given_up() {
    in_universe(async |universe| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let config = json!({"servers": [url], "connect_timeout": "300ms"});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_error(&[&url, "didn't answer within 300ms", "connect_timeout"]).await;
    });
}

#[test]
fn something_else_that_listens_there_is_no_server() {
    in_universe(async |universe| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        actix_rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            }
        });
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [url]}))).await;
        gateway.until_error(&["connecting to", &url, "failed"]).await;
    });
}

#[test]
fn a_server_that_is_killed_ends_the_session_and_nothing_is_lost_when_it_is_back() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let mut server = Server::with_jetstream(version).await;
            let config = json!({"servers": [server.url()], "jetstream": {"enabled": true}});
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_up().await;
            gateway.spool.send(scans(1, 20_000));
            until("some are settled", async || gateway.spool.settled() > 500).await;
            server.kill();
            gateway.until_error(&["the connection to", &server.url(), "was lost"]).await;
            until("detached", async || gateway.spool.look(|state| state.detached) >= 1).await;
            server.launch();
            server.until_up().await;
            gateway.until_settled(20_000).await;
            let context = nats::jetstream::new(nats::connect(server.url()).await.unwrap());
            let held = super::jetstream::telemetry(&context, "BIFROST_plant-a").await;
            assert_eq!(held, 20_000);
        });
    }
}

/// Between the gateway and the server: passes on until told to swallow everything.
async fn gap(to: &Server) -> (String, tokio::sync::watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let (open, is_open) = tokio::sync::watch::channel(true);
    let address = to.address();
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(address).await else { continue };
            let ((from_gateway, to_gateway), (from_server, to_server)) =
                (stream.into_split(), server.into_split());
            actix_rt::spawn(pass_on(from_gateway, to_server, is_open.clone()));
            actix_rt::spawn(pass_on(from_server, to_gateway, is_open.clone()));
        }
    });
    (url, open)
}

async fn pass_on(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    open: tokio::sync::watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = tokio::io::AsyncReadExt::read(&mut from, &mut buffer).await {
        if *open.borrow() && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_connection_on_which_nothing_comes_back_is_given_up() {
    for jetstream in [true, false] {
        in_universe(async |universe| {
            let server = Server::with_jetstream(Version::Debian).await;
            let (url, open) = gap(&server).await;
            let config = json!({
                "servers": [url], "jetstream": {"enabled": jetstream}, "ack_timeout": "300ms",
            });
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_up().await;
            gateway.spool.send(scans(1, 10));
            gateway.until_settled(10).await;
            open.send(false).unwrap();
            gateway.spool.send(scans(11, 20));
            gateway.until_error(&[&url, "acknowledged nothing for 900ms"]).await;
            if jetstream {
                let reason = gateway.spool.look(|state| state.again[0].clone());
                assert_eq!(reason, "not acknowledged within 300ms");
            }
            open.send(true).unwrap();
            gateway.until_settled(20).await;
        });
    }
}

#[test]
fn an_idle_connection_is_not_taken_for_a_silent_one() {
    in_universe(async |universe| {
        let server = Server::with_jetstream(Version::Debian).await;
        let config =
            json!({"servers": [server.url()], "jetstream": {"enabled": true}, "ack_timeout": "50ms"});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_up().await;
        gateway.spool.send(scans(1, 10));
        gateway.until_settled(10).await;
        let figures =
            super::message("bifrost.diagnostics.x", bifrost_actors::broker::Kind::Diagnostics, 0, "{}");
        gateway.spool.send([figures]);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!((gateway.node().await.restarts, gateway.node().await.last_error), (0, None));
    });
}

#[test]
fn a_session_that_ended_does_not_come_back_by_itself() {
    in_universe(async |universe| {
        let mut server = Server::start(Version::New, "debug: true").await;
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
        gateway.until_up().await;
        server.kill();
        gateway.until_error(&["was lost"]).await;
        gateway.order(OrderKind::Stop).await;
        server.launch();
        server.until_up().await;
        let client = nats::connect(server.url()).await.unwrap();
        super::round_trip(&client).await;
        assert!(!server.log().rsplit("Server is ready").next().unwrap().contains("bifrost-host"));
    });
}
