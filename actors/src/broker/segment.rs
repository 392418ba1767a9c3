//! Ids as one level of an MQTT topic or one token of a NATS subject: percent-encoded, and back.
//!
//! Encoding is one to one, and only what encoding gives is decoded: no device can be reached by a second
//! spelling that a broker's access rules know nothing of.

use std::{borrow::Cow, fmt::Write};

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Topics: levels divided by slashes.
    Mqtt,
    /// Subjects: tokens divided by dots.
    Nats,
}

/// Stands for the gateway itself where a device's id is expected.
const GATEWAY: &str = "gateway";
/// A device that has this very id.
const DEVICE_NAMED_GATEWAY: &str = "%67ateway";

impl Dialect {
    /// What divides levels.
    pub(super) fn separator(self) -> char {
        match self {
            Self::Mqtt => '/',
            Self::Nats => '.',
        }
    }

    /// What stands for any one level in a subscription.
    pub(super) fn any(self) -> &'static str {
        match self {
            Self::Mqtt => "+",
            Self::Nats => "*",
        }
    }

    /// Whether a level can't hold this character as it is.
    fn escapes(self, place: usize, c: char) -> bool {
        match self {
            Self::Mqtt => {
                matches!(c, '/' | '+' | '#' | '%')
                    || c.is_control()
                    || is_noncharacter(c)
                    || (place == 0 && c == '$')
            }
            Self::Nats => matches!(c, '.' | '*' | '>' | '%' | ' ') || c.is_control() || !c.is_ascii(),
        }
    }

    /// An id of anything but a device.
    pub(super) fn escape(self, id: &str) -> String {
        let mut text = String::with_capacity(id.len());
        for (place, c) in id.char_indices() {
            if self.escapes(place, c) {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // A string takes everything.
                    let _ = write!(text, "%{byte:02X}");
                }
            } else {
                text.push(c);
            }
        }
        text
    }

    /// The inverse; `None` for what [`Self::escape`] never gives.
    pub(super) fn unescape(self, text: &str) -> Option<Cow<'_, str>> {
        let id = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
        (self.escape(&id) == text).then_some(id)
    }

    /// A device's id; the gateway itself is the empty one.
    pub(super) fn escape_device(self, id: &str) -> Cow<'static, str> {
        match id {
            "" => GATEWAY.into(),
            GATEWAY => DEVICE_NAMED_GATEWAY.into(),
            _ => self.escape(id).into(),
        }
    }

    /// The inverse.
    pub(super) fn unescape_device(self, text: &str) -> Option<Cow<'_, str>> {
        match text {
            "" => None,
            GATEWAY => Some("".into()),
            DEVICE_NAMED_GATEWAY => Some(GATEWAY.into()),
            _ => self.unescape(text),
        }
    }
}

/// Brokers may refuse these (MQTT 5.0, 1.5.4), and some do.
fn is_noncharacter(c: char) -> bool {
    matches!(u32::from(c), 0xFDD0..=0xFDEF) || u32::from(c) & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_a_level_cannot_hold_is_encoded() {
        for (id, mqtt, nats) in [
            ("press-1", "press-1", "press-1"),
            ("a/b c+ä#", "a%2Fb c%2B\u{e4}%23", "a/b%20c+%C3%A4#"),
            ("x.y", "x.y", "x%2Ey"),
            ("%41", "%2541", "%2541"),
            ("$SYS$", "%24SYS$", "$SYS$"),
            ("a*>b", "a*>b", "a%2A%3Eb"),
            ("\u{85}\u{FFFF}", "%C2%85%EF%BF%BF", "%C2%85%EF%BF%BF"),
            ("gateway", "%67ateway", "%67ateway"),
            ("%67ateway", "%2567ateway", "%2567ateway"),
            ("", "gateway", "gateway"),
        ] {
            assert_eq!(Dialect::Mqtt.escape_device(id), mqtt);
            assert_eq!(Dialect::Nats.escape_device(id), nats);
        }
    }

    #[test]
    fn a_second_spelling_of_an_id_is_none() {
        for text in ["%70ress-1", "a%2fb", "a%2", "%FF", "%zz", "a+b", "", "%67ATEWAY"] {
            assert_eq!(Dialect::Mqtt.unescape_device(text), None, "{text}");
        }
        assert_eq!(Dialect::Nats.unescape_device("a b"), None);
    }

    /// Ids made of what could go wrong.
    fn ids() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "/", "+", "#", "%", "$", ".", "*", ">", " ", "\t", "ä", "\u{3000}", "\u{FDD0}", "%67", "gateway",
            "ateway", "g", "2F", "25",
        ]);
        let odd = prop::collection::vec(odd, 1..5).prop_map(|parts| parts.concat());
        prop_oneof![odd, any::<String>().prop_filter("ids aren't empty", |id| !id.is_empty())]
    }

    proptest! {
        #[test]
        fn every_id_comes_back_and_no_two_meet(a in ids(), b in ids()) {
            for dialect in [Dialect::Mqtt, Dialect::Nats] {
                let (level, other) = (dialect.escape_device(&a), dialect.escape_device(&b));
                prop_assert_eq!(dialect.unescape_device(&level), Some(a.as_str().into()));
                prop_assert_eq!(level == other, a == b);
                prop_assert!(!level.contains([dialect.separator(), '\0']));
                prop_assert!(dialect == Dialect::Nats || !level.starts_with('$'));
                prop_assert_ne!(&level, dialect.any());
                prop_assert_ne!(level, "gateway");
            }
        }

        #[test]
        fn what_decodes_is_what_its_id_encodes_to(text in "[%a-gF0-9/. ]{1,8}") {
            for dialect in [Dialect::Mqtt, Dialect::Nats] {
                if let Some(id) = dialect.unescape_device(&text) {
                    prop_assert_eq!(dialect.escape_device(&id), text.as_str());
                }
            }
        }
    }
}
