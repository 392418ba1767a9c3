//! Ranges of addresses: `192.0.2.0/28`, `192.0.2.1-192.0.2.9`, or one address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Addresses of one family from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no range of addresses; write 192.0.2.0/28, 192.0.2.1-192.0.2.9 or 192.0.2.1")]
pub struct BadRange(String);

impl AddressRange {
    /// How many addresses there are; as many as can be counted when there are more.
    pub fn len(&self) -> u128 {
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// Never: a range has at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether all of `other` lies in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4() && self.first <= other.first && other.last <= self.last
    }

    /// All addresses in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let family = self.first;
        (number(self.first)..=number(self.last)).map(move |number| address(family, number))
    }

    fn of_prefix(base: IpAddr, length: u32) -> Option<Self> {
        let bits: u32 = if base.is_ipv4() { 32 } else { 128 };
        let host_bits = bits.checked_sub(length)?;
        let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        let first = number(base) & !hosts;
        Some(Self { first: address(base, first), last: address(base, first | hosts) })
    }

    fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address with this number, of the same family.
fn address(family: IpAddr, number: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

impl FromStr for AddressRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let address = |part: &str| part.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let range = if let Some((base, length)) = text.split_once('/') {
            let length = length.trim().parse().ok();
            address(base).zip(length).and_then(|(base, length)| Self::of_prefix(base, length))
        } else if let Some((first, last)) = text.split_once('-') {
            address(first).zip(address(last)).and_then(|(first, last)| Self::between(first, last))
        } else {
            address(text).map(|one| Self { first: one, last: one })
        };
        range.ok_or_else(|| BadRange(text.to_owned()))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_read() {
        for (text, written, len) in [
            ("192.0.2.17/28", "192.0.2.16-192.0.2.31", 16),
            ("192.0.2.1/32", "192.0.2.1", 1),
            ("192.0.2.1 - 192.0.2.9", "192.0.2.1-192.0.2.9", 9),
            ("127.0.0.1", "127.0.0.1", 1),
            ("::1", "::1", 1),
            ("2001:db8::/126", "2001:db8::-2001:db8::3", 4),
            ("0.0.0.0/0", "0.0.0.0-255.255.255.255", 1 << 32),
            ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX),
        ] {
            assert_eq!((range(text).to_string().as_str(), range(text).len()), (written, len), "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "plc",
            "192.0.2.0/33",
            "192.0.2.9-192.0.2.1",
            "192.0.2.1-::1",
            "::/129",
            "1.2.3.4/-1",
            "1.2.3/8",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_contains_what_lies_wholly_in_it() {
        let allowed = range("192.0.2.0/28");
        assert!(allowed.contains(&range("192.0.2.0/28")) && allowed.contains(&range("192.0.2.15")));
        for other in ["192.0.2.8-192.0.2.16", "192.0.1.255", "::c000:201", "0.0.0.0/0"] {
            assert!(!allowed.contains(&range(other)), "{other}");
        }
    }

    #[test]
    fn an_ipv4_address_in_disguise_is_one() {
        assert!(range("127.0.0.0/8").contains(&range("::ffff:127.0.0.1")));
    }

    #[test]
    fn addresses_come_in_order_up_to_the_last_there_is() {
        let addresses: Vec<_> = range("255.255.255.254/31").addresses().map(|it| it.to_string()).collect();
        assert_eq!(addresses, ["255.255.255.254", "255.255.255.255"]);
    }
}
