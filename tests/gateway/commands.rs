//! The other commands of the binary, from a shell's point of view.

use serde_json::json;

use crate::harness::{Mbpoll, Plc, Process, Site};

fn code(args: &[&str]) -> (Option<i32>, Vec<String>, Vec<String>) {
    let mut process = Process::bifrost(args);
    let status = process.wait();
    (status.code(), process.stdout(), process.stderr())
}

#[test]
fn wrong_use_is_exit_2_with_a_usage() {
    for args in [
        &[][..],
        &["dance"],
        &["run"],
        &["run", "--config", "x", "--fast"],
        &["demo", "--devices", "0"],
        &["demo", "--port", "65536"],
        &["simulate", "--devices", "0"],
        &["health", "--ulr", "http://127.0.0.1:1"],
        &["check"],
    ] {
        let (code, stdout, stderr) = code(args);
        assert_eq!((code, stdout.len()), (Some(2), 0), "{args:?}: {stdout:?} {stderr:?}");
        let said = stderr.join("\n");
        assert!(said.contains("Usage") || said.contains("--help"), "{args:?}: {said}");
    }
}

#[test]
fn version_and_help_are_exit_0() {
    let (code_of_version, stdout, _) = code(&["--version"]);
    assert_eq!((code_of_version, stdout), (Some(0), vec![format!("bifrost {}", env!("CARGO_PKG_VERSION"))]));
    let (code_of_help, stdout, _) = code(&["--help"]);
    assert_eq!(code_of_help, Some(0));
    for command in ["run", "demo", "check", "simulate", "pki", "health"] {
        assert!(stdout.iter().any(|line| line.trim_start().starts_with(command)), "{command}: {stdout:?}");
    }
}

#[test]
fn health_is_exit_0_when_ready_and_1_when_not() {
    let gateway = Site::new(&json!([])).start();
    let (ready, stdout, _) = code(&["health", "--url", &gateway.url]);
    assert_eq!((ready, stdout), (Some(0), vec!["ready".to_owned()]));
    let (_, stdout, _) = code(&["health", "--json", "--url", &gateway.url]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout.join("\n")).unwrap()["ready"], true);
    let url = gateway.url.clone();
    assert!(gateway.stop().success());
    let (gone, _, stderr) = code(&["health", "--url", &url]);
    assert_eq!((gone, stderr.len()), (Some(1), 1), "{stderr:?}");
    assert!(stderr[0].contains(&url), "{stderr:?}");
}

#[test]
fn health_is_exit_1_against_what_is_no_gateway() {
    let plc = Plc::counting();
    let (code, _, stderr) = code(&["health", "--url", &format!("http://{}", plc.address())]);
    assert_eq!((code, stderr.len()), (Some(1), 1), "{stderr:?}");
}

#[test]
fn simulate_serves_what_other_clients_read_until_it_is_told_to_stop() {
    let mut simulator = Process::bifrost(&["simulate", "--port", "0", "--devices", "2", "--registers", "10"]);
    let mut addresses = Vec::new();
    simulator.line("how to stop it", |line| line.contains("Ctrl-C"));
    for line in simulator.stdout() {
        addresses.extend(line.split_once("tcp://").map(|(_, address)| address.to_owned()));
    }
    assert_eq!(addresses.len(), 2, "{:?}", simulator.stdout());
    for address in &addresses {
        let server = Mbpoll { address, unit: 1 };
        assert_eq!((server.read(4, 0, 10).len(), server.read(3, 0, 10).len()), (10, 10));
    }
    simulator.signal("INT");
    assert_eq!(simulator.wait().code(), Some(0));
}

#[test]
fn simulate_plays_a_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plant.yaml");
    let scenario = "devices:\n  - name: mixer\n    registers: 20\n    unit_ids: [7]\n";
    std::fs::write(&file, scenario).unwrap();
    let args = ["simulate", "--port", "0", "--scenario", file.to_str().unwrap()];
    let mut simulator = Process::bifrost(&args);
    let line = simulator.line("the device", |line| line.starts_with("mixer listens on tcp://"));
    let address = line.rsplit("tcp://").next().unwrap();
    assert_eq!(Mbpoll { address, unit: 7 }.read(4, 0, 20), [0; 20]);

    std::fs::write(&file, "devices:\n  - nmae: mixer\n").unwrap();
    let (code, _, stderr) = code(&args);
    assert_eq!((code, stderr.len()), (Some(1), 1), "{stderr:?}");
    assert!(stderr[0].contains("nmae"), "{stderr:?}");
}
