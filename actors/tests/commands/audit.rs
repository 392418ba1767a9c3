//! What gets on record of commands, and what happens when nothing can be recorded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bifrost_actors::{
    audit::{Audit, AuditSettings},
    commands::{Order, Origin, Requester},
    supervision::{OrderKind, SupervisionSettings},
    testing::{FakeDevice, Plant, Universe, until},
};
use bifrost_model::{CommandResult, CommandStatus};
use bifrost_security::audit::{
    AuditSink as _, Category, Channel, Entry, Outcome, Query, Record, SigningKey, Source, find, verify,
};
use serde_json::json;

use crate::{await_alarms, await_events, device, events, secs};

fn run<F: Future<Output = ()>>(settings: AuditSettings, test: impl FnOnce(Plant, Audit, PathBuf) -> F) {
    let folder = tempfile::tempdir().unwrap();
    Universe::run(SupervisionSettings::default(), async |universe| {
        let (plant, audit) = Plant::audited(&universe, folder.path(), settings).await;
        test(plant.clone(), audit, folder.path().to_owned()).await;
        plant.stop().await;
    });
    assert_eq!(check(folder.path()), None, "the trail is whole at the end");
}

fn check(folder: &Path) -> Option<String> {
    let folder = folder.join("audit");
    let key = SigningKey::load_or_generate(&folder.join("audit.key"), "bifrost/gw-1/audit").unwrap();
    verify(&folder, key.verifier(), &[]).unwrap().fault.map(|fault| fault.to_string())
}

fn records(folder: &Path) -> Vec<Record> {
    let all = Query { limit: 1000, ..Query::default() };
    let mut found = find(&folder.join("audit"), &all).unwrap();
    found.reverse();
    found
}

fn entry(kind: &str) -> Entry {
    Entry::new(Source::gateway(), Category::SystemEvent, kind, Outcome::Success)
}

async fn write(plant: &Plant, value: impl serde::Serialize) -> CommandResult {
    let by =
        Requester { account: Some("alice".into()), request_id: Some("r-1".into()), ..Requester::default() };
    let order = Order {
        command_id: None,
        tag_id: "t0".to_owned(),
        value: serde_json::from_value(json!(value)).unwrap(),
        expires_at: None,
        read_back: false,
    };
    plant.commands().write("d", order, Origin::Rest(by)).unwrap().result().await
}

/// Nothing can be written any more: a file stands where the folder was. That is noticed after one more record.
async fn break_disk(audit: &Audit, folder: &Path) {
    fs::rename(folder.join("audit"), folder.join("away")).unwrap();
    fs::write(folder.join("audit"), "").unwrap();
    audit.record(entry("last")).await.unwrap();
    assert!(audit.is_writable().is_err());
}

fn mend_disk(folder: &Path) {
    fs::remove_file(folder.join("audit")).unwrap();
    fs::rename(folder.join("away"), folder.join("audit")).unwrap();
}

#[test]
fn a_write_is_on_record_with_who_asked_what_and_how_it_ended() {
    run(AuditSettings::default(), async |plant, audit, folder| {
        let folder = &*folder;
        let _device = device(&plant).await;
        assert_eq!(write(&plant, 7.0).await.status, CommandStatus::Ok);
        assert_eq!(write(&plant, "seven").await.status, CommandStatus::Rejected);
        audit.record(entry("end")).await.unwrap();
        let [done, refused, _] = &records(folder)[..] else { panic!("{:?}", records(folder)) };
        let source = &done.entry.source;
        assert_eq!((source.account.as_deref(), &source.channel), (Some("alice"), &Channel::Rest));
        assert_eq!((&*done.entry.kind, done.entry.object.as_str()), ("tag_write", "d"));
        assert_eq!((done.entry.result, refused.entry.result), (Outcome::Success, Outcome::Refused));
        assert_eq!(done.entry.request_id.as_deref(), Some("r-1"));
        assert_eq!(done.entry.detail["value"], json!(7.0));
        assert!(refused.entry.detail["error"].as_str().unwrap().contains("can't be"));
    });
}

#[test]
fn a_write_can_be_made_to_wait_until_it_is_on_record() {
    let settings = AuditSettings { record_writes_first: true, ..AuditSettings::default() };
    run(settings, async |plant, audit, folder| {
        let folder = &*folder;
        let device = device(&plant).await;
        assert_eq!(write(&plant, 7.0).await.status, CommandStatus::Ok);
        audit.record(entry("end")).await.unwrap();
        let results: Vec<_> = records(folder).iter().map(|record| record.entry.result).collect();
        assert_eq!(results, [Outcome::Begun, Outcome::Success, Outcome::Success]);
        break_disk(&audit, folder).await;
        let refused = write(&plant, 8.0).await;
        assert_eq!(refused.status, CommandStatus::Failed);
        assert!(refused.error.unwrap().contains("nothing was sent: the audit trail can't be written"));
        assert_eq!(numbers(&device), [7.0], "it was never sent");
        mend_disk(folder);
        until("it can be written again", || audit.is_writable().is_ok()).await;
    });
}

fn numbers(device: &FakeDevice) -> Vec<f64> {
    device.script.written().into_iter().filter_map(|(_, value)| value.as_f64()).collect()
}

#[test]
fn while_nothing_can_be_recorded_writes_are_refused_polling_goes_on_and_what_was_told_is_recorded_later() {
    run(AuditSettings::default(), async |plant, audit, folder| {
        let folder = &*folder;
        let device = device(&plant).await;
        break_disk(&audit, folder).await;
        audit.tell(entry("told"));
        assert!(audit.record(entry("asked")).await.is_err());
        await_alarms(&plant, &["audit_trail"]).await;
        let refused = write(&plant, 7.0).await;
        assert_eq!((refused.status, numbers(&device).len()), (CommandStatus::Failed, 0));
        let before = device.script.scans().len();
        tokio::time::sleep(secs(5)).await;
        assert!(device.script.scans().len() >= before + 4, "polling goes on");
        mend_disk(folder);
        until("it can be written again", || audit.is_writable().is_ok()).await;
        assert_eq!(write(&plant, 8.0).await.status, CommandStatus::Ok);
        audit.record(entry("end")).await.unwrap();
        let kinds: Vec<_> = records(folder).iter().map(|record| record.entry.kind.to_string()).collect();
        assert_eq!(
            kinds,
            ["last", "told", "tag_write", "tag_write", "end"],
            "the refused write is among them"
        );
    });
}

#[test]
fn what_there_is_no_room_for_is_counted_and_the_trail_says_so() {
    let settings = AuditSettings { queue: 3, ..AuditSettings::default() };
    run(settings, async |_plant, audit, folder| {
        let folder = &*folder;
        break_disk(&audit, folder).await;
        assert!(audit.record(entry("asked")).await.is_err());
        (0..5).for_each(|n| audit.tell(entry(&format!("told-{n}"))));
        assert!(audit.record(entry("asked")).await.is_err());
        mend_disk(folder);
        until("it can be written again", || audit.is_writable().is_ok()).await;
        audit.record(entry("end")).await.unwrap();
        let found = records(folder);
        let kinds: Vec<_> = found.iter().map(|record| &*record.entry.kind).collect();
        assert_eq!(kinds, ["last", "entries_lost", "told-0", "told-1", "told-2", "end"]);
        assert_eq!(found[1].entry.detail, json!({"count": 3}), "two that were told, one that was asked for");
    });
}

#[test]
fn what_was_recorded_is_signed_in_time_and_the_checkpoint_goes_out_as_an_event() {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("checkpoints");
    let settings = AuditSettings { checkpoint_file: Some(file.clone()), ..AuditSettings::default() };
    run(settings, async |plant, audit, folder| {
        let folder = &*folder;
        audit.record(entry("one")).await.unwrap();
        assert!(events(&plant, "audit_checkpoint").await.is_empty());
        tokio::time::sleep(secs(62)).await;
        let told = await_events(&plant, "audit_checkpoint", 1).await;
        let note = told[0].data["checkpoint"].as_str().unwrap().to_owned();
        assert!(note.starts_with("bifrost/gw-1/audit\n1\n"), "{note}");
        assert_eq!(fs::read_to_string(&file).unwrap(), note);
        let folder = folder.join("audit");
        let key = SigningKey::load_or_generate(&folder.join("audit.key"), "bifrost/gw-1/audit").unwrap();
        let found = verify(&folder, key.verifier(), &[note]).unwrap();
        assert_eq!((found.outside, found.signed, found.fault), (1, 1, None));
    });
}

#[test]
fn the_trail_outlives_its_actor() {
    run(AuditSettings::default(), async |plant, audit, folder| {
        let folder = &*folder;
        audit.record(entry("one")).await.unwrap();
        plant.universe.order("audit", OrderKind::Stop).await.unwrap();
        audit.tell(entry("two"));
        plant.universe.order("audit", OrderKind::Start).await.unwrap();
        audit.record(entry("three")).await.unwrap();
        let kinds: Vec<_> = records(folder).iter().map(|record| record.entry.kind.to_string()).collect();
        assert_eq!(kinds, ["one", "two", "three"]);
    });
}

#[test]
fn a_trail_that_was_changed_while_the_gateway_was_off_is_set_aside_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let run = |test: fn(Plant, Audit, PathBuf) -> futures_util::future::LocalBoxFuture<'static, ()>| {
        Universe::run(SupervisionSettings::default(), async |universe| {
            let (plant, audit) = Plant::audited(&universe, folder.path(), AuditSettings::default()).await;
            test(plant.clone(), audit, folder.path().to_owned()).await;
            plant.stop().await;
        });
    };
    run(|_, audit, _| Box::pin(async move { audit.record(entry("one")).await.unwrap() }));
    let file = folder.path().join("audit/records-00000000000000000000.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"one\"", "\"two\"")).unwrap();
    run(|plant, audit, folder| {
        Box::pin(async move {
            let told = await_events(&plant, "audit_tampered", 1).await;
            assert!(told[0].message.contains("find out who changed it"), "{told:?}");
            audit.record(entry("end")).await.unwrap();
            let kinds: Vec<_> = records(&folder).iter().map(|record| record.entry.kind.to_string()).collect();
            assert_eq!(kinds, ["trail_set_aside", "end"]);
        })
    });
}
