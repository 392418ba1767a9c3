//! What counts in a message of values, found without parsing it as a whole. Pure.

use bifrost_model::Timestamp;

/// A message at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance<'a> {
    pub(super) device: &'a [u8],
    pub(super) seq: u64,
    /// Microseconds since the epoch.
    pub(super) read_at: i64,
    /// How many it carries.
    pub(super) values: u64,
    pub(super) is_historical: bool,
}

const VALUES: &[u8] = b"\"values\":{";
const HISTORICAL: &[u8] = b"\"is_historical\":true";

/// Of a tag's message or of a device's; none if it is neither. Values are numbers: a brace ends them.
pub(super) fn glance(payload: &[u8]) -> Option<Glance<'_>> {
    let (head, values, tail) = match split(payload, VALUES) {
        Some((head, rest)) => {
            let end = rest.iter().position(|byte| *byte == b'}')?;
            let (values, tail) = rest.split_at_checked(end)?;
            (head, colons(values), tail)
        }
        None => (payload, 1, &b""[..]),
    };
    let either = |find: fn(&[u8]) -> Option<u64>| find(head).or_else(|| find(tail));
    let stamp = after(head, b"\"timestamp\":\"").or_else(|| after(tail, b"\"timestamp\":\""))?;
    let device = after(head, b"\"device_id\":\"").or_else(|| after(tail, b"\"device_id\":\""))?;
    Some(Glance {
        device: device.split(|byte| *byte == b'"').next()?,
        seq: either(|part| number(part, b"\"seq\":"))?,
        read_at: micros(stamp.split(|byte| *byte == b'"').next()?)?,
        values,
        is_historical: split(head, HISTORICAL).is_some() || split(tail, HISTORICAL).is_some(),
    })
}

/// Each value has one, and its tag's id here has none.
fn colons(values: &[u8]) -> u64 {
    values.iter().map(|byte| u64::from(*byte == b':')).sum()
}

/// The whole number behind a key.
pub(crate) fn number(bytes: &[u8], key: &[u8]) -> Option<u64> {
    let digits = after(bytes, key)?.iter().take_while(|byte| byte.is_ascii_digit());
    let digits: &[u8] = after(bytes, key)?.get(..digits.count())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn after<'a>(bytes: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    split(bytes, key).map(|(_, rest)| rest)
}

/// What is before and behind the first place of a key.
fn split<'a>(bytes: &'a [u8], key: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(key.len()).position(|window| window == key)?;
    Some((bytes.get(..at)?, bytes.get(at + key.len()..)?))
}

/// Microseconds since the epoch; the usual form, `2026-01-31T12:00:00.123456Z`, without detours.
fn micros(stamp: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(stamp).ok()?;
    text.parse::<Timestamp>().ok().map(Timestamp::as_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_message_is_counted_by_its_values() {
        let payload = br#"{"device_id":"plc-1","site_id":"s","seq":12,"timestamp":"1970-01-01T00:00:01.000002Z","values":{"a":1,"b":2.5,"c":true},"quality":{"a":"STALE"}}"#;
        let expected =
            Glance { device: b"plc-1", seq: 12, read_at: 1_000_002, values: 3, is_historical: false };
        assert_eq!(glance(payload), Some(expected));
    }

    #[test]
    fn a_tags_message_is_one_value() {
        let payload =
            br#"{"id":"t","device_id":"plc-1","value":4,"timestamp":"1970-01-01T00:00:01Z","seq":7}"#;
        let found = glance(payload).unwrap();
        assert_eq!((found.values, found.seq, found.read_at), (1, 7, 1_000_000));
    }

    #[test]
    fn replayed_ones_are_told_apart_wherever_they_say_so() {
        let rest = r#""device_id":"d","seq":1,"timestamp":"1970-01-01T00:00:01Z""#;
        for payload in [
            format!(r#"{{"is_historical":true,{rest},"values":{{"a":1}}}}"#),
            format!(r#"{{{rest},"values":{{"a":1}},"is_historical":true}}"#),
        ] {
            assert!(glance(payload.as_bytes()).unwrap().is_historical, "{payload}");
        }
    }

    #[test]
    fn other_messages_are_none() {
        for payload in ["", "{}", r#"{"device_id":"d","seq":1}"#, r#"{"values":{"a":1"#] {
            assert_eq!(glance(payload.as_bytes()), None, "{payload}");
        }
    }
}
