//! The entrance of the live feed; what is said there is tested beside its actor.

use std::io::{Read as _, Write as _};

use bifrost::api::ApiSettings;

use crate::bench::{Bench, bearer, press};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn with_token(handshake: &str) -> String {
    handshake.replace("connection: upgrade", &format!("connection: upgrade\r\n{}", bearer()))
}

fn one_place() -> Bench {
    let settings = ApiSettings { websocket_max_clients: 1, ..ApiSettings::default() };
    Bench::with(settings, |plc| vec![press("press-1", plc)])
}

/// Shakes hands, and answers with the connection and the answer's first line.
fn shake(bench: &Bench) -> (std::net::TcpStream, String) {
    let mut stream = bench.connect();
    stream.write_all(with_token(HANDSHAKE).as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    (stream, String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn what_is_no_handshake_is_told_to_upgrade() {
    let bench = Bench::start();
    let answer = bench.get("/ws");
    answer.problem(426, "upgrade-required");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
}

#[test]
fn pages_of_other_sites_get_no_feed() {
    let bench = Bench::start();
    let mut stream = bench.connect();
    let foreign =
        HANDSHAKE.replace("upgrade: websocket", "upgrade: websocket\r\norigin: http://evil.example");
    stream.write_all(foreign.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
}

#[test]
fn clients_beyond_the_limit_are_refused_until_one_goes() {
    let bench = one_place();
    let (first, answer) = shake(&bench);
    assert_eq!(answer, "HTTP/1.1 101");
    assert_eq!(shake(&bench).1, "HTTP/1.1 503");
    drop(first);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while shake(&bench).1 != "HTTP/1.1 101" {
        assert!(std::time::Instant::now() < end, "the place isn't given back");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
