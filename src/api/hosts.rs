//! Whom a request is for, and whose page asks.
//!
//! Only loopback is served, so what is left beside strangers is a page in a browser of this machine: its own requests carry a foreign `Origin`, and after
//! DNS rebinding a foreign `Host`. Both are refused.

use std::net::IpAddr;

use actix_web::{
    dev::RequestHead,
    http::{
        Uri,
        header::{self, HeaderName},
        uri::Authority,
    },
};

use super::error::{Kind, Problem};

/// Refuses what isn't for this machine by name, or comes from another site's page.
pub(super) fn check(head: &RequestHead) -> Result<(), Problem> {
    let Some(host) = text(head, &header::HOST) else {
        return Err(Problem::new(Kind::MissingHost, "send the header host, such as host: localhost"));
    };
    let asked_for = head.uri.authority().map_or(host, Authority::as_str);
    for name in [host, asked_for] {
        if !is_loopback(name) {
            let detail = format!("{name:?} isn't this machine; use localhost, 127.0.0.1 or [::1]");
            return Err(Problem::new(Kind::ForeignHost, detail));
        }
    }
    match head.headers().get(header::ORIGIN).map(|_| text(head, &header::ORIGIN).unwrap_or_default()) {
        Some(origin) if !is_own(origin, host) => {
            let detail = format!("pages of {origin:?} may not ask {host}; open the gateway's own page");
            Err(Problem::new(Kind::ForeignOrigin, detail))
        }
        _ => Ok(()),
    }
}

fn text<'a>(head: &'a RequestHead, name: &HeaderName) -> Option<&'a str> {
    head.headers().get(name)?.to_str().ok()
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_own(origin: &str, host: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let own = |authority: &Authority| authority.as_str().eq_ignore_ascii_case(host);
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some_and(own)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn verdict(headers: &[(&'static str, &str)]) -> Result<(), String> {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.insert_header(*header);
        }
        check(request.to_srv_request().head()).map_err(|problem| problem.type_uri.clone())
    }

    #[test]
    fn every_name_of_this_machine_passes() {
        let names = [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "a.localhost",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:8080",
        ];
        for host in names {
            assert_eq!(verdict(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        let names = [
            "evil.example",
            "localhost.evil.example",
            "192.0.2.1",
            "0.0.0.0",
            "notlocalhost",
            "a@localhost",
            "",
            "[::2]",
        ];
        for host in names {
            let verdict = verdict(&[("host", host)]);
            assert_eq!(verdict, Err("urn:bifrost:problem:foreign-host".to_owned()), "{host}");
        }
        assert_eq!(verdict(&[]), Err("urn:bifrost:problem:missing-host".to_owned()));
    }

    #[test]
    fn only_the_own_origin_passes() {
        let host = ("host", "localhost:8080");
        assert_eq!(verdict(&[host, ("origin", "http://localhost:8080")]), Ok(()));
        for origin in ["http://localhost:9090", "http://evil.example", "null", "", "file://localhost:8080"] {
            let verdict = verdict(&[host, ("origin", origin)]);
            assert_eq!(verdict, Err("urn:bifrost:problem:foreign-origin".to_owned()), "{origin}");
        }
    }
}
