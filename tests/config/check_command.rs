//! `bifrost check`, as a user runs it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn check(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifrost"));
    command.arg("check").args(args).env_clear().output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn written(folder: &Path, content: &str) -> String {
    let file = folder.join("gateway.yaml");
    fs::write(&file, content).unwrap();
    file.to_str().unwrap().to_owned()
}

const PLANT: &str = "\
devices:
  - id: a
    protocol: modbus-tcp
    address: 192.0.2.1
    tags: [{id: t, address: \"40001\"}, {id: u, address: \"40002\"}]
  - {id: b, protocol: modbus-tcp, address: 192.0.2.2, tags: [{id: t, address: \"40001\"}]}
";

#[test]
fn a_file_that_a_brokers_session_needs_and_that_is_missing_is_told_unless_only_the_syntax_is_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let text = "gateway: {data_dir: DIR}\nmessaging: {mqtt: {broker: \"tls://a:1\", tls: {ca_file: /nowhere/ca.pem}}}\n";
    std::fs::write(&file, text.replace("DIR", &folder.path().display().to_string())).unwrap();
    let check = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bifrost"));
        let output = command.arg("check").arg("--config").arg(&file).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = check(&[]);
    assert_eq!(code, Some(1));
    assert!(told.contains("messaging.mqtt.tls.ca_file: /nowhere/ca.pem can't be read"), "{told}");
    assert_eq!(check(&["--syntax-only"]), (Some(0), String::new()));
}

#[test]
fn a_good_configuration_is_one_line_and_exit_0() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), PLANT);
    let output = check(&["--config", &file]);
    assert_eq!(text(&output.stdout), format!("{file}: ok, 2 devices, 3 tags\n"));
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn every_problem_is_a_line_on_stderr_and_exit_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "gateway:\n  prot: 1\n  insecure_http: true\n  bind: 0.0.0.0\n");
    let output = check(&["--config", &file]);
    let lines = text(&output.stderr);
    assert_eq!((output.status.code(), lines.lines().count()), (Some(1), 2), "{lines}");
    assert!(
        lines.contains(&format!("{file}:2: gateway.prot: is no key here; did you mean port?")),
        "{lines}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn json_is_a_list_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "gateway:\n  prot: 1\n");
    let output = check(&["--config", &file, "--json"]);
    let problems: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!([{
        "file": file, "line": 2, "key": "gateway.prot", "reason": "is no key here; did you mean port?"
    }]);
    assert_eq!((output.status.code(), problems), (Some(1), expected));
    let output = check(&["--config", &written(folder.path(), ""), "--json"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "[]\n"));
}

#[test]
fn syntax_only_accepts_what_only_a_later_version_can_do_and_opens_no_other_file() {
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/seed-gateway.yaml");
    assert_eq!(check(&["--config", seed, "--syntax-only"]).status.code(), Some(0));
    assert_eq!(check(&["--config", seed]).status.code(), Some(1));
    let folder = tempfile::tempdir().unwrap();
    let text = "devices: [{id: a, protocol: modbus-tcp, address: 192.0.2.1, tags_file: none.csv}]";
    let file = written(folder.path(), text);
    assert_eq!(check(&["--config", &file, "--syntax-only"]).status.code(), Some(0));
    assert_eq!(check(&["--config", &file]).status.code(), Some(1));
}

#[test]
fn a_file_that_is_not_there_is_one_clear_line_and_exit_1() {
    let output = check(&["--config", "/nowhere/gateway.yaml"]);
    let line = text(&output.stderr);
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("/nowhere/gateway.yaml: can't be read: No such file"), "{line}");
}

#[test]
fn wrong_use_is_exit_2() {
    assert_eq!(check(&[]).status.code(), Some(2));
    assert_eq!(check(&["--config", "a.yaml", "--sintax-only"]).status.code(), Some(2));
}
