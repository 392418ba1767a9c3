//! What values are worth when a device answers, is silent, refuses or is away; and when they are told.

use std::time::Duration;

use bifrost_actors::{
    plc::DeviceState,
    testing::{FakeDevice, Mode, Plant, Script, Watcher, device_settings},
};
use bifrost_model::{Quality, Reason, Value};

use crate::{ms, secs, with_plant};

async fn device(plant: &Plant, mode: Mode) -> (Watcher, FakeDevice) {
    let watcher = plant.watch().await;
    let device = plant.device(device_settings("d", secs(1), 2), &Script::new(mode)).await;
    (watcher, device)
}

/// What was told of the first tag, without the repetitions of what is GOOD.
fn told(watcher: &Watcher) -> Vec<(Quality, Reason, Option<f64>)> {
    let scans = watcher.scans("d");
    let readings =
        scans.iter().flat_map(|(_, batch)| batch.readings.iter().filter(|reading| reading.tag == 0));
    let mut told: Vec<_> =
        readings.map(|reading| (reading.quality, reading.reason, reading.value.as_f64())).collect();
    told.dedup_by(|later, earlier| later == earlier && later.0 == Quality::Good);
    told
}

#[test]
fn a_device_that_falls_silent_is_uncertain_then_stale_then_bad_and_good_again_when_it_answers() {
    with_plant(async |plant| {
        let (watcher, device) = device(&plant, Mode::Answers(7.0)).await;
        tokio::time::sleep(secs(10)).await;
        device.script.mode(Mode::Silent);
        tokio::time::sleep(secs(60)).await;
        device.script.mode(Mode::Answers(7.0));
        tokio::time::sleep(secs(10)).await;
        let (good, timeout) = ((Quality::Good, Reason::None, Some(7.0)), Reason::Timeout);
        let expected = [
            good,
            (Quality::Uncertain, timeout, Some(7.0)),
            (Quality::Stale, timeout, Some(7.0)),
            (Quality::Bad, timeout, None),
            good,
        ];
        assert_eq!(told(&watcher), expected);
    });
}

#[test]
fn values_grow_stale_and_bad_at_the_configured_ages() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let mut settings = device_settings("d", secs(1), 1);
        (settings.stale_after, settings.bad_after) = (Some(secs(20)), Some(secs(40)));
        let device = plant.device(settings, &Script::new(Mode::Answers(7.0))).await;
        tokio::time::sleep(secs(10)).await;
        let (last_good, _) = watcher.scans("d").pop().unwrap();
        device.script.mode(Mode::Unreachable);
        tokio::time::sleep(secs(60)).await;
        let ages: Vec<_> = watcher
            .scans("d")
            .into_iter()
            .filter(|(at, _)| *at > last_good)
            .map(|(at, batch)| (batch.readings[0].quality, at - last_good))
            .collect();
        let qualities: Vec<_> = ages.iter().map(|(quality, _)| *quality).collect();
        assert_eq!(qualities, [Quality::Uncertain, Quality::Stale, Quality::Bad]);
        for ((_, age), least) in ages.iter().zip([1, 20, 40]) {
            assert!((secs(least)..=secs(least) + ms(1100)).contains(age), "{age:?}");
        }
    });
}

#[test]
fn the_reason_says_what_happened() {
    for (mode, reason) in [
        (Mode::Silent, Reason::Timeout),
        (Mode::Unreachable, Reason::Disconnected),
        (Mode::Refuses(2), Reason::Refused(2)),
        (Mode::BehindGateway(0x0B), Reason::Refused(0x0B)),
    ] {
        with_plant(async |plant| {
            let (watcher, _) = device(&plant, mode).await;
            tokio::time::sleep(ms(2500)).await;
            assert_eq!(told(&watcher), [(Quality::Bad, reason, None)], "{mode:?}");
        });
    }
}

#[test]
fn a_reason_that_lasts_is_told_once_however_the_device_is_left_alone_meanwhile() {
    for mode in [Mode::Silent, Mode::BehindGateway(0x0B), Mode::Refuses(2), Mode::Unreachable] {
        with_plant(async |plant| {
            let (watcher, _) = device(&plant, mode).await;
            tokio::time::sleep(Duration::from_mins(5)).await;
            assert_eq!(told(&watcher).len(), 1, "{mode:?}: {:?}", told(&watcher));
        });
    }
}

#[test]
fn a_tag_that_was_answered_before_the_rest_of_its_scan_was_cut_off_stays_good() {
    with_plant(async |plant| {
        let (watcher, device) = device(&plant, Mode::Answers(1.0)).await;
        tokio::time::sleep(secs(5)).await;
        device.script.mode(Mode::HalfSilent(2.0));
        tokio::time::sleep(secs(4)).await;
        let two = Value::Float64(2.0);
        let mut scans = watcher.scans("d").into_iter();
        let (_, cut_off) = scans.find(|(_, batch)| batch.readings[0].value == two).unwrap();
        let mut told: Vec<_> = cut_off
            .readings
            .iter()
            .map(|reading| (reading.tag, reading.quality, reading.value.clone()))
            .collect();
        told.sort_by_key(|(tag, ..)| *tag);
        let expected = [(0, Quality::Good, two), (1, Quality::Uncertain, Value::Float64(1.0))];
        assert_eq!(told, expected);
        assert_eq!(device.observe().await.unwrap().status.state, DeviceState::Degraded);
    });
}

#[test]
fn connected_is_what_the_last_answer_says_and_each_change_is_told_once() {
    with_plant(async |plant| {
        let (watcher, device) = device(&plant, Mode::Answers(1.0)).await;
        tokio::time::sleep(secs(5)).await;
        let mut expected = vec![DeviceState::Starting, DeviceState::Online];
        for (mode, state) in [
            (Mode::Unreachable, DeviceState::Offline),
            (Mode::Refuses(2), DeviceState::Online),
            (Mode::Silent, DeviceState::Offline),
            (Mode::HalfSilent(1.0), DeviceState::Degraded),
            (Mode::Answers(1.0), DeviceState::Online),
        ] {
            device.script.mode(mode);
            tokio::time::sleep(secs(20)).await;
            let status = device.observe().await.unwrap().status;
            assert_eq!((status.state, status.connected), (state, state != DeviceState::Offline), "{mode:?}");
            assert_eq!(status.last_error.is_none(), state == DeviceState::Online, "{mode:?}");
            expected.push(state);
        }
        let told: Vec<_> = watcher.statuses().iter().map(|status| status.state).collect();
        assert_eq!(told, expected);
        let events: Vec<_> = watcher.events().iter().map(|event| event.event_type).collect();
        let (up, down) = ("device_connected", "device_disconnected");
        assert_eq!(events, [up, down, up, down, up]);
    });
}

#[test]
fn within_its_deadband_a_value_is_not_told_and_a_scan_with_nothing_to_tell_has_no_number() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let mut settings = device_settings("d", secs(1), 1);
        settings.tags[0].deadband = Some(4.0);
        plant.device(settings, &Script::new(Mode::Counts)).await;
        tokio::time::sleep(secs(60)).await;
        let told: Vec<_> = watcher
            .scans("d")
            .iter()
            .map(|(_, batch)| (batch.seq, batch.readings[0].value.clone()))
            .collect();
        assert_eq!(
            told[..4],
            [(1, 1.0), (2, 5.0), (3, 9.0), (4, 13.0)].map(|(seq, number)| (seq, Value::Float64(number)))
        );
    });
}

#[test]
fn what_a_stopped_device_told_last_is_not_left_standing_as_good() {
    with_plant(async |plant| {
        let (watcher, _) = device(&plant, Mode::Answers(7.0)).await;
        tokio::time::sleep(secs(5)).await;
        plant.universe.order("devices/d", bifrost_actors::supervision::OrderKind::Stop).await.unwrap();
        tokio::time::sleep(ms(10)).await;
        let (quality, reason, _) = told(&watcher).pop().unwrap();
        assert_ne!(quality, Quality::Good);
        assert_eq!(reason, Reason::Stopped);
    });
}
