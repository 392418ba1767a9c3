//! `bifrost demo` without a terminal, as a script or a curious person with a pipe sees it.

use serde_json::{Value, json};

use crate::harness::{Answer, Process, ask_as, until, until_true};

/// The demo, where it is, and a token of who logged in and chose a password.
fn start(devices: &str) -> (Process, String, String) {
    let mut demo = Process::bifrost(&["demo", "--port", "0", "--devices", devices, "--plain"]);
    let line = demo.line("the URL", |line| line.starts_with("gateway "));
    let url = line.split_whitespace().nth(1).expect("a URL").to_owned();
    let line = demo.line("the password", |line| line.contains("once with the password "));
    let words = line.split("once with the password ").nth(1).expect("a password");
    let password = words.split_whitespace().next().expect("a password").to_owned();
    let token = log_in(&url, &password);
    let chosen = json!({"current": password, "new": "a password of my own"});
    assert_eq!(ask_as(Some(&token), "POST", &format!("{url}/api/auth/password"), &chosen).status, 204);
    let token = log_in(&url, "a password of my own");
    (demo, url, token)
}

fn log_in(url: &str, password: &str) -> String {
    let body = json!({"username": "admin", "password": password});
    let answer = ask_as(None, "POST", &format!("{url}/api/auth/login"), &body);
    answer.body["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn device(url: &str, token: &str, id: &str) -> Answer {
    ask_as(Some(token), "GET", &format!("{url}/api/devices/{id}"), &Value::Null)
}

#[test]
fn the_demo_says_where_it_is_and_what_it_reads_and_ends_with_0_on_sigint() {
    let (mut demo, url, token) = start("5");
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let trust = demo.line("whom to trust", |line| line.starts_with("trust "));
    let authority = trust.trim_start_matches("trust").split(',').next().unwrap().trim();
    let mut health = Process::bifrost(&["health", "--url", &url, "--ca", authority]);
    assert_eq!(health.wait().code(), Some(0), "{:?}", health.stderr());
    let fingerprint = demo.line("the fingerprint", |line| line.starts_with("fingerprint "));
    assert_eq!(fingerprint.split_whitespace().nth(1).map(str::len), Some(64), "{fingerprint}");
    demo.line("how to stop a PLC", |line| line.contains("stop press-1") && line.contains("start press-1"));
    demo.line("how to end", |line| line.contains("Ctrl-C"));
    demo.line("values", |line| line.starts_with("press-1 online ") && line.contains("temperature="));
    let listed = ask_as(Some(&token), "GET", &format!("{url}/api/devices"), &Value::Null).body;
    assert_eq!(listed["count"], 5, "{listed}");
    for row in listed["devices"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        demo.line(id, |line| line.starts_with(&format!("{id} online ")));
    }
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0));
    let printed = demo.stdout().join("\n");
    assert!(!printed.contains('\u{1b}'), "plain lines have no escapes");
    assert!(demo.stderr().iter().all(|line| !line.contains("panic")), "{:?}", demo.stderr());
}

#[test]
fn values_of_the_demo_move() {
    let (_demo, url, token) = start("1");
    let temperature = || {
        let tags = ask_as(Some(&token), "GET", &format!("{url}/api/devices/press-1/tags"), &Value::Null).body;
        let tags = tags["tags"].as_array().unwrap().clone();
        tags.into_iter().find(|tag| tag["id"] == "temperature").and_then(|tag| tag["value"].as_f64())
    };
    let first = until("a temperature", temperature);
    until_true("another temperature", || temperature().is_some_and(|now| now.total_cmp(&first).is_ne()));
}

#[test]
fn a_plc_that_is_stopped_by_hand_is_noticed_and_recovers_when_started() {
    let (mut demo, url, token) = start("2");
    until_true("press-1 online", || device(&url, &token, "press-1").body["state"] == "online");
    demo.type_line("stop press-1");
    demo.line("the answer", |line| line.contains("press-1 is off"));
    until_true("press-1 offline", || device(&url, &token, "press-1").body["connected"] == false);
    demo.line("the line of it", |line| line.starts_with("press-1 offline ") && line.contains("(UNCERTAIN)"));
    assert_eq!(device(&url, &token, "boiler-1").body["connected"], true);
    demo.type_line("stop nothing");
    demo.line("help", |line| line.contains("there is no PLC \"nothing\""));
    demo.type_line("start press-1");
    demo.line("the answer", |line| line.contains("press-1 is on"));
    until_true("press-1 online", || device(&url, &token, "press-1").body["state"] == "online");
}

#[test]
fn a_port_in_use_is_one_line_and_exit_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut demo = Process::bifrost(&["demo", "--port", &port]);
    assert_eq!(demo.wait().code(), Some(1));
    let said = demo.stderr();
    assert!(said.iter().any(|line| line.starts_with("bifrost: ") && line.contains(&port)), "{said:?}");
    // Which key would help isn't told to somebody who has no file to write it to.
    assert!(!said.join("\n").contains("panic"), "{said:?}");
}
