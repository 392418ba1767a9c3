//! When devices are read.

use bifrost_actors::testing::{Mode, Script, device_settings};
use bifrost_model::Value;

use crate::{ms, secs, with_plant};

#[test]
fn scans_keep_their_phase_however_long_each_takes() {
    with_plant(async |plant| {
        let device = plant.counting("d", ms(100)).await;
        for takes in [0, 30, 70, 99, 5] {
            device.script.scan_takes(ms(takes));
            tokio::time::sleep(secs(60)).await;
        }
        let scans = device.script.scans();
        let off = scans.iter().enumerate().map(|(n, at)| {
            let due = scans[0] + ms(100) * u32::try_from(n).unwrap();
            at.saturating_duration_since(due).max(due.saturating_duration_since(*at))
        });
        assert!(off.max() <= Some(ms(2)));
        assert!((2998..=3001).contains(&scans.len()), "{}", scans.len());
        assert_eq!(device.observe().await.unwrap().stats.overruns, 0);
    });
}

#[test]
fn a_scan_that_is_due_while_the_one_before_runs_is_counted_and_never_queued() {
    with_plant(async |plant| {
        let device = plant.counting("d", ms(100)).await;
        device.script.scan_takes(ms(250));
        tokio::time::sleep(secs(30)).await;
        let seen = device.observe().await.unwrap().stats;
        let scans = device.script.scans();
        assert_eq!(device.script.most_scans_at_once(), 1);
        assert!((98..=101).contains(&scans.len()), "every third time is met: {}", scans.len());
        assert!((198..=201).contains(&seen.overruns), "and two are overrun: {}", seen.overruns);
        // Nothing waits to be made up for.
        device.script.scan_takes(ms(0));
        tokio::time::sleep(secs(1)).await;
        let before = device.script.scans().len();
        tokio::time::sleep(secs(10)).await;
        assert_eq!(device.script.scans().len() - before, 100);
    });
}

#[test]
fn phases_of_many_devices_are_spread_over_the_period() {
    with_plant(async |plant| {
        let mut devices = Vec::new();
        for n in 0..100 {
            devices.push(plant.counting(&format!("d{n}"), secs(1)).await);
        }
        tokio::time::sleep(secs(5)).await;
        let origin = tokio::time::Instant::now() + secs(1);
        tokio::time::sleep(secs(3)).await;
        let mut tenths = [0_u32; 10];
        for device in &devices {
            let at = device.script.scans().into_iter().find(|at| *at >= origin).unwrap();
            tenths[usize::try_from((at - origin).as_millis() / 100).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (7..=13).contains(count)), "{tenths:?}");
    });
}

#[test]
fn a_tag_with_an_interval_of_its_own_is_read_in_a_group_of_its_own() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let mut settings = device_settings("d", secs(1), 3);
        settings.tags[1].poll_interval = Some(ms(100));
        plant.device(settings, &Script::new(Mode::Counts)).await;
        tokio::time::sleep(secs(60)).await;
        let mut read = [0_u32; 3];
        for (_, batch) in watcher.scans("d") {
            for reading in &batch.readings {
                read[reading.tag as usize] += 1;
            }
        }
        assert!((59..=60).contains(&read[0]) && read[0] == read[2], "{read:?}");
        assert!((599..=600).contains(&read[1]), "{read:?}");
    });
}

#[test]
fn a_silent_device_is_asked_less_and_less_often_and_at_once_as_always_when_it_answers() {
    with_plant(async |plant| {
        let device = plant.device(device_settings("d", ms(100), 1), &Script::new(Mode::Silent)).await;
        tokio::time::sleep(secs(120)).await;
        let scans = device.script.scans();
        let pauses: Vec<_> = scans.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        // A scan takes 1 s of timeout; the pauses after it are 0, 1, 2, 4, 5, 5 … s.
        for (pause, least) in pauses.iter().zip([1.0, 2.0, 3.0, 5.0, 6.0, 6.0, 6.0]) {
            assert!((least..=least + 0.21).contains(pause), "{pauses:?}");
        }
        device.script.mode(Mode::Answers(1.0));
        tokio::time::sleep(secs(7)).await;
        let before = device.script.scans().len();
        tokio::time::sleep(secs(10)).await;
        assert!((99..=101).contains(&(device.script.scans().len() - before)));
    });
}

#[test]
fn one_lost_answer_costs_one_scan_and_no_pause() {
    with_plant(async |plant| {
        let watcher = plant.watch().await;
        let device = plant.counting("d", secs(2)).await;
        tokio::time::sleep(secs(10)).await;
        device.script.mode(Mode::Silent);
        let before = device.script.scans().len();
        while device.script.scans().len() == before {
            tokio::time::sleep(ms(50)).await;
        }
        device.script.mode(Mode::Answers(7.0));
        tokio::time::sleep(secs(4)).await;
        let scans = device.script.scans();
        let pauses: Vec<_> = scans.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.iter().all(|pause| *pause <= ms(2002)), "{pauses:?}");
        let (_, last) = watcher.scans("d").pop().unwrap();
        assert_eq!(last.readings[0].value, Value::Float64(7.0));
    });
}

#[test]
fn a_group_that_is_read_seldom_is_tried_again_soon_after_a_failure() {
    with_plant(async |plant| {
        let device = plant.device(device_settings("d", secs(3600), 1), &Script::new(Mode::Unreachable)).await;
        tokio::time::sleep(secs(30)).await;
        assert!(device.script.scans().len() >= 5, "{}", device.script.scans().len());
        device.script.mode(Mode::Answers(1.0));
        tokio::time::sleep(secs(6)).await;
        assert!(device.observe().await.unwrap().status.connected);
    });
}
