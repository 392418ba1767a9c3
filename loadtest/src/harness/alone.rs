//! What clients alone publish: messages like a gateway's, one per tag. Pure.

use std::fmt::Write as _;

use bifrost_model::Timestamp;

/// Devices and tags of each that take turns.
const DEVICES: u64 = 100;
const TAGS: u64 = 100;

/// Topic or subject and payload of the n-th message, padded to a length.
pub(super) fn tag_message(number: u64, length: usize, separator: char) -> (String, String) {
    let (tag, device, seq) = (number % TAGS, number / TAGS % DEVICES + 1, number / TAGS / DEVICES + 1);
    let topic = format!("bifrost/telemetry/alone/plc-{device}/tag_{tag}");
    let topic = if separator == '/' { topic } else { topic.replace('/', &separator.to_string()) };
    let (value, now) = (number % 10_000, Timestamp::now());
    let mut payload = String::with_capacity(length.max(256));
    // Into a String: can't fail.
    let _ = write!(
        payload,
        r#"{{"id":"tag_{tag}","device_id":"plc-{device}","name":"tag_{tag}","address":"holding:{tag}","data_type":"uint16","value":{value},"quality":"GOOD","timestamp":"{now}","seq":{seq},"description":""#
    );
    payload.extend(std::iter::repeat_n('x', length.saturating_sub(payload.len() + 2)));
    payload.push_str("\"}");
    (topic, payload)
}

#[cfg(test)]
mod tests {
    use super::{super::message::glance, *};

    #[test]
    fn messages_are_as_long_as_asked_and_like_a_gateways() {
        let (topic, payload) = tag_message(10_101, 300, '.');
        assert_eq!((topic.as_str(), payload.len()), ("bifrost.telemetry.alone.plc-2.tag_1", 300));
        let found = glance(payload.as_bytes()).unwrap();
        assert_eq!((found.device, found.seq, found.values), (&b"plc-2"[..], 2, 1));
    }
}
