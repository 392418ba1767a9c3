//! Names in paths, which may hold any character once percent-decoded, slashes too.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev};
use percent_encoding::percent_decode_str;

use super::error::{Kind, Problem};

/// What one segment of a path names.
pub(super) fn decode(segment: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Problem::new(Kind::InvalidPath, format!("{segment:?} isn't UTF-8 once percent-decoded")))
}

/// The segments after `prefix` of the path as it was sent; actix's own parameters are half decoded.
pub(super) fn segments_after(request: &HttpRequest, prefix: &str) -> Result<Vec<String>, Problem> {
    let rest = request.uri().path().strip_prefix(prefix).unwrap_or_default();
    rest.split('/').map(decode).collect()
}

/// One name: the segment of a path after a fixed prefix.
fn name_after(request: &HttpRequest, prefix: &str) -> Result<String, Problem> {
    segments_after(request, prefix).map(|names| names.into_iter().next().unwrap_or_default())
}

/// `{id}` of `/api/devices/{id}…`
pub(super) struct DeviceId(pub(super) String);

impl FromRequest for DeviceId {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(name_after(request, "/api/devices/").map(Self))
    }
}

/// `{id}` of `/api/alarms/{id}…`
pub(super) struct AlarmId(pub(super) String);

impl FromRequest for AlarmId {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(name_after(request, "/api/alarms/").map(Self))
    }
}

/// `{id}` of `/api/dead-letters/{id}…`
pub(super) struct LetterId(pub(super) u64);

impl FromRequest for LetterId {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let name = name_after(request, "/api/dead-letters/");
        ready(name.and_then(|name| name.parse().map(Self).map_err(|_| Problem::unknown_letter(&name))))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use bifrost_actors::supervision::encode_name;

    use super::*;

    #[test]
    fn any_name_survives_a_path() {
        for name in ["press-1", "a/b", "100%", "ä ö", "a?b#c", "..", "+"] {
            let request =
                TestRequest::with_uri(&format!("/api/devices/{}/tags", encode_name(name))).to_http_request();
            assert_eq!(name_after(&request, "/api/devices/").unwrap(), name);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(decode("%ff").unwrap_err().status, 400);
    }
}
