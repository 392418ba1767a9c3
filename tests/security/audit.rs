//! The audit trail as an auditor sees it: the gateway runs and is used, the command line checks what it left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    authority::{Answer, run},
    harness::{Gateway, Plc, Site, ask_as, until, until_true},
};

/// A gateway with one device, whose trail may be in a folder of its own.
fn site(plc: &Plc, audit: &Value) -> Arc<Site> {
    let sections = json!({"security": {"audit": audit}});
    Site::with(&sections, &json!([device(plc)]))
}

fn device(plc: &Plc) -> Value {
    let tags = json!([
        {"id": "speed", "address": "holding:5", "writable": true},
        {"id": "code", "address": "holding:6", "writable": true, "secret": true},
    ]);
    json!({"id": "press", "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms", "tags": tags})
}

fn write(gateway: &Gateway, tag: &str, value: u16) -> Value {
    gateway.post("/api/tags/write", &json!({"device_id": "press", "tag_id": tag, "value": value})).body
}

fn audit(order: &str, folder: &Path, more: &[&str]) -> Answer {
    run(
        env!("CARGO_BIN_EXE_bifrost"),
        &[&["audit", order, "--folder", folder.to_str().unwrap()], more].concat(),
    )
}

/// A gateway that was used and stopped; where its trail is, and its public key.
fn used(plc: &Plc) -> (Arc<Site>, PathBuf, String) {
    let site = site(plc, &json!({}));
    let gateway = site.start();
    for value in 1..=5 {
        assert_eq!(write(&gateway, "speed", value)["status"], "ok");
    }
    assert!(gateway.stop().success());
    let folder = site.data_dir().join("audit");
    let key = audit("key", &folder, &[]).stdout.trim().to_owned();
    (site, folder, key)
}

fn records(folder: &Path) -> Vec<Value> {
    let exported = audit("export", folder, &[]).stdout;
    exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["type"] == kind).collect()
}

fn trail(folder: &Path) -> PathBuf {
    folder.join("records-00000000000000000000.jsonl")
}

#[test]
fn what_was_done_is_on_record_signed_and_whole() {
    let plc = Plc::counting();
    let site = site(&plc, &json!({}));
    let gateway = site.start();
    assert_eq!(write(&gateway, "speed", 7)["status"], "ok");
    assert_eq!(write(&gateway, "code", 4711)["status"], "ok");
    assert_eq!(ask_as(None, "GET", &format!("{}/api/devices", gateway.url), &Value::Null).status, 401);
    assert_eq!(gateway.post("/api/actors/devices/press/restart", &Value::Null).status, 202);
    let mut changed = device(&plc);
    changed["poll_interval"] = json!("200ms");
    assert_eq!(gateway.ask("PUT", "/api/devices/press", &changed).status, 200);
    let shown = until("the change on record", || {
        let listed = gateway.json("/api/audit?type=device_change");
        listed["records"].get(0).cloned()
    });
    let difference = &shown["detail"]["difference"];
    assert_eq!(difference["press.poll_interval"], json!({"from": "100ms", "to": "200ms"}), "{shown:#}");
    assert!(gateway.stop().success());

    let folder = site.data_dir().join("audit");
    let key = audit("key", &folder, &[]).stdout.trim().to_owned();
    assert!(key.starts_with("bifrost/gw-test/audit+"), "{key}");
    let found = audit("verify", &folder, &["--key", &key]);
    assert_eq!((found.code, found.stdout.starts_with("whole: records 0 to ")), (Some(0), true), "{found:?}");
    assert!(!found.stdout.contains("not signed yet"), "a stop signs all: {found:?}");
    let records = records(&folder);
    assert_eq!(records[0]["type"], "start");
    assert_eq!(records.last().unwrap()["type"], "stop");
    let writes = of_type(&records, "tag_write");
    assert_eq!((&writes[0]["detail"]["value"], &writes[0]["result"]), (&json!(7), &json!("success")));
    assert!(writes[0]["source"]["account"].is_string() && writes[0]["request_id"].is_string(), "{writes:#?}");
    assert_eq!(writes[1]["detail"]["value"], "(secret)");
    assert!(!fs::read_to_string(trail(&folder)).unwrap().contains("4711"), "a secret value is on record");
    assert_eq!(of_type(&records, "refusal")[0]["object"], "/api/devices");
    let restart: Vec<_> = of_type(&records, "request")
        .into_iter()
        .filter(|it| it["object"] == "/api/actors/devices/press/restart")
        .collect();
    assert_eq!(
        (&restart[0]["result"], &restart[1]["result"]),
        (&json!("begun"), &json!("success")),
        "{restart:#?}"
    );
}

#[test]
fn each_kind_of_tampering_is_found_and_the_first_bad_record_named() {
    let plc = Plc::counting();
    let (_site, folder, key) = used(&plc);
    let whole = fs::read_to_string(trail(&folder)).unwrap();
    let lines: Vec<_> = whole.lines().map(str::to_owned).collect();
    let write = lines.iter().position(|line| line.contains("tag_write")).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        fs::write(trail(&folder), lines.join("\n") + "\n").unwrap();
        audit("verify", &folder, &["--key", &key])
    };
    let named = |found: &Answer, seq: usize, why: &str| {
        assert_eq!(found.code, Some(1), "{found:?}");
        let said = &found.stdout;
        assert!(said.starts_with(&format!("BAD: record {seq}: ")) && said.contains(why), "{said}");
    };
    named(
        &changed(&|lines| lines[write] = lines[write].replace("\"value\":1", "\"value\":9")),
        write,
        "changed or inserted",
    );
    named(&changed(&|lines| drop(lines.remove(write))), write, "missing");
    named(&changed(&|lines| lines.insert(write, lines[0].clone())), write, "a second time");
    named(&changed(&|lines| lines.swap(write, write + 1)), write, "not in its place");
    let short = lines.len() - 1;
    named(&changed(&|lines| lines.truncate(short)), short, "cut off");
    fs::write(trail(&folder), whole).unwrap();
    assert_eq!(audit("verify", &folder, &["--key", &key]).code, Some(0), "and whole again");
}

#[test]
fn a_trail_that_was_rolled_back_is_found_by_a_checkpoint_that_was_kept_elsewhere() {
    let plc = Plc::counting();
    let elsewhere = tempfile::tempdir().unwrap();
    let kept = elsewhere.path().join("checkpoints");
    let site = site(&plc, &json!({"checkpoint_file": kept}));
    let folder = site.data_dir().join("audit");
    let once = |value| {
        let gateway = site.start();
        assert_eq!(write(&gateway, "speed", value)["status"], "ok");
        assert!(gateway.stop().success());
    };
    once(1);
    let snapshot = elsewhere.path().join("snapshot");
    assert!(Command::new("cp").args(["-a"]).args([&folder, &snapshot]).status().unwrap().success());
    once(2);
    let key = audit("key", &folder, &[]).stdout.trim().to_owned();
    let kept = ["--key", &key, "--checkpoints", kept.to_str().unwrap()];
    assert_eq!(audit("verify", &folder, &kept).code, Some(0));
    assert_eq!(audit("verify", &snapshot, &["--key", &key]).code, Some(0), "nothing in it says so");
    let found = audit("verify", &snapshot, &kept);
    assert_eq!(found.code, Some(1));
    assert!(found.stdout.contains("rolled back"), "{found:?}");
}

#[test]
fn a_single_record_can_be_proven_without_the_trail() {
    let plc = Plc::counting();
    let (_site, folder, key) = used(&plc);
    let proof = audit("proof", &folder, &["2"]);
    assert_eq!(proof.code, Some(0), "{proof:?}");
    let alone = tempfile::tempdir().unwrap();
    let file = alone.path().join("proof.json");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(
            env!("CARGO_BIN_EXE_bifrost"),
            &["audit", "verify", "--proof", file.to_str().unwrap(), "--key", &key],
        )
    };
    let proven = check(&proof.stdout);
    assert!(proven.code == Some(0) && proven.stdout.starts_with("proven: record 2 "), "{proven:?}");
    assert_eq!(check(&proof.stdout.replace("\\\"seq\\\":2", "\\\"seq\\\":3")).code, Some(1));
}

#[test]
fn wrong_use_says_what_to_do() {
    let nowhere = run(env!("CARGO_BIN_EXE_bifrost"), &["audit", "verify"]);
    assert!(nowhere.code == Some(1) && nowhere.stderr.contains("--data-dir DIR"), "{nowhere:?}");
    let folder = tempfile::tempdir().unwrap();
    let empty = audit("verify", folder.path(), &[]);
    assert!(empty.code == Some(1) && empty.stderr.contains("audit.pub"), "{empty:?}");
    let wrong = audit("verify", folder.path(), &["--key", "nonsense"]);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("bifrost audit key"), "{wrong:?}");
}

#[test]
fn a_gateway_that_was_killed_leaves_a_trail_that_is_whole_and_goes_on() {
    let plc = Plc::counting();
    let site = site(&plc, &json!({"record_writes_first": true}));
    let mut gateway = site.start();
    assert_eq!(write(&gateway, "speed", 1)["status"], "ok");
    gateway.process.kill();
    let folder = site.data_dir().join("audit");
    let found = audit("verify", &folder, &[]);
    assert!(found.code == Some(0) && found.stdout.contains("not signed yet"), "{found:?}");
    let begun =
        |records: &[Value]| of_type(records, "tag_write").iter().filter(|it| it["result"] == "begun").count();
    assert_eq!(begun(&records(&folder)), 1, "it was on record before it was sent");
    let gateway = site.start();
    assert_eq!(write(&gateway, "speed", 2)["status"], "ok");
    assert!(gateway.stop().success());
    assert_eq!(audit("verify", &folder, &[]).code, Some(0));
    assert_eq!(begun(&records(&folder)), 2);
}

/// A disk of a megabyte; gone with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).status();
        assert!(mounted.unwrap().success(), "mounting is root's privilege");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn while_the_disk_is_full_writes_and_orders_are_refused_and_reading_goes_on() {
    let plc = Plc::counting();
    let place = tempfile::tempdir().unwrap();
    let disk = SmallDisk::at(place.path().join("audit"));
    let site = site(&plc, &json!({"folder": disk.0}));
    let gateway = site.start();
    assert_eq!(write(&gateway, "speed", 1)["status"], "ok");
    let filler = disk.0.join("other");
    // Fails at the end, when nothing is left.
    let _ = fs::write(&filler, vec![1; 2 << 20]);
    let alarm = |state: &str| {
        let alarms = gateway.json("/api/alarms");
        let found =
            alarms["alarms"].as_array().unwrap().iter().find(|it| it["alarm_id"] == "audit_trail").cloned();
        found.is_some_and(|alarm| alarm["state"] == state)
    };
    until_true("the alarm", || {
        write(&gateway, "speed", 2);
        alarm("active")
    });
    let refused = write(&gateway, "speed", 3);
    assert_eq!(refused["status"], "failed");
    assert!(refused["error"].as_str().unwrap().contains("the audit trail can't be written"), "{refused}");
    let order = gateway.post("/api/actors/devices/press/restart", &Value::Null);
    assert_eq!((order.status, &order.body["type"]), (503, &json!("urn:bifrost:problem:audit-unavailable")));
    let seq = || gateway.json("/api/devices/press/stats")["requests_successful"].as_u64().unwrap();
    let before = seq();
    until_true("reading goes on", || seq() > before + 5);
    fs::remove_file(&filler).unwrap();
    until_true("the alarm is gone", || alarm("cleared"));
    assert_eq!(write(&gateway, "speed", 4)["status"], "ok");
    assert!(gateway.stop().success());
    assert_eq!(audit("verify", &disk.0, &[]).code, Some(0));
}
