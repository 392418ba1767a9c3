//! Names and addresses under which somebody is reached.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use openssl::x509::{GeneralNameRef, X509Ref};
use serde::{Deserialize, Serialize};

/// A name or an address under which somebody is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AltName {
    /// A host name; its first label may be `*`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl AltName {
    /// Whether somebody who asks for this host means it (RFC 6125, 6.4).
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Ip(own) => host.parse::<IpAddr>().is_ok_and(|asked| asked == *own),
            Self::Dns(own) => match own.strip_prefix("*.") {
                Some(rest) => {
                    host.split_once('.').is_some_and(|(_, behind)| behind.eq_ignore_ascii_case(rest))
                }
                None => own.eq_ignore_ascii_case(host),
            },
        }
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl FromStr for AltName {
    type Err = String;

    /// An address, or a host name.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let is_label = |label: &str| {
            let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(is_inside)
        };
        let bare = text.strip_prefix("*.").unwrap_or(text);
        let is_only_digits = bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if text.len() > 253 || is_only_digits || !bare.split('.').all(is_label) {
            return Err(format!("{text:?} is neither a host name nor an IP address"));
        }
        Ok(Self::Dns(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for AltName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AltName> for String {
    fn from(name: AltName) -> Self {
        name.to_string()
    }
}

/// One of a certificate's names.
pub(crate) fn alt_name(name: &GeneralNameRef) -> Result<AltName, String> {
    if let Some(host) = name.dnsname() {
        return host.parse();
    }
    let bytes = name.ipaddress().ok_or("a name that is neither a host name nor an IP address")?;
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    let sixteen = <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)));
    four.or(sixteen).map(AltName::Ip).map_err(|_| "an IP address of an odd length".to_owned())
}

/// Those names of a certificate that can be understood.
pub(crate) fn names_of(certificate: &X509Ref) -> Vec<AltName> {
    let names = certificate.subject_alt_names();
    names.iter().flatten().filter_map(|name| alt_name(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_are_taken_and_others_refused() {
        for good in ["gw-1", "GW.plant.example", "*.plant.example", "192.0.2.1", "2001:db8::1", "a_b.example"]
        {
            assert!(good.parse::<AltName>().is_ok(), "{good}");
        }
        for bad in ["", "a..b", "-a", "a-", "a b", "*", "a.*.b", "1.2.3", "a/b", "DNS:a", "a,b", "ä"] {
            assert!(bad.parse::<AltName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let name: AltName = "*.plant.example".parse().unwrap();
        assert!(name.matches("gw.Plant.example"));
        assert!(!name.matches("plant.example") && !name.matches("a.gw.plant.example"));
    }
}
