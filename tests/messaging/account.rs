//! An account of every scan: it arrived, or an event names it as lost.

use std::collections::BTreeSet;

use crate::{
    brokers::MqttWatcher,
    harness::{Gateway, until_true},
    plant::{Plant, arrived, await_empty, holes, scans, spool},
};

/// What events name as lost of a device.
#[track_caller]
pub(crate) fn named(gateway: &Gateway, id: &str) -> Vec<(u64, u64)> {
    let listed = gateway.json("/api/events?limit=1000");
    let events = listed["events"].as_array().unwrap().iter();
    let ranges = events.filter(|event| event["event_type"] == "spool_dropped").flat_map(|event| {
        assert_eq!(event["data"]["ranges_truncated"], false, "{event}");
        event["data"]["ranges"].as_array().unwrap().clone()
    });
    let of_device = ranges.filter(|range| range["device_id"] == id);
    of_device.map(|range| (range["from"].as_u64().unwrap(), range["to"].as_u64().unwrap())).collect()
}

/// Ends reading, and waits until what arrived and what events name is everything; no more may be missing than
/// is counted. Answers how many scans are.
#[track_caller]
pub(crate) fn assert_accounted(gateway: &Gateway, plant: &Plant, watcher: &MqttWatcher) -> u64 {
    let last = plant.silence(gateway);
    await_empty(gateway);
    let mut missing = 0;
    until_true("an account of every scan", || {
        let mut arrived = arrived(&scans(watcher));
        missing = 0;
        last.iter().all(|(id, last)| {
            let there = arrived.entry(id.clone()).or_default();
            missing += last - there.range(..=last).count() as u64;
            let named: BTreeSet<_> =
                named(gateway, id).into_iter().flat_map(|(from, to)| from..=to).collect();
            holes(&(&*there | &named), *last).is_empty()
        })
    });
    // What names the last of them counts it too, and may have come after the spool was empty.
    let counted = spool(gateway)["dropped"]["messages"].as_u64().unwrap();
    assert!(missing <= counted, "{missing} scans didn't arrive, {counted} messages are counted");
    missing
}
