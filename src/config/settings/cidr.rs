//! Ranges of IP addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A range such as `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// A text that is no range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadCidr {
    /// Neither an address nor a range.
    #[error("{0:?} is no range of addresses; write one such as 192.0.2.0/24")]
    NoRange(String),
    /// An address within a range, where the range begins earlier.
    #[error("{given} lies inside the range that it names; write {meant}")]
    NotTheNetwork {
        /// As written.
        given: String,
        /// The range around it.
        meant: Cidr,
    },
}

impl Cidr {
    /// The first address.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// How many leading bits all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.prefix) == self.network
    }

    /// Whether all of another range lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        other.prefix >= self.prefix && self.contains(other.network)
    }

    /// How many addresses it has.
    pub fn addresses(&self) -> u128 {
        1_u128.checked_shl(width(self.network) - u32::from(self.prefix)).unwrap_or(u128::MAX)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits behind the prefix cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr::NoRange(text.to_owned());
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let longest = width(address);
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| bad())?;
        let prefix = u8::try_from(prefix).ok().filter(|_| prefix <= longest).ok_or_else(bad)?;
        let meant = Self { network: masked(address, prefix), prefix };
        if meant.network != address {
            return Err(BadCidr::NotTheNetwork { given: text.to_owned(), meant });
        }
        Ok(meant)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Cidr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_other() {
        for (text, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "::1", "127.0.0.1"),
        ] {
            assert!(range(text).contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!range(text).contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn a_range_knows_its_size_and_the_ranges_within() {
        assert_eq!(range("192.0.2.0/24").addresses(), 256);
        assert_eq!(range("192.0.2.1/32").addresses(), 1);
        assert_eq!(range("::/0").addresses(), u128::MAX);
        assert!(range("10.0.0.0/8").covers(&range("10.1.0.0/16")));
        assert!(!range("10.1.0.0/16").covers(&range("10.0.0.0/8")));
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_to_write() {
        for (text, part) in [
            ("", "192.0.2.0/24"),
            ("plant", "192.0.2.0/24"),
            ("192.0.2.0/33", "192.0.2.0/24"),
            ("192.0.2.0/-1", "192.0.2.0/24"),
            ("192.0.2.0/", "192.0.2.0/24"),
            ("192.0.2.17/24", "write 192.0.2.0/24"),
            ("2001:db8::1/300", "192.0.2.0/24"),
        ] {
            let error = text.parse::<Cidr>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
