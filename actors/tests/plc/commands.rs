//! Writes: their order, their bounds, their answers, and that they overtake scans.

use std::sync::Arc;

use bifrost_actors::{
    gateway::LimitSettings,
    supervision::OrderKind,
    testing::{FakeDevice, Mode, Plant, Script, WriteOutcome, device_settings, until},
};
use bifrost_model::{Command, CommandResult, CommandStatus, Timestamp, Value};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::{ms, run_in, secs, with_plant};

async fn device(plant: &Plant) -> FakeDevice {
    plant.device(device_settings("d", secs(1), 2), &Script::new(Mode::Answers(1.0))).await
}

fn status(answer: Option<&CommandResult>) -> Option<CommandStatus> {
    answer.map(|result| result.status)
}

#[test]
fn writes_are_carried_out_one_after_the_other_in_the_order_they_came() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, ms(50));
        let began = Instant::now();
        let numbers: Vec<_> = (0..20).map(f64::from).collect();
        let answers = join_all(numbers.iter().map(|n| device.write_number(&n.to_string(), *n))).await;
        assert!(
            answers.iter().all(|answer| status(answer.as_ref()) == Some(CommandStatus::Ok)),
            "{answers:?}"
        );
        let written: Vec<_> =
            device.script.written().into_iter().filter_map(|(_, value)| value.as_f64()).collect();
        assert_eq!(written, numbers);
        assert!(began.elapsed() >= ms(1000), "one at a time: {:?}", began.elapsed());
        let seen = device.observe().await.unwrap();
        assert_eq!((seen.stats.writes_ok, seen.stats.writes_not_ok, seen.writes_pending), (20, 0, 0));
    });
}

#[test]
fn a_write_is_not_held_up_by_a_long_scan() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.scan_takes(secs(3600));
        tokio::time::sleep(secs(5)).await;
        let scans = device.script.scans();
        assert!(scans.last().unwrap().elapsed() > secs(3), "a scan is under way");
        let asked = Instant::now();
        let answer = device.write_number("w", 5.0).await;
        assert_eq!(status(answer.as_ref()), Some(CommandStatus::Ok));
        assert!(asked.elapsed() <= ms(2), "{:?}", asked.elapsed());
    });
}

#[test]
fn a_command_whose_turn_does_not_come_in_time_is_failed_and_never_sent() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, secs(15));
        let writes = join_all((0..3).map(|n| device.write_number(&n.to_string(), 1.0)));
        let answers: Vec<_> = writes.await.iter().map(|answer| status(answer.as_ref())).collect();
        let (ok, failed) = (Some(CommandStatus::Ok), Some(CommandStatus::Failed));
        assert_eq!(answers, [ok, failed, failed]);
    });
}

#[test]
fn a_scan_is_not_held_up_by_writes() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, secs(3));
        let writes = join_all((0..6).map(|n| device.write_number(&n.to_string(), 1.0)));
        writes.await;
        let scans = device.script.scans().len();
        assert!((17..=19).contains(&scans), "{scans} scans in the 18 s of six writes");
    });
}

#[test]
fn a_command_is_carried_out_once_whatever_becomes_of_it() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Unanswered, ms(1000));
        let (first, second) =
            tokio::join!(device.write_number("same", 1.0), device.write_number("same", 1.0));
        assert_eq!(status(first.as_ref()), Some(CommandStatus::Failed));
        assert_eq!(status(second.as_ref()), Some(CommandStatus::Duplicate));
        let third = device.write_number("same", 1.0).await;
        assert_eq!(status(third.as_ref()), Some(CommandStatus::Duplicate));
        assert_eq!(device.script.written().len(), 1);
    });
}

#[test]
fn what_the_device_does_not_take_is_failed_or_rejected_with_the_reason() {
    for (outcome, expected, reason) in [
        (WriteOutcome::Refused(3), CommandStatus::Failed, "exception 03"),
        (WriteOutcome::Unanswered, CommandStatus::Failed, "no answer"),
        (WriteOutcome::Unacceptable, CommandStatus::Rejected, "scripted"),
    ] {
        with_plant(async |plant| {
            let device = device(&plant).await;
            device.script.writes_go(outcome, ms(10));
            let answer = device.write_number("w", 1.0).await.unwrap();
            assert_eq!(answer.status, expected);
            assert!(answer.error.as_ref().unwrap().contains(reason), "{answer:?}");
            assert_eq!(device.observe().await.unwrap().stats.writes_not_ok, 1);
        });
    }
}

#[test]
fn a_storm_of_writes_is_answered_at_once_beyond_the_bound_and_the_others_are_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LimitSettings { device_writes: 8, ..LimitSettings::default() };
    run_in(folder.path(), limits, async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, ms(100));
        let answers = join_all((0..500).map(|n| device.write_number(&n.to_string(), 1.0))).await;
        let count = |status| answers.iter().flatten().filter(|answer| answer.status == status).count();
        assert_eq!((count(CommandStatus::Ok), count(CommandStatus::Rejected)), (8, 492));
        let again = device.write_number("499", 1.0).await;
        assert_eq!(status(again.as_ref()), Some(CommandStatus::Ok), "a refused id may be used again");
    });
}

#[test]
fn a_command_whose_time_passes_while_it_waits_is_not_carried_out() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, secs(1));
        let first = device.write_number("first", 1.0);
        // Expiry is told by the wall clock, which virtual time doesn't move.
        let soon = Timestamp::from_micros(Timestamp::now().as_micros() + 30_000);
        let second = device.write(Command {
            command_id: Arc::from("second"),
            tag_id: Arc::from("t0"),
            value: Value::Float64(2.0),
            expires_at: Some(soon),
            read_back: false,
        });
        tokio::time::sleep(ms(1)).await;
        while Timestamp::now() <= soon {
            std::thread::yield_now();
        }
        let (first, second) = tokio::join!(first, second);
        assert_eq!(status(first.as_ref()), Some(CommandStatus::Ok));
        assert_eq!(status(second.as_ref()), Some(CommandStatus::Expired));
        assert_eq!(device.script.written().len(), 1);
    });
}

#[test]
fn a_write_with_read_back_answers_what_the_device_holds() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        let answer = device.write(Command {
            command_id: Arc::from("w"),
            tag_id: Arc::from("t1"),
            value: Value::Float64(4.5),
            expires_at: None,
            read_back: true,
        });
        assert_eq!(answer.await.unwrap().read_back, Some(Value::Float64(4.5)));
        assert_eq!(device.script.written(), [(1, Value::Float64(4.5))]);
    });
}

#[test]
fn a_write_to_an_actor_that_is_stopped_meanwhile_is_not_left_without_an_end() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        device.script.writes_go(WriteOutcome::Taken, secs(3600));
        let write = device.write_number("w", 1.0);
        let answer = actix_rt::spawn(write);
        until("under way", || !device.script.written().is_empty()).await;
        plant.universe.order("devices/d", OrderKind::Stop).await.unwrap();
        let answer = tokio::time::timeout(secs(1), answer).await.unwrap().unwrap();
        assert_eq!(answer, None, "the sender learns that nobody answers");
    });
}
