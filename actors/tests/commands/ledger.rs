//! What is remembered of command ids, over restarts and while the disk is in trouble.

use std::fs;

use bifrost_actors::{
    commands::{Handed, Order, Origin, Requester},
    gateway::LimitSettings,
    supervision::OrderKind,
    testing::{FakeDevice, Plant, WriteOutcome, until},
};
use bifrost_model::{CommandResult, CommandStatus, Value};
use futures_util::future::join_all;

use crate::{await_alarms, await_events, crash_in, detail, device, ms, run_in, secs, with_plant};

fn order(id: Option<&str>, number: f64) -> Order {
    Order {
        command_id: id.map(str::to_owned),
        tag_id: "t0".to_owned(),
        value: Value::Float64(number),
        expires_at: None,
        read_back: false,
    }
}

/// Writes a number under an id.
async fn write(plant: &Plant, id: &str, number: f64) -> CommandResult {
    plant
        .commands()
        .write("d", order(Some(id), number), Origin::Rest(Requester::default()))
        .unwrap()
        .result()
        .await
}

fn told(result: &CommandResult) -> (CommandStatus, String) {
    (result.status, result.error.clone().unwrap_or_default())
}

fn numbers(device: &FakeDevice) -> Vec<f64> {
    device.script.written().into_iter().filter_map(|(_, value)| value.as_f64()).collect()
}

#[test]
fn an_id_is_carried_out_once_over_a_restart_and_its_fate_is_told() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        let device = device(&plant).await;
        assert_eq!(write(&plant, "a", 1.0).await.status, CommandStatus::Ok);
        device.script.writes_go(WriteOutcome::Refused(2), ms(1));
        assert_eq!(write(&plant, "b", 2.0).await.status, CommandStatus::Failed);
    });
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        let device = device(&plant).await;
        for (id, end) in [("a", "ended ok"), ("b", "ended failed: ")] {
            let (status, error) = told(&write(&plant, id, 3.0).await);
            assert_eq!(status, CommandStatus::Duplicate);
            assert!(error.contains("taken at 20") && error.contains(end), "{error}");
        }
        assert_eq!(write(&plant, "c", 4.0).await.status, CommandStatus::Ok);
        assert_eq!(numbers(&device), [4.0]);
    });
}

#[test]
fn a_command_that_a_crash_cut_off_is_not_carried_out_again() {
    let folder = tempfile::tempdir().unwrap();
    crash_in(folder.path(), async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, secs(3600));
        let commands = plant.commands().clone();
        drop(actix_rt::spawn(
            commands.write("d", order(Some("a"), 1.0), Origin::Rest(Requester::default())).unwrap().result(),
        ));
        until("under way", || !device.script.written().is_empty()).await;
    });
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        let device = device(&plant).await;
        let (status, error) = told(&write(&plant, "a", 1.0).await);
        assert_eq!(status, CommandStatus::Duplicate);
        assert!(
            error.contains("before the gateway ended unasked; whether it was written isn't known"),
            "{error}"
        );
        let (_, again) = told(&write(&plant, "a", 1.0).await);
        assert_eq!((again, numbers(&device).len()), (error, 0), "what is in memory by now says the same");
    });
}

#[test]
fn an_id_is_remembered_when_the_devices_actor_is_rebuilt() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        assert_eq!(write(&plant, "a", 1.0).await.status, CommandStatus::Ok);
        plant.universe.order("devices/d", OrderKind::Restart).await.unwrap();
        let (status, error) = told(&write(&plant, "a", 1.0).await);
        assert!(status == CommandStatus::Duplicate && error.ends_with("ended ok"), "{error}");
        assert_eq!(numbers(&device), [1.0]);
    });
}

#[test]
fn the_disk_does_not_change_the_order_of_commands_with_and_without_ids() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        let orders = (0..30).map(|n| {
            let id = (n % 3 != 0).then(|| n.to_string());
            plant
                .commands()
                .write("d", order(id.as_deref(), f64::from(n)), Origin::Rest(Requester::default()))
                .unwrap()
        });
        let handed: Vec<_> = orders.collect();
        // Who asks for the results, and in which order, doesn't matter.
        let results = join_all(handed.into_iter().rev().map(Handed::result)).await;
        assert!(results.iter().all(|result| result.status == CommandStatus::Ok), "{results:?}");
        assert_eq!(numbers(&device), (0..30).map(f64::from).collect::<Vec<_>>());
    });
}

#[test]
fn many_ids_go_into_few_transactions_and_made_up_ones_into_none() {
    with_plant(async |plant| {
        let _device = device(&plant).await;
        let before = detail(&plant, "commands").await["writes"].as_u64().unwrap();
        let write = |id: Option<String>| {
            plant
                .commands()
                .write("d", order(id.as_deref(), 1.0), Origin::Rest(Requester::default()))
                .unwrap()
                .result()
        };
        join_all((0..30).map(|_| write(None))).await;
        assert_eq!(detail(&plant, "commands").await["writes"], before);
        join_all((0..30).map(|n| write(Some(n.to_string())))).await;
        let after = detail(&plant, "commands").await;
        assert_eq!(after["noted"], 30);
        tokio::time::sleep(ms(200)).await;
        let after = detail(&plant, "commands").await;
        assert_eq!(after["waiting"], 0, "results are written when nobody takes them along");
        assert!(after["writes"].as_u64().unwrap() - before < 30, "{after}");
    });
}

#[test]
fn the_oldest_ids_are_forgotten_on_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LimitSettings { command_ids: 2, ..LimitSettings::default() };
    run_in(folder.path(), limits.clone(), async |plant| {
        let _device = device(&plant).await;
        for n in 0..4 {
            assert_eq!(write(&plant, &n.to_string(), 1.0).await.status, CommandStatus::Ok);
        }
    });
    run_in(folder.path(), limits, async |plant| {
        let _device = device(&plant).await;
        assert_eq!(write(&plant, "2", 1.0).await.status, CommandStatus::Duplicate);
        assert_eq!(write(&plant, "1", 1.0).await.status, CommandStatus::Ok);
    });
}

#[test]
fn a_damaged_ledger_is_set_aside_with_an_event_and_what_is_in_memory_still_counts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("commands.db"), vec![0xAB; 9000]).unwrap();
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        let _device = device(&plant).await;
        let told = await_events(&plant, "command_ledger_damaged", 1).await;
        let aside = told[0].data["set_aside"].as_str().unwrap().to_owned();
        assert_eq!(fs::read(aside).unwrap(), vec![0xAB; 9000]);
        assert_eq!(write(&plant, "a", 1.0).await.status, CommandStatus::Ok);
        assert_eq!(write(&plant, "a", 1.0).await.status, CommandStatus::Duplicate);
        await_alarms(&plant, &[]).await;
    });
}

#[test]
fn while_nothing_can_be_noted_commands_with_an_id_are_refused_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    // A folder in its place can't be opened as a file, whoever tries.
    let path = folder.path().join("commands.db");
    fs::create_dir(&path).unwrap();
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        let device = device(&plant).await;
        await_alarms(&plant, &["command_ledger"]).await;
        let (status, error) = told(&write(&plant, "a", 1.0).await);
        assert_eq!(status, CommandStatus::Rejected);
        assert!(error.contains("nothing was sent") && error.contains("commands.db"), "{error}");
        let without = plant
            .commands()
            .write("d", order(None, 2.0), Origin::Rest(Requester::default()))
            .unwrap()
            .result()
            .await;
        assert_eq!(without.status, CommandStatus::Ok);
        fs::remove_dir(&path).unwrap();
        await_alarms(&plant, &[]).await;
        assert_eq!(write(&plant, "a", 3.0).await.status, CommandStatus::Ok, "a refused id may be used again");
        assert_eq!(numbers(&device), [2.0, 3.0]);
    });
}

#[test]
fn while_the_ledger_is_stopped_commands_with_an_id_are_refused() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        plant.universe.order("commands", OrderKind::Stop).await.unwrap();
        let (status, error) = told(&write(&plant, "a", 1.0).await);
        assert!(status == CommandStatus::Rejected && error.contains("stopped or being rebuilt"), "{error}");
        plant.universe.order("commands", OrderKind::Start).await.unwrap();
        assert_eq!(write(&plant, "a", 2.0).await.status, CommandStatus::Ok);
        assert_eq!(numbers(&device), [2.0]);
    });
}

#[test]
fn what_is_refused_before_anything_is_sent_is_not_noted() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Unacceptable, ms(1));
        assert_eq!(write(&plant, "a", 1.0).await.status, CommandStatus::Rejected);
        device.script.writes_go(WriteOutcome::Taken, ms(1));
        assert_eq!(write(&plant, "a", 2.0).await.status, CommandStatus::Ok);
    });
}

#[test]
fn every_result_is_told_to_all_with_its_origin() {
    with_plant(async |plant| {
        let _device = device(&plant).await;
        write(&plant, "a", 1.5).await;
        write(&plant, "a", 1.5).await;
        plant.universe.order("devices/d", OrderKind::Stop).await.unwrap();
        write(&plant, "b", 1.5).await;
        let told = await_events(&plant, "command_result", 3).await;
        let statuses: Vec<_> = told.iter().map(|event| event.data["status"].clone()).collect();
        assert_eq!(statuses, ["ok", "duplicate", "rejected"]);
        let data = serde_json::json!({
            "command_id": "a", "tag_id": "t0", "value": 1.5, "status": "ok", "origin": "rest"
        });
        assert_eq!((&*told[0].device_id, &told[0].data), ("d", &data));
    });
}

#[test]
fn a_ledger_that_becomes_unwritable_is_an_alarm_until_it_is_writable_again() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        let _device = device(&plant).await;
        assert_eq!(write(&plant, "a", 1.0).await.status, CommandStatus::Ok);
        plant.universe.order("commands", OrderKind::Stop).await.unwrap();
        let aside = folder.path().join("elsewhere");
        fs::rename(folder.path().join("commands.db"), &aside).unwrap();
        fs::create_dir(folder.path().join("commands.db")).unwrap();
        plant.universe.order("commands", OrderKind::Start).await.unwrap();
        await_alarms(&plant, &["command_ledger"]).await;
        assert_eq!(write(&plant, "a", 1.0).await.status, CommandStatus::Duplicate, "known in memory");
        assert_eq!(detail(&plant, "commands").await["writable"], false);
        fs::remove_dir(folder.path().join("commands.db")).unwrap();
        fs::rename(&aside, folder.path().join("commands.db")).unwrap();
        await_alarms(&plant, &[]).await;
        assert_eq!(write(&plant, "b", 1.0).await.status, CommandStatus::Ok);
    });
}
