//! Who may come in, and what they may do: accounts, roles, API tokens, sessions, failures.
//!
//! Knows no HTTP: whoever serves asks [`Authority`] with what was shown.

mod authority;
mod book;
mod lockout;
mod password;
mod permission;
mod principal;
mod secret;
mod sessions;
mod store;

pub use authority::{Authority, AuthoritySettings, LoginError};
pub use book::{Account, Book, CertificateMatch, ChangeError, NewToken, Scope, Token, Update};
pub use lockout::LockoutSettings;
pub use password::{Hash, PasswordError, PasswordSettings, one_time_password};
pub use permission::{ADMIN, ENGINEER, OPERATOR, Permission, Permissions, Roles, UnknownPermission, VIEWER};
pub use principal::{Principal, Proof};
pub use secret::{Digest, Secret, Use};
pub use sessions::{Holder, Listed, Pass, SessionError, SessionSettings, Sessions};
pub use store::{Stamp, Store, StoreError};
