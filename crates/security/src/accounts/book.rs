//! All accounts and tokens there are, and the rules by which they change. Pure: no file, no clock of its own.

use std::sync::Arc;

use bifrost_model::Timestamp;
use openssl::error::ErrorStack;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    password::{Hash, PasswordError},
    permission::{Permission, Permissions, Roles},
    secret::{Digest, Secret, random_id},
};

/// Most accounts, and most tokens.
const MOST: usize = 10_000;

/// A certificate that stands for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateMatch {
    /// This one alone: SHA-256 of its DER form, lower case hexadecimal.
    Fingerprint(String),
    /// Any verified one whose subject has this common name.
    CommonName(String),
}

/// Somebody who may come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What it is called.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Arc<str>,
    /// What is kept of its password; without one it comes in by certificate or tokens alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Hash>,
    /// Whether it must be able to come in at any time: never locked.
    #[serde(default)]
    pub essential: bool,
    /// Whether it is kept out for now.
    #[serde(default)]
    pub disabled: bool,
    /// Whether its password is to be changed before anything else.
    #[serde(default)]
    pub must_change: bool,
    /// Certificates that stand for it.
    #[serde(default)]
    pub certificates: Vec<CertificateMatch>,
    /// Counts changes that end its sessions.
    #[serde(default)]
    pub revision: u64,
    /// Since when it exists.
    pub created: Timestamp,
}

impl Account {
    /// One with a role and nothing else.
    pub fn new(name: &str, role: &str) -> Self {
        Self {
            name: name.into(),
            role: role.into(),
            password: None,
            essential: false,
            disabled: false,
            must_change: false,
            certificates: Vec::new(),
            revision: 0,
            created: Timestamp::now(),
        }
    }
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// What a role may.
    Role(Arc<str>),
    /// These things.
    Permissions(Permissions),
}

impl Scope {
    /// What that comes to; nothing for a role that isn't there any more.
    pub fn permissions(&self, roles: &Roles) -> Permissions {
        match self {
            Self::Role(role) => roles.get(role).unwrap_or_default(),
            Self::Permissions(permissions) => *permissions,
        }
    }
}

/// A token for a program. The secret itself is known to its owner alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names it in lists and in the audit trail.
    pub id: Arc<str>,
    /// What it is for.
    pub name: String,
    /// Of its secret.
    pub digest: Digest,
    /// What it may do.
    pub scope: Scope,
    /// The account that issued it: it never may more than that one. `None`: issued on the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
    /// Since when it exists.
    pub created: Timestamp,
    /// Until when it holds; `None`: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Since when it holds no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// A token to be issued.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Who issues it.
    pub owner: Option<Arc<str>>,
    /// Until when it holds.
    pub expires: Option<Timestamp>,
}

/// What is to be different about an account; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// What it may do.
    pub role: Option<Arc<str>>,
    /// A new password, hashed, and whether it is to be changed at once.
    pub password: Option<(Hash, bool)>,
    /// Whether it is never locked.
    pub essential: Option<bool>,
    /// Whether it is kept out.
    pub disabled: Option<bool>,
    /// Certificates that stand for it.
    pub certificates: Option<Vec<CertificateMatch>>,
}

/// Why accounts and tokens stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// No account of this name.
    #[error("there is no account {0:?}")]
    UnknownAccount(String),
    /// There is one already.
    #[error("there is an account {0:?} already, upper and lower case apart")]
    AccountExists(String),
    /// A name that can't be.
    #[error("{0:?} can't name an account; use 1 to 64 of the characters a-z A-Z 0-9 . _ @ -")]
    BadName(String),
    /// No such role.
    #[error("there is no role {role:?}; there are {known}")]
    UnknownRole {
        /// The role.
        role: String,
        /// Those there are.
        known: String,
    },
    /// The password isn't taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Nobody could manage accounts any more.
    #[error("{0:?} is the last account that can manage accounts; make another one first")]
    LastManager(String),
    /// No token of this id.
    #[error("there is no token {0:?}")]
    UnknownToken(String),
    /// A certificate stands for one account.
    #[error("that certificate stands for the account {0:?} already")]
    CertificateTaken(String),
    /// Too many.
    #[error("there are {MOST} already; remove some first")]
    TooMany,
    /// A token that would never hold.
    #[error("the time at which it would expire has passed already")]
    ExpiresInThePast,
    /// No randomness.
    #[error("the system has no randomness: {0}")]
    NoRandomness(String),
}

impl From<ErrorStack> for ChangeError {
    fn from(error: ErrorStack) -> Self {
        Self::NoRandomness(error.to_string())
    }
}

/// All accounts and tokens there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// Of this form.
    #[serde(default)]
    version: u32,
    /// In the order in which they were made.
    #[serde(default)]
    accounts: Vec<Account>,
    /// The same.
    #[serde(default)]
    tokens: Vec<Token>,
}

impl Book {
    /// All accounts.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// All tokens, revoked and expired ones too.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The account of this name.
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| &*account.name == name)
    }

    /// Adds an account.
    pub fn add(&mut self, account: Account, roles: &Roles) -> Result<(), ChangeError> {
        check_name(&account.name)?;
        check_role(&account.role, roles)?;
        let same = |known: &&Account| known.name.eq_ignore_ascii_case(&account.name);
        if let Some(known) = self.accounts.iter().find(same) {
            return Err(ChangeError::AccountExists(known.name.to_string()));
        }
        if self.accounts.len() >= MOST {
            return Err(ChangeError::TooMany);
        }
        self.check_certificates(&account.name, &account.certificates)?;
        self.accounts.push(account);
        Ok(())
    }

    /// Changes an account. What takes something from it, and a new password, ends its sessions.
    pub fn update(&mut self, name: &str, update: Update, roles: &Roles) -> Result<(), ChangeError> {
        if let Some(role) = &update.role {
            check_role(role, roles)?;
        }
        if let Some(certificates) = &update.certificates {
            self.check_certificates(name, certificates)?;
        }
        self.keeping_a_manager(name, roles, |book| {
            let account = book.accounts.iter_mut().find(|account| &*account.name == name);
            let account = account.ok_or_else(|| ChangeError::UnknownAccount(name.to_owned()))?;
            apply(account, update);
            Ok(())
        })
    }

    /// Removes an account, and with it the tokens that it issued.
    pub fn remove(&mut self, name: &str, roles: &Roles) -> Result<(), ChangeError> {
        self.keeping_a_manager(name, roles, |book| {
            let before = book.accounts.len();
            book.accounts.retain(|account| &*account.name != name);
            if book.accounts.len() == before {
                return Err(ChangeError::UnknownAccount(name.to_owned()));
            }
            book.tokens.retain(|token| token.owner.as_deref() != Some(name));
            Ok(())
        })
    }

    /// Adds a token with this secret; answers its id.
    pub fn issue(&mut self, new: NewToken, secret: &Secret, roles: &Roles) -> Result<Token, ChangeError> {
        if let Scope::Role(role) = &new.scope {
            check_role(role, roles)?;
        }
        let created = Timestamp::now();
        if new.expires.is_some_and(|expires| expires <= created) {
            return Err(ChangeError::ExpiresInThePast);
        }
        if self.tokens.len() >= MOST {
            return Err(ChangeError::TooMany);
        }
        let NewToken { name, scope, owner, expires } = new;
        let (id, digest) = (random_id()?.into(), secret.digest());
        let token = Token { id, name, digest, scope, owner, created, expires, revoked: None };
        self.tokens.push(token.clone());
        Ok(token)
    }

    /// Ends a token for good; it stays in the list.
    pub fn revoke(&mut self, id: &str) -> Result<(), ChangeError> {
        let token = self.tokens.iter_mut().find(|token| &*token.id == id);
        let token = token.ok_or_else(|| ChangeError::UnknownToken(id.to_owned()))?;
        token.revoked.get_or_insert_with(Timestamp::now);
        Ok(())
    }

    fn check_certificates(&self, name: &str, certificates: &[CertificateMatch]) -> Result<(), ChangeError> {
        let others = self.accounts.iter().filter(|account| &*account.name != name);
        let mut taken = others.filter(|other| certificates.iter().any(|it| other.certificates.contains(it)));
        taken.next().map_or(Ok(()), |other| Err(ChangeError::CertificateTaken(other.name.to_string())))
    }

    /// Changes, unless that would leave nobody who can manage accounts.
    fn keeping_a_manager(
        &mut self,
        name: &str,
        roles: &Roles,
        change: impl FnOnce(&mut Self) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let mut changed = self.clone();
        change(&mut changed)?;
        if self.has_manager(roles) && !changed.has_manager(roles) {
            return Err(ChangeError::LastManager(name.to_owned()));
        }
        *self = changed;
        Ok(())
    }

    fn has_manager(&self, roles: &Roles) -> bool {
        self.accounts.iter().any(|account| {
            let permissions = roles.get(&account.role).unwrap_or_default();
            let comes_in = account.password.is_some() || !account.certificates.is_empty();
            !account.disabled && comes_in && permissions.has(Permission::AccountsManage)
        })
    }
}

fn apply(account: &mut Account, update: Update) {
    let ends = update.password.is_some()
        || update.disabled == Some(true)
        || update.role.as_ref().is_some_and(|role| *role != account.role);
    if let Some(role) = update.role {
        account.role = role;
    }
    if let Some((hash, must_change)) = update.password {
        (account.password, account.must_change) = (Some(hash), must_change);
    }
    account.essential = update.essential.unwrap_or(account.essential);
    account.disabled = update.disabled.unwrap_or(account.disabled);
    if let Some(certificates) = update.certificates {
        account.certificates = certificates;
    }
    account.revision += u64::from(ends);
}

fn check_name(name: &str) -> Result<(), ChangeError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(ChangeError::BadName(name.to_owned()))
    }
}

fn check_role(role: &str, roles: &Roles) -> Result<(), ChangeError> {
    let unknown = || ChangeError::UnknownRole { role: role.to_owned(), known: roles.names() };
    roles.get(role).map(drop).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            password::PasswordSettings,
            permission::{ADMIN, VIEWER},
            secret::Use,
        },
        *,
    };

    fn hash() -> Hash {
        let cheap =
            PasswordSettings { argon2_memory_kib: 7168, argon2_iterations: 5, ..PasswordSettings::default() };
        Hash::of("root", "a long password", &cheap).unwrap()
    }

    fn with_admin() -> (Book, Roles) {
        let (mut book, roles) = (Book::default(), Roles::default());
        book.add(Account { password: Some(hash()), ..Account::new("root", ADMIN) }, &roles).unwrap();
        (book, roles)
    }

    #[test]
    fn names_and_roles_are_checked() {
        let (mut book, roles) = with_admin();
        let refused = |book: &mut Book, name, role| book.add(Account::new(name, role), &roles).unwrap_err();
        assert_eq!(refused(&mut book, "Root", VIEWER), ChangeError::AccountExists("root".to_owned()));
        let long = "a".repeat(65);
        for name in ["", "a b", "ä", "a/b", &long] {
            assert_eq!(refused(&mut book, name, VIEWER), ChangeError::BadName(name.to_owned()));
        }
        assert!(refused(&mut book, "ann", "boss").to_string().contains("admin, engineer, operator, viewer"));
    }

    #[test]
    fn somebody_who_manages_accounts_always_stays() {
        let (mut book, roles) = with_admin();
        let last = Err(ChangeError::LastManager("root".to_owned()));
        let disabled = Update { disabled: Some(true), ..Update::default() };
        assert_eq!(book.remove("root", &roles), last);
        assert_eq!(book.update("root", disabled.clone(), &roles), last);
        assert_eq!(
            book.update("root", Update { role: Some(VIEWER.into()), ..Update::default() }, &roles),
            last
        );
        let second = Account { password: Some(hash()), ..Account::new("second", ADMIN) };
        book.add(second, &roles).unwrap();
        book.update("root", disabled, &roles).unwrap();
        assert_eq!(book.remove("second", &roles), Err(ChangeError::LastManager("second".to_owned())));
        assert_eq!(book.remove("nobody", &roles), Err(ChangeError::UnknownAccount("nobody".to_owned())));
    }

    #[test]
    fn what_takes_something_away_counts_as_a_revision() {
        let (mut book, roles) = with_admin();
        book.add(Account::new("ann", ADMIN), &roles).unwrap();
        let mut revision = |update| {
            book.update("ann", update, &roles).unwrap();
            book.account("ann").unwrap().revision
        };
        assert_eq!(revision(Update { essential: Some(true), ..Update::default() }), 0);
        assert_eq!(revision(Update { role: Some(VIEWER.into()), ..Update::default() }), 1);
        assert_eq!(revision(Update { password: Some((hash(), false)), ..Update::default() }), 2);
        assert_eq!(revision(Update { disabled: Some(true), ..Update::default() }), 3);
    }

    #[test]
    fn a_certificate_stands_for_one_account() {
        let (mut book, roles) = with_admin();
        let certificates = vec![CertificateMatch::CommonName("hmi-1".to_owned())];
        book.add(Account { certificates: certificates.clone(), ..Account::new("hmi", VIEWER) }, &roles)
            .unwrap();
        let update = Update { certificates: Some(certificates), ..Update::default() };
        book.update("hmi", update.clone(), &roles).unwrap();
        assert_eq!(book.update("root", update, &roles), Err(ChangeError::CertificateTaken("hmi".to_owned())));
    }

    #[test]
    fn tokens_go_with_the_account_that_issued_them() {
        let (mut book, roles) = with_admin();
        book.add(Account::new("ann", VIEWER), &roles).unwrap();
        let secret = Secret::generate(Use::Token).unwrap();
        let new = NewToken {
            name: "scada".to_owned(),
            scope: Scope::Role(VIEWER.into()),
            owner: Some("ann".into()),
            expires: None,
        };
        let past = NewToken { expires: Some(Timestamp::from_micros(1)), ..new.clone() };
        assert_eq!(book.issue(past, &secret, &roles), Err(ChangeError::ExpiresInThePast));
        let token = book.issue(new, &secret, &roles).unwrap();
        book.revoke(&token.id).unwrap();
        assert!(book.tokens()[0].revoked.is_some());
        assert_eq!(book.revoke("x"), Err(ChangeError::UnknownToken("x".to_owned())));
        book.remove("ann", &roles).unwrap();
        assert!(book.tokens().is_empty());
    }
}
