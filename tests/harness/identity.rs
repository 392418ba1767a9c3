//! Who the tests are: a token that may do everything, known to each gateway before it starts.

use std::path::Path;

use bifrost_security::accounts::{ADMIN, Account, NewToken, Roles, Scope, Secret, Store, VIEWER};

/// What every request of a test shows.
pub(crate) const TOKEN: &str = "bft_dGhlIHRlc3RzIG9mIHRoaXMgZ2F0ZXdheSBrbm93Xzs";

/// Makes the token known in this data directory, beside an account that keeps the gateway from making one.
pub(crate) fn prepare(data_dir: &Path) {
    let store = Store::within(data_dir);
    let roles = Roles::default();
    let (_, secret) = Secret::parse(TOKEN).expect("it has the form of a token");
    let known = |digest| store.read().is_ok_and(|book| book.tokens().iter().any(|it| it.digest == digest));
    if known(secret.digest()) {
        return;
    }
    let prepared = store.change(|book| {
        if book.accounts().is_empty() {
            book.add(Account::new("nobody", VIEWER), &roles)?;
        }
        let scope = Scope::Role(ADMIN.into());
        let new = NewToken { name: "tests".to_owned(), scope, owner: None, expires: None };
        book.issue(new, &secret, &roles).map(drop)
    });
    prepared.expect("accounts can be written");
}
