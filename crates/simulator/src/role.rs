//! Who a TLS client is to a PLC: the role in its certificate (MB-TCP-Security v36, section 7.3), read strictly.

use openssl::x509::X509Ref;

/// 1.3.6.1.4.1.50316.802.1 as DER, tag and length included.
const ROLE_OID: &[u8] = &[0x06, 0x0B, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0x89, 0x0C, 0x86, 0x22, 0x01];
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const UTF8_STRING: u8 = 0x0C;
/// `[3]`, in which a certificate carries its extensions (RFC 5280, 4.1).
const EXTENSIONS: u8 = 0xA3;

/// What a certificate says of its holder's role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has none.
    None,
    /// It has one, which is well formed.
    Named(String),
    /// It has something that isn't one role: two of them, another type than `UTF8String`, or nothing in it.
    Malformed(&'static str),
}

impl Role {
    /// Of a certificate that the handshake has verified.
    pub(crate) fn of(certificate: &X509Ref) -> Self {
        certificate
            .to_der()
            .ok()
            .and_then(|der| Self::in_der(&der))
            .unwrap_or(Self::Malformed("not readable"))
    }

    /// Walks the certificate itself: libraries that look an extension up find the first of two.
    fn in_der(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der)?;
        let (_, to_be_signed, _) = element(certificate)?;
        let Some(list) = elements(to_be_signed)?.into_iter().find(|(tag, _)| *tag == EXTENSIONS) else {
            return Some(Self::None);
        };
        let (_, extensions, _) = element(list.1)?;
        let mut roles = Vec::new();
        for (_, extension) in elements(extensions)? {
            if let Some(rest) = extension.strip_prefix(ROLE_OID) {
                roles.push(value(rest)?);
            }
        }
        Some(match roles.as_slice() {
            [] => Self::None,
            [role] => Self::parse(role),
            _ => Self::Malformed("more than one role"),
        })
    }

    /// The extension's value: one DER `UTF8String` and nothing behind it.
    fn parse(der: &[u8]) -> Self {
        match element(der) {
            Some((UTF8_STRING, text, [])) => match std::str::from_utf8(text) {
                Ok("") => Self::Malformed("an empty role"),
                Ok(role) => Self::Named(role.to_owned()),
                Err(_) => Self::Malformed("a role that isn't UTF-8"),
            },
            Some((UTF8_STRING, _, _)) => Self::Malformed("something behind the role"),
            _ => Self::Malformed("a role that is no UTF8String"),
        }
    }
}

/// What follows the id of an extension: whether it is critical, perhaps, and its value.
fn value(rest: &[u8]) -> Option<&[u8]> {
    match element(rest)? {
        (BOOLEAN, _, rest) => match element(rest)? {
            (OCTET_STRING, value, []) => Some(value),
            _ => None,
        },
        (OCTET_STRING, value, []) => Some(value),
        _ => None,
    }
}

/// Tag, content and what is behind it, of DER with lengths up to four bytes.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7F => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7F))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn elements(mut der: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (tag, content, rest) = element(der)?;
        found.push((tag, content));
        der = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_utf8_string_with_something_in_it_is_a_role() {
        assert_eq!(Role::parse(b"\x0c\x08operator"), Role::Named("operator".to_owned()));
        for (der, why) in [
            (&b"\x0c\x00"[..], "empty"),
            (b"\x13\x08operator", "no UTF8String"),
            (b"\x0c\x08operator\x0c\x01a", "behind"),
            (b"\x0c\x01\xff", "UTF-8"),
            (b"\x0c\x09operator", "no UTF8String"),
            (b"", "no UTF8String"),
        ] {
            assert!(matches!(Role::parse(der), Role::Malformed(said) if said.contains(why)), "{der:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(der in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Role::in_der(&der);
        }
    }
}
