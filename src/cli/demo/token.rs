//! A token for whoever tries the demo by hand: it may do everything, and ends with the demo's folder.

use std::path::Path;

use bifrost_model::Timestamp;
use bifrost_security::accounts::{ADMIN, NewToken, Roles, Scope, Secret, Store, Use};

/// A day, in microseconds: nobody looks at a demo for longer.
const DAY: i64 = 86_400_000_000;

/// Issues it; the running gateway knows it within a second.
pub(super) fn issue(folder: &Path) -> Result<String, String> {
    let secret = Secret::generate(Use::Token).map_err(|error| error.to_string())?;
    let expires = Some(Timestamp::from_micros(Timestamp::now().as_micros() + DAY));
    let new = NewToken { name: "demo".to_owned(), scope: Scope::Role(ADMIN.into()), owner: None, expires };
    let issued = Store::within(folder).change(|book| book.issue(new, &secret, &Roles::default()));
    issued.map_err(|error| error.to_string())?;
    Ok(secret.reveal().to_owned())
}
