//! Which cipher suites may be used: those that keep what was said secret when a key is lost later, and
//! authenticate what they encrypt. No others exist here.

use super::settings::TlsVersion;

/// Of TLS 1.3, the preferred first.
pub const TLS13_SUITES: [&str; 3] =
    ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];

/// Of TLS 1.2, by OpenSSL's names, the preferred first.
pub const TLS12_SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
];

/// Suites of each version, as OpenSSL's lists.
pub(super) struct Lists {
    pub(super) tls13: String,
    pub(super) tls12: String,
}

/// What OpenSSL is told. No suite named means all; checked before by [`check_suites`].
pub(super) fn lists(suites: &[String]) -> Lists {
    let of = |known: &[&str]| {
        let is_wanted = |name: &&&str| suites.is_empty() || suites.iter().any(|wanted| wanted == **name);
        known.iter().filter(is_wanted).copied().collect::<Vec<_>>().join(":")
    };
    Lists { tls13: of(&TLS13_SUITES), tls12: of(&TLS12_SUITES) }
}

/// Why such a choice of suites can't work.
///
/// # Errors
/// A sentence without a subject, as problems of a configuration have it.
pub fn check_suites(lowest: TlsVersion, suites: &[String]) -> Result<(), String> {
    let is_of = |known: &[&str], name: &String| known.contains(&name.as_str());
    for name in suites {
        if is_of(&TLS12_SUITES, name) && lowest == TlsVersion::Tls13 {
            return Err(format!("{name} is a suite of TLS 1.2, which min_version doesn't allow"));
        }
        if !is_of(&TLS12_SUITES, name) && !is_of(&TLS13_SUITES, name) {
            let known = [&TLS13_SUITES[..], &TLS12_SUITES[..]].concat().join(", ");
            return Err(format!("{name:?} is unknown or weak; there are {known}"));
        }
    }
    let has = |known: &[&str]| suites.is_empty() || suites.iter().any(|name| is_of(known, name));
    if !has(&TLS13_SUITES) {
        return Err(format!("name no suite of TLS 1.3; add one, such as {}", TLS13_SUITES[0]));
    }
    if lowest == TlsVersion::Tls12 && !has(&TLS12_SUITES) {
        return Err(format!(
            "name no suite of TLS 1.2, which min_version allows; add one, such as {}, or set min_version to \"1.3\"",
            TLS12_SUITES[0]
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lowest: TlsVersion, suites: &[&str]) -> Result<(), String> {
        check_suites(lowest, &suites.iter().map(|suite| (*suite).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_strong_suites_that_fit_the_version_are_taken() {
        let (old, new) = (TlsVersion::Tls12, TlsVersion::Tls13);
        let (of_13, of_12) = (TLS13_SUITES[2], TLS12_SUITES[0]);
        assert_eq!(check(new, &[]), Ok(()));
        assert_eq!(check(old, &[]), Ok(()));
        assert_eq!(check(new, &[of_13]), Ok(()));
        assert_eq!(check(old, &[of_13, of_12]), Ok(()));
        for (lowest, suites, part) in [
            (new, &["AES128-SHA"][..], "unknown or weak"),
            (new, &["ALL:!aNULL"], "unknown or weak"),
            (new, &[of_13, of_12], "is a suite of TLS 1.2"),
            (old, &[of_12], "no suite of TLS 1.3"),
            (old, &[of_13], "no suite of TLS 1.2"),
        ] {
            let refused = check(lowest, suites).unwrap_err();
            assert!(refused.contains(part), "{suites:?}: {refused}");
        }
    }
}
