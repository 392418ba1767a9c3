//! Lists in pages: a bounded `limit`, and a `cursor` that says where the last page ended.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    error::{KeyProblem, Kind, Problem},
    settings::ApiSettings,
};

/// Which part of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// At most so many entries, at least one.
    pub(super) limit: usize,
    /// Where the page before ended, in the list's own terms.
    pub(super) after: Option<String>,
}

impl Page {
    /// From the query's `limit` and `cursor`.
    pub(super) fn new(
        limit: Option<usize>,
        cursor: Option<&str>,
        settings: &ApiSettings,
    ) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(settings.page_limit_default);
        if !(1..=settings.page_limit_max).contains(&limit) {
            let reason = format!("goes from 1 to {}", settings.page_limit_max);
            return Err(Problem::of_keys(Kind::InvalidQuery, vec![KeyProblem::new("limit", reason)]));
        }
        let after = cursor.map(|cursor| decode(cursor).ok_or_else(bad_cursor)).transpose()?;
        Ok(Self { limit, after })
    }

    /// Where the page before ended, as a number.
    pub(super) fn after_number(&self) -> Result<Option<u64>, Problem> {
        self.after.as_ref().map(|after| after.parse().map_err(|_| bad_cursor())).transpose()
    }

    /// Takes one page off the rest of a list, and tells whether there is more.
    pub(super) fn cut<T>(&self, rest: impl IntoIterator<Item = T>) -> (Vec<T>, bool) {
        let mut rest = rest.into_iter();
        let page: Vec<T> = rest.by_ref().take(self.limit).collect();
        let more = rest.next().is_some();
        (page, more)
    }
}

/// The cursor of a page that ends here; clients don't look into it.
pub(super) fn cursor(end: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(end)
}

fn decode(cursor: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

/// A cursor that no page ended with.
pub(super) fn bad_cursor() -> Problem {
    let reason = "isn't one that this list gave; leave it out to begin again";
    Problem::of_keys(Kind::InvalidQuery, vec![KeyProblem::new("cursor", reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<usize>, cursor: Option<&str>) -> Result<Page, Problem> {
        Page::new(limit, cursor, &ApiSettings::default())
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(page(None, None).unwrap().limit, 100);
        assert_eq!(page(Some(1000), None).unwrap().limit, 1000);
        for limit in [0, 1001, usize::MAX] {
            assert_eq!(page(Some(limit), None).unwrap_err().errors[0].key, "limit");
        }
    }

    #[test]
    fn a_cursor_carries_any_id() {
        for id in ["press-1", "a/b c", "ä", ""] {
            assert_eq!(page(None, Some(&cursor(id))).unwrap().after.as_deref(), Some(id));
        }
    }

    #[test]
    fn a_cursor_of_somebody_elses_making_is_refused() {
        assert_eq!(page(None, Some("!")).unwrap_err().errors[0].key, "cursor");
        assert!(page(None, Some(&cursor("x"))).unwrap().after_number().is_err());
        assert_eq!(page(None, Some(&cursor("17"))).unwrap().after_number(), Ok(Some(17)));
    }

    #[test]
    fn a_page_ends_at_its_limit_and_knows_of_more() {
        let two = page(Some(2), None).unwrap();
        assert_eq!(two.cut([1, 2, 3]), (vec![1, 2], true));
        assert_eq!(two.cut([1, 2]), (vec![1, 2], false));
        assert_eq!(two.cut(Vec::<u8>::new()), (vec![], false));
    }
}
