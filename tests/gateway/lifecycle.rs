//! Start and end of the process, as an operator and a service manager see them.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use bifrost_simulator::Fault;
use serde_json::{Value, json};

use crate::harness::{Plc, Process, Site, chatty, until_true};

fn device(plc: &Plc) -> Value {
    json!({
        "id": "plc", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms",
        "timeout": "10s", "tags": [{"id": "t", "address": "holding:7", "writable": true}]
    })
}

#[test]
fn sigterm_and_sigint_drain_and_exit_0_within_the_limit() {
    let plc = Plc::counting();
    let site = Site::new(&json!([device(&plc)]));
    for signal in ["TERM", "INT"] {
        let mut gateway = site.start();
        gateway.good_tags("plc");
        let told = Instant::now();
        gateway.process.signal(signal);
        assert_eq!(gateway.process.wait().code(), Some(0), "SIG{signal}");
        assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
        let last = gateway.logged("stopped").pop().expect("its last words");
        assert_eq!(last["clean"], true, "{last}");
        until_true("its connection to the PLC is closed", || plc.stats().connections_open == 0);
    }
}

#[test]
fn a_silent_plc_does_not_keep_the_process() {
    let plc = Plc::counting();
    plc.set_fault(Some(Fault::Silence));
    let mut gateway = Site::new(&json!([device(&plc)])).start();
    until_true("a request is under way", || plc.stats().requests >= 1);
    let told = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let plc = Plc::counting();
    let gateway = Site::new(&json!([chatty(&plc)])).start();
    // Saying good-bye to a client that doesn't read takes a moment: draining lasts until then.
    let _stalled = gateway.stalled_feed();
    let told = Instant::now();
    gateway.process.signal("TERM");
    gateway.await_log("stopping");
    gateway.process.signal("TERM");
    let mut gateway = gateway;
    let status = gateway.process.wait();
    assert!(status.code().is_some(), "it ends by itself, not by the signal: {status}");
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert_eq!(gateway.logged("ended at once").len(), 1, "{:?}", gateway.process.stderr());
    assert!(gateway.logged("stopped").iter().all(|record| record["target"] != "bifrost::app"));
}

/// That it ends with 1 and one line on standard error that says this.
#[track_caller]
fn assert_refused(mut process: Process, parts: &[&str]) {
    let status = process.wait();
    let said: Vec<_> = process.stderr().into_iter().filter(|line| line.starts_with("bifrost: ")).collect();
    assert_eq!((status.code(), said.len()), (Some(1), 1), "{:?}", process.stderr());
    assert!(parts.iter().all(|part| said[0].contains(part)), "{said:?} lacks one of {parts:?}");
    let logged = process.stderr();
    assert!(logged.iter().all(|line| !line.contains("panic")), "{logged:?}");
}

#[test]
fn a_port_in_use_is_one_clear_line_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let site = Site::with(&json!({"gateway": {"port": port}}), &json!([]));
    assert_refused(site.launch(), &[&format!("127.0.0.1:{port}"), "in use", "gateway.port"]);
}

#[test]
fn a_data_dir_in_use_by_another_gateway_is_one_clear_line_and_exit_1() {
    let site = Site::new(&json!([]));
    let first = site.start();
    assert_refused(site.launch(), &[site.data_dir().to_str().unwrap(), "in use by another gateway"]);
    assert!(first.is_alive());
    // It is free again, however the first ended.
    drop(first);
    site.start();
}

#[test]
fn a_data_dir_that_cannot_be_made_is_told_by_its_key_and_exit_1() {
    // Below a file no directory can be made, not even by root.
    let site = Site::new(&json!([]));
    let data_dir = site.config().join("data");
    site.configure(&json!({"gateway": {"data_dir": data_dir}}), &json!([]));
    assert_problem(&site, "gateway.data_dir");
}

/// That the configuration is refused for this key: where it stands, and what to do, and exit 1.
fn assert_problem(site: &Site, key: &str) {
    let mut process = site.launch();
    assert_eq!(process.wait().code(), Some(1));
    let (said, file) = (process.stderr(), site.config().display().to_string());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with(&format!("{file}:")) && said[0].contains(&format!(" {key}: ")), "{said:?}");
    assert!(said[1].starts_with("bifrost: 1 problem ") && said[1].contains(&file), "{said:?}");
}

#[test]
fn a_data_dir_that_cannot_be_written_is_one_clear_line_and_exit_1() {
    let site = Site::new(&json!([]));
    let data_dir = site.data_dir();
    std::fs::create_dir(&data_dir).unwrap();
    std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(data_dir.join("try"), "").is_ok() {
        // Root may write anywhere but into what only looks like a directory's file.
        std::fs::remove_file(data_dir.join("try")).unwrap();
        std::fs::create_dir(data_dir.join("lock")).unwrap();
    }
    assert_refused(site.launch(), &[data_dir.to_str().unwrap()]);
    std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn plain_http_beyond_loopback_is_refused() {
    let site = Site::with(&json!({"gateway": {"bind": "0.0.0.0"}}), &json!([]));
    assert_problem(&site, "gateway.insecure_http");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let site = Site::with(&json!({"gateway": {"id": "from-file", "site_id": "from-file"}}), &json!([]));
    let config = site.config();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bifrost"));
    command.args(["run", "--config", config.to_str().unwrap(), "--port", "0"]).env_clear();
    command.env("BIFROST_GATEWAY__ID", "from-environment").env("BIFROST_GATEWAY__PORT", "1");
    let mut process = Process::start(&mut command);
    let hello = process.error_line("`gateway runs`", |line| line.contains("gateway runs"));
    let hello: Value = serde_json::from_str(&hello).unwrap();
    assert_eq!((&hello["gateway"], &hello["site"]), (&json!("from-environment"), &json!("from-file")));
    assert!(!hello["url"].as_str().unwrap().ends_with(":1"), "{hello}");
}
