//! The router: last values, subscribers, and what is left out.

use std::sync::Arc;

use bifrost_actors::{
    router::{
        AcknowledgeAlarm, ForgetDevice, ListAlarms, ListEvents, News, ReadLast, RecordEvent, SetAlarm,
        Unknown,
    },
    testing::{FakeDevice, Mode, Plant, Script, Watcher, device_settings, everything_of, until},
};
use bifrost_model::{
    Alarm, AlarmState, Event, Quality, Reading, Reason, Severity, TagBatch, Timestamp, Value,
};

use crate::{ms, secs, with_plant};

/// A device that is read so seldom that only what a test publishes arrives.
async fn quiet(plant: &Plant, id: &str) -> FakeDevice {
    let device = plant.device(device_settings(id, secs(86_400), 2), &Script::new(Mode::Answers(0.0))).await;
    tokio::time::sleep(secs(2)).await;
    device
}

fn batch(device: &FakeDevice, seq: u64, number: f64) -> TagBatch {
    let value = Value::Float64(number);
    let reading = Reading { tag: 0, quality: Quality::Good, reason: Reason::None, value };
    let (tags, timestamp) = (Arc::clone(&device.tags), Timestamp::now());
    TagBatch { device: tags, seq, timestamp, readings: vec![reading] }
}

async fn last(
    plant: &Plant,
    id: &str,
    tags: Option<&[&str]>,
) -> Result<Vec<(Quality, Option<f64>)>, Unknown> {
    let tag_ids = tags.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    let read = ReadLast { device_id: Arc::from(id), tag_ids };
    let found = plant.router().read_last.send(read).await.unwrap()?;
    Ok(found.iter().map(|tag| (tag.reading.quality, tag.reading.value.as_f64())).collect())
}

#[test]
fn a_device_that_was_never_read_has_tags_that_are_bad() {
    with_plant(async |plant| {
        plant.device(device_settings("d", secs(1), 2), &Script::new(Mode::Silent)).await;
        assert_eq!(last(&plant, "d", None).await, Ok(vec![(Quality::Bad, None); 2]));
    });
}

#[test]
fn last_values_are_read_in_the_order_asked_for_and_what_is_unknown_is_named() {
    with_plant(async |plant| {
        let device = quiet(&plant, "d").await;
        assert!(plant.publish(batch(&device, 1000, 5.0)));
        let asked = last(&plant, "d", Some(&["t1", "t0"])).await;
        assert_eq!(asked, Ok(vec![(Quality::Good, Some(0.0)), (Quality::Good, Some(5.0))]));
        let unknown = Unknown::Tag { device: "d".to_owned(), tag: "t9".to_owned() };
        assert_eq!(last(&plant, "d", Some(&["t0", "t9"])).await, Err(unknown));
        assert_eq!(last(&plant, "x", None).await, Err(Unknown::Device("x".to_owned())));
        plant.router().forget.send(ForgetDevice(Arc::from("d"))).await.unwrap();
        assert_eq!(last(&plant, "d", None).await, Err(Unknown::Device("d".to_owned())));
    });
}

#[test]
fn what_a_changed_device_had_under_way_is_left_out() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let old = quiet(&plant, "d").await;
        let told = watcher.numbers("d").len();
        let changed = bifrost_actors::plc::compile(&device_settings("d", secs(1), 1)).unwrap();
        plant.register(&changed.tags).await;
        assert!(plant.publish(batch(&old, 1000, 5.0)));
        assert_eq!(last(&plant, "d", None).await, Ok(vec![(Quality::Bad, None)]));
        assert_eq!(watcher.numbers("d").len(), told);
    });
}

#[test]
fn registering_the_same_device_again_keeps_its_values() {
    with_plant(async |plant| {
        let device = quiet(&plant, "d").await;
        plant.register(&device.tags).await;
        assert_eq!(last(&plant, "d", None).await, Ok(vec![(Quality::Good, Some(0.0)); 2]));
    });
}

#[test]
fn a_subscriber_that_does_not_keep_up_is_told_how_much_it_missed_and_then_the_news() {
    with_plant(async |plant| {
        let (fast, slow) = (plant.watch().await, Watcher::start(4));
        let device = quiet(&plant, "d").await;
        plant.subscribe(&slow, everything_of(None)).await;
        slow.hold().await;
        for seq in 100..200 {
            assert!(plant.publish(batch(&device, seq, 1.0)));
        }
        until("the fast one has all", || fast.numbers("d").last() == Some(&199)).await;
        slow.release();
        tokio::time::sleep(ms(10)).await;
        let before = slow.numbers("d");
        assert!(before.len() < 20 && before.iter().copied().eq(100..100 + before.len() as u64), "{before:?}");
        assert!(plant.publish(batch(&device, 200, 1.0)));
        until("the slow one goes on", || slow.numbers("d").last() == Some(&200)).await;
        assert_eq!(slow.missed(), [100 - before.len() as u64], "and exactly so many are missing");
        let order: Vec<_> =
            slow.told().iter().rev().take(2).map(|(_, news)| matches!(news, News::Missed(_))).collect();
        assert_eq!(order, [false, true], "told before the news that follows");
        assert_eq!(plant.metrics().subscriber_drops.get(), 100 - before.len() as u64);
        let fast: Vec<_> = fast.numbers("d").into_iter().filter(|seq| *seq >= 100).collect();
        assert!(fast.into_iter().eq(100..=200));
    });
}

#[test]
fn a_subscriber_that_is_gone_is_forgotten() {
    with_plant(async |plant| {
        let device = quiet(&plant, "d").await;
        let watcher = plant.watch().await;
        let subscribers = async || {
            plant.universe.node_with_detail("router").await.unwrap().detail.unwrap()["subscribers"].clone()
        };
        assert_eq!(subscribers().await, 1);
        watcher.end().await;
        plant.publish(batch(&device, 1000, 1.0));
        assert_eq!(subscribers().await, 0);
    });
}

#[test]
fn a_subscriber_is_told_of_the_devices_it_asked_for_and_of_the_gateway() {
    with_plant(async |plant| {
        let watcher = Watcher::start(1000);
        plant.subscribe(&watcher, everything_of(Some(&["a"]))).await;
        let (a, b) = (quiet(&plant, "a").await, quiet(&plant, "b").await);
        for device in [&a, &b] {
            plant.publish(batch(device, 1000, 1.0));
        }
        for device in ["a", "b", ""] {
            let event = Event::new(device, "test", Severity::Info, "said");
            plant.router().events.try_send(RecordEvent(event)).unwrap();
        }
        until("told", || watcher.events().iter().any(|event| event.device_id.is_empty())).await;
        assert!(watcher.numbers("a").contains(&1000) && watcher.numbers("b").is_empty());
        assert!(watcher.statuses().iter().all(|status| &*status.device_id == "a"));
        let test_events: Vec<_> = watcher
            .events()
            .iter()
            .filter(|event| event.event_type == "test")
            .map(|e| e.device_id.to_string())
            .collect();
        assert_eq!(test_events, ["a", ""]);
    });
}

#[test]
fn a_new_subscriber_starts_from_what_is_known() {
    with_plant(async |plant| {
        quiet(&plant, "d").await;
        plant.router().alarms.try_send(SetAlarm(alarm(AlarmState::Active))).unwrap();
        let start = plant.subscribe(&Watcher::start(10), everything_of(None)).await;
        let count = |is: fn(&News) -> bool| start.iter().filter(|news| is(news)).count();
        assert_eq!(count(|news| matches!(news, News::Status(status) if status.connected)), 1);
        assert_eq!(count(|news| matches!(news, News::Alarm(_))), 1);
        assert_eq!(count(|news| matches!(news, News::LastKnown(tags) if tags.len() == 2)), 1);
    });
}

fn alarm(state: AlarmState) -> Alarm {
    Alarm {
        alarm_id: "a".to_owned(),
        device_id: Arc::from("d"),
        alarm_type: "test",
        severity: Severity::Error,
        state,
        timestamp: Timestamp::now(),
        message: "said".to_owned(),
        value: None,
        threshold: None,
        acknowledged: false,
    }
}

#[test]
fn alarms_are_told_when_they_come_are_acknowledged_and_go() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let router = plant.router();
        for state in [AlarmState::Active, AlarmState::Active] {
            router.alarms.try_send(SetAlarm(alarm(state))).unwrap();
        }
        assert!(router.acknowledge.send(AcknowledgeAlarm("a".to_owned())).await.unwrap());
        assert!(!router.acknowledge.send(AcknowledgeAlarm("other".to_owned())).await.unwrap());
        router.alarms.try_send(SetAlarm(alarm(AlarmState::Cleared))).unwrap();
        until("told", || watcher.alarms().len() == 3).await;
        let told: Vec<_> = watcher.alarms().iter().map(|alarm| (alarm.state, alarm.acknowledged)).collect();
        let (active, cleared) = (AlarmState::Active, AlarmState::Cleared);
        assert_eq!(told, [(active, false), (active, true), (cleared, true)]);
        assert!(router.list_alarms.send(ListAlarms { active_only: true }).await.unwrap().is_empty());
    });
}

#[test]
fn events_are_kept_newest_first_and_page_by_number() {
    with_plant(async |plant| {
        let router = plant.router();
        for n in 0..10 {
            let event = Event::new("d", "test", Severity::Info, n.to_string());
            router.events.try_send(RecordEvent(event)).unwrap();
        }
        let first = router.list_events.send(ListEvents { limit: 3, ..ListEvents::default() }).await.unwrap();
        let before = first.last().map(|event| event.number);
        let next = router.list_events.send(ListEvents { before, limit: 3, device_id: None }).await.unwrap();
        let said: Vec<_> = first.iter().chain(&next).map(|event| event.item.message.as_str()).collect();
        assert_eq!(said, ["9", "8", "7", "6", "5", "4"]);
        let of_other = ListEvents { limit: 3, device_id: Some("x".to_owned()), before: None };
        assert!(router.list_events.send(of_other).await.unwrap().is_empty());
    });
}

#[test]
fn a_rebuilt_router_knows_the_devices_that_exist_and_scans_go_on_without_a_gap() {
    with_plant(async |plant| {
        plant.counting("d", ms(100)).await;
        tokio::time::sleep(secs(1)).await;
        plant.universe.order("router", bifrost_actors::supervision::OrderKind::Restart).await.unwrap();
        plant.until_router().await;
        let watcher = plant.watch().await;
        assert_eq!(last(&plant, "d", None).await.map(|tags| tags.len()), Ok(1));
        tokio::time::sleep(secs(1)).await;
        let numbers = watcher.numbers("d");
        assert!(numbers.len() >= 9 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    });
}

#[test]
fn a_rebuilt_router_still_knows_values_statuses_events_and_alarms() {
    with_plant(async |plant| {
        let device = quiet(&plant, "d").await;
        assert!(plant.publish(batch(&device, 1000, 5.0)));
        plant.router().alarms.try_send(SetAlarm(alarm(AlarmState::Active))).unwrap();
        tokio::time::sleep(ms(10)).await;
        plant.universe.order("router", bifrost_actors::supervision::OrderKind::Restart).await.unwrap();
        plant.until_router().await;
        let kept = Ok(vec![(Quality::Good, Some(5.0)), (Quality::Good, Some(0.0))]);
        assert_eq!(last(&plant, "d", None).await, kept);
        let start = plant.subscribe(&Watcher::start(10), everything_of(None)).await;
        let (statuses, alarms): (Vec<_>, Vec<_>) = start
            .iter()
            .filter(|news| !matches!(news, News::LastKnown(_)))
            .partition(|news| matches!(news, News::Status(status) if status.connected));
        assert_eq!((statuses.len(), alarms.len()), (1, 1));
        let events = plant.router().list_events.send(ListEvents { limit: 10, ..ListEvents::default() });
        assert_eq!(events.await.unwrap().len(), 1, "the device's connection");
    });
}
