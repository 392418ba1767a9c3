//! Query parameters of a given shape; a parameter that doesn't exist is refused, not passed over.

use std::{
    collections::BTreeMap,
    future::{Ready, ready},
};

use actix_web::{FromRequest, HttpRequest, dev};
use serde::de::DeserializeOwned;

use super::{
    error::{Kind, Problem},
    shape,
};

/// The query of a request. A parameter that is there more than once counts as a list with commas.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(read(request.query_string()).map(Self))
    }
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut merged: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        merged
            .entry(key.into_owned())
            .and_modify(|known| {
                known.push(',');
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(&merged).finish();
    let parsed = form_urlencoded::parse(pairs.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(parsed)).map_err(|error| {
        let problem = shape::describe(error.path(), &error.inner().to_string());
        Problem::of_keys(Kind::InvalidQuery, vec![problem])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        limit: Option<usize>,
        #[serde(default)]
        tag_ids: String,
    }

    #[test]
    fn a_parameter_that_is_repeated_is_a_list() {
        let asked: Asked = read("tag_ids=a&limit=5&tag_ids=b%20c").unwrap();
        assert_eq!((asked.limit, asked.tag_ids.as_str()), (Some(5), "a,b c"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (query, key, part) in
            [("limit=many", "limit", "invalid digit"), ("limits=5", "limits", "did you mean \"limit\"?")]
        {
            let problem = read::<Asked>(query).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].key.as_str()), (400, key));
            assert!(problem.detail.contains(part), "{}", problem.detail);
        }
    }
}
