//! What is refused before anybody is asked, and how every refusal looks.

use std::{io::Write as _, time::Duration};

use bifrost::api::ApiSettings;
use serde_json::json;

use crate::bench::{Bench, press};

const HOST: &str = "host: localhost";

#[test]
fn nothing_at_a_path_is_a_problem() {
    let bench = Bench::start();
    for path in ["/nowhere", "/api", "/api/devices/press-1/nothing", "/api/devices/", "/api/alarms/x"] {
        let problem = bench.get(path).problem(404, "unknown-path");
        assert_eq!(problem["instance"], path);
    }
}

#[test]
fn a_method_that_a_path_has_not_is_told_with_those_it_has() {
    let bench = Bench::start();
    for (path, allowed) in [("/api/devices", ["GET", "POST"]), ("/api/tags/read", ["GET", "POST"])] {
        let answer = bench.delete(path);
        answer.problem(405, "method-not-allowed");
        let allow = answer.header("allow").unwrap();
        assert!(allowed.iter().all(|method| allow.contains(method)), "{allow}");
    }
    bench.get("/api/tags/write").problem(405, "method-not-allowed");
}

#[test]
fn malformed_json_is_told_with_its_place() {
    let bench = Bench::start();
    let body = b"{\"device_id\":\n \"press-1\",}";
    let length = format!("content-length: {}", body.len());
    let answer =
        bench.raw(&["POST /api/tags/read HTTP/1.1", HOST, "content-type: application/json", &length], body);
    let problem = answer.problem(400, "malformed-json");
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(12)), "{problem}");
}

#[test]
fn a_body_that_is_no_json_by_its_own_account_is_refused() {
    let bench = Bench::start();
    for content_type in ["content-type: text/plain", "x-nothing: 1"] {
        let lines = ["POST /api/tags/read HTTP/1.1", HOST, content_type, "content-length: 2"];
        bench.raw(&lines, b"{}").problem(415, "unsupported-media-type");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_announced_or_not() {
    let bench = Bench::with(
        ApiSettings { max_body: bifrost::config::ByteSize(2048), ..ApiSettings::default() },
        |plc| vec![press("p", plc)],
    );
    let announced =
        ["POST /api/tags/read HTTP/1.1", HOST, "content-type: application/json", "content-length: 2049"];
    let problem = bench.raw(&announced, b"").problem(413, "body-too-large");
    assert!(problem["detail"].as_str().unwrap().contains("api.max_body"));
    let chunked = [
        "POST /api/tags/read HTTP/1.1",
        HOST,
        "content-type: application/json",
        "transfer-encoding: chunked",
    ];
    let body = format!("C00\r\n{}\r\n", " ".repeat(0xC00));
    bench.raw(&chunked, body.as_bytes()).problem(413, "body-too-large");
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let settings =
        ApiSettings { client_request_timeout: Duration::from_millis(200), ..ApiSettings::default() };
    let bench = Bench::with(settings, |plc| vec![press("p", plc)]);
    let lines =
        ["POST /api/tags/read HTTP/1.1", HOST, "content-type: application/json", "content-length: 20"];
    bench.raw(&lines, b"{").problem(408, "slow-request");
    let chunked = [
        "POST /api/tags/read HTTP/1.1",
        HOST,
        "content-type: application/json",
        "transfer-encoding: chunked",
    ];
    bench.raw(&chunked, b"1\r\n{\r\n").problem(408, "slow-request");
}

#[test]
fn a_client_that_sends_no_request_is_let_go() {
    let settings =
        ApiSettings { client_request_timeout: Duration::from_millis(200), ..ApiSettings::default() };
    let bench = Bench::with(settings, |plc| vec![press("p", plc)]);
    let mut stream = bench.connect();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: loc").unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn requests_for_other_hosts_and_from_other_pages_are_refused() {
    let bench = Bench::start();
    let get = "GET /api/devices HTTP/1.1";
    bench.raw(&[get, "host: evil.example"], b"").problem(403, "foreign-host");
    bench.raw(&["GET http://evil.example/api/devices HTTP/1.1", HOST], b"").problem(403, "foreign-host");
    bench.raw(&[get, HOST, "origin: http://evil.example"], b"").problem(403, "foreign-origin");
    bench
        .raw(&["POST /api/actors/router/stop HTTP/1.1", HOST, "origin: null"], b"")
        .problem(403, "foreign-origin");
    bench.raw(&["GET /api/devices HTTP/1.0", "x-nothing: 1"], b"").problem(400, "missing-host");
    let answer = bench.raw(&[get, HOST, "origin: http://localhost"], b"");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}

#[test]
fn every_answer_is_named_and_protected() {
    let bench = Bench::start();
    let answer = bench.raw(&["GET /api/devices HTTP/1.1", HOST, "x-request-id: my-1"], b"");
    assert_eq!(answer.header("x-request-id"), Some("my-1"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let forged = bench.raw(&["GET /api/devices HTTP/1.1", HOST, "x-request-id: a b"], b"");
    assert_eq!(forged.header("x-request-id").map(str::len), Some(16));
}

#[test]
fn whoever_can_get_can_ask_for_the_head_alone() {
    let bench = Bench::start();
    for path in ["/api/devices", "/api/devices/press-1", "/health", "/metrics", "/api/actors/router"] {
        let answer = bench.raw(&[&format!("HEAD {path} HTTP/1.1"), HOST], b"");
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
}

#[test]
fn answers_are_compressed_for_those_who_can_take_it() {
    let bench = Bench::start();
    let answer = bench.raw(&["GET /api/openapi.json HTTP/1.1", HOST, "accept-encoding: gzip"], b"");
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")));
}
