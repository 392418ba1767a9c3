//! Bodies of requests: read within bounds of size and time, as JSON of a given shape.

use std::time::Duration;

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, dev,
    http::{StatusCode, header},
    web::{Bytes, BytesMut, Data},
};
use futures_util::{StreamExt as _, future::LocalBoxFuture};
use serde::de::DeserializeOwned;

use super::{
    error::{Kind, Problem},
    shape,
    state::Bounds,
};

/// By then the answer to a refused body is sent.
const UNTIL_ANSWERED: Duration = Duration::from_secs(1);

/// A type that a body can have.
pub(super) trait RequestBody: DeserializeOwned + 'static {
    /// The problem that JSON of another shape makes.
    const UNFIT: Kind = Kind::InvalidBody;
}

/// A body of JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: RequestBody> FromRequest for Body<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let (payload, announced) = (payload.take(), announced_length(request));
        let bounds = bounds(request).and_then(|bounds| check_media_type(request).map(|()| bounds));
        Box::pin(async move {
            let bounds = bounds?;
            let (max_body, time) = (bounds.max_body, bounds.body_time);
            if announced.is_some_and(|length| length > max_body) {
                return Err(too_large(max_body));
            }
            let mut payload = payload;
            let read = tokio::time::timeout(time, collect(&mut payload, max_body)).await;
            match read.unwrap_or_else(|_| Err(too_slow(time))) {
                Ok(bytes) => parse(&bytes).map(Self),
                Err(problem) => {
                    hold(payload);
                    Err(problem)
                }
            }
        })
    }
}

fn bounds(request: &HttpRequest) -> Result<Data<Bounds>, Problem> {
    let missing = || Problem::new(Kind::Internal, "the server was built without bounds");
    request.app_data::<Data<Bounds>>().cloned().ok_or_else(missing)
}

fn announced_length(request: &HttpRequest) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_media_type(request: &HttpRequest) -> Result<(), Problem> {
    let media_type = request.content_type();
    if media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json") {
        return Ok(());
    }
    let detail = format!("send JSON with the header content-type: application/json, not {media_type:?}");
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

/// Keeps the rest of a body that is refused until the answer is sent.
///
/// actix closes a connection whose body somebody still holds then. One that nobody wants it would drain,
/// when it comes in chunks, for as long as the client likes.
fn hold(payload: dev::Payload) {
    actix_web::rt::spawn(async move {
        tokio::time::sleep(UNTIL_ANSWERED).await;
        drop(payload);
    });
}

async fn collect(payload: &mut dev::Payload, max: usize) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let broken =
            |error| Problem::of_status(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"));
        let chunk = chunk.map_err(broken)?;
        if body.len() + chunk.len() > max {
            return Err(too_large(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn too_large(max: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("a body has at most {max} bytes; the key is api.max_body"))
}

fn too_slow(time: Duration) -> Problem {
    let detail =
        format!("the body didn't arrive within {time:?}; the key is gateway.performance.read_timeout");
    Problem::new(Kind::SlowRequest, detail)
}

fn parse<T: RequestBody>(bytes: &[u8]) -> Result<T, Problem> {
    let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(Kind::MalformedJson, error.to_string()).at_position(error.line(), error.column())
    })?;
    // Of an array serde would take the elements for the keys, in an order that nobody promises.
    if !matches!(json, serde_json::Value::Object(_)) {
        return Err(Problem::new(Kind::MalformedJson, "the body has to be a JSON object: {…}"));
    }
    shape::read(json).map_err(|problems| Problem::of_keys(T::UNFIT, problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        tag_id: String,
    }

    impl RequestBody for Order {}

    #[test]
    fn malformed_json_names_line_and_column() {
        let problem = parse::<Order>(b"{\n  \"tag_id\": yes\n}").unwrap_err();
        assert_eq!((problem.status, problem.line, problem.column), (400, Some(2), Some(13)));
    }

    #[test]
    fn an_array_is_no_object_whatever_it_holds() {
        for text in [&br#"["a"]"#[..], b"7", b"null", b"\"a\""] {
            let problem = parse::<Order>(text).unwrap_err();
            assert!(problem.detail.contains("JSON object"), "{problem}");
        }
    }

    #[test]
    fn json_of_another_shape_names_the_key() {
        let problem = parse::<Order>(br#"{"tag":"a"}"#).unwrap_err();
        assert_eq!(problem.type_uri, "urn:bifrost:problem:invalid-body");
        let keys: Vec<_> = problem.errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, ["tag", "tag_id"]);
    }

    #[test]
    fn what_fits_is_read() {
        assert_eq!(parse::<Order>(br#"{"tag_id":"a"}"#).unwrap(), Order { tag_id: "a".to_owned() });
    }
}
