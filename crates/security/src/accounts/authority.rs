//! Who may come in, asked with each request: accounts, tokens, certificates, sessions and failures together.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bifrost_model::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    book::{Account, Book, CertificateMatch, ChangeError, Token},
    lockout::{Lockout, LockoutSettings},
    password::{Hash, PasswordError, PasswordSettings},
    permission::{Permissions, Roles},
    principal::{Principal, Proof},
    secret::{Digest, Secret, Use},
    sessions::{Holder, Pass, SessionError, SessionSettings, Sessions},
    store::{Stamp, Store, StoreError},
};
use crate::tls::Peer;

/// What an operator may say of identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthoritySettings {
    /// Roles beside the usual ones, or instead of them.
    pub roles: BTreeMap<String, Permissions>,
    /// What is asked of passwords.
    pub passwords: PasswordSettings,
    /// How long who logged in stays so.
    pub sessions: SessionSettings,
    /// How often somebody may guess.
    pub lockout: LockoutSettings,
}

/// Why somebody can't log in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginError {
    /// Says neither whether the account exists nor whether it is locked.
    #[error("name and password don't fit, or were tried too often; wait, then try again")]
    Wrong {
        /// Whether this failure locked the account or the address.
        locked: bool,
    },
    /// Too many failures from this address.
    #[error("too many log-ins from this address have failed; wait {} s", .0.as_secs().max(1))]
    TooMany(Duration),
    /// They may, but there is no place.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// What was read last, with what is looked up in it.
#[derive(Debug)]
struct Known {
    book: Book,
    stamp: Stamp,
    tokens: HashMap<Digest, usize>,
}

impl Known {
    fn new(book: Book, stamp: Stamp) -> Self {
        let tokens = book.tokens().iter().enumerate().map(|(at, token)| (token.digest, at)).collect();
        Self { book, stamp, tokens }
    }
}

/// Who may come in.
#[derive(Debug)]
pub struct Authority {
    store: Store,
    roles: Roles,
    passwords: PasswordSettings,
    sessions: Sessions,
    lockout: Lockout,
    known: RwLock<Arc<Known>>,
    /// Checked where there is no account, so that it takes as long.
    nobody: Hash,
}

impl Authority {
    /// With the accounts of this data directory.
    pub fn open(data_dir: &Path, settings: &AuthoritySettings) -> Result<Self, StoreError> {
        let store = Store::within(data_dir);
        let stamp = store.stamp();
        let known = Known::new(store.read()?, stamp);
        Ok(Self {
            store,
            roles: Roles::with(&settings.roles),
            nobody: Hash::of_nobody(&settings.passwords).map_err(ChangeError::from)?,
            passwords: settings.passwords.clone(),
            sessions: Sessions::new(settings.sessions.clone()),
            lockout: Lockout::new(settings.lockout.clone()),
            known: RwLock::new(Arc::new(known)),
        })
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn learn(&self, book: Book, stamp: Stamp) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Known::new(book, stamp));
    }

    /// Accounts and tokens as they are now.
    pub fn book(&self) -> Book {
        self.known().book.clone()
    }

    /// Which role may do what.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// All sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Reads the file again if somebody else has changed it; whether it was.
    pub fn look_again(&self) -> Result<bool, StoreError> {
        let stamp = self.store.stamp();
        if stamp == self.known().stamp {
            return Ok(false);
        }
        self.learn(self.store.read()?, stamp);
        Ok(true)
    }

    /// Changes accounts or tokens, on disk and at once. Takes its time.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Book, &Roles) -> Result<T, ChangeError>,
    ) -> Result<T, StoreError> {
        let (answer, book) = self.store.change(|book| change(book, &self.roles))?;
        // A stamp taken now may be of a change after this one: none makes the next look read it.
        self.learn(book, None);
        Ok(answer)
    }

    /// What is kept of a new password. Takes its time.
    pub fn hash(&self, name: &str, password: &str) -> Result<Hash, PasswordError> {
        Hash::of(name, password, &self.passwords)
    }

    /// Whether it is the account's password, without counting failures. Takes its time.
    pub fn is_password(&self, name: &str, password: &str) -> bool {
        let known = self.known();
        let hash = known.book.account(name).and_then(|account| account.password.as_ref());
        let right = hash.unwrap_or(&self.nobody).is_of(password);
        right && hash.is_some()
    }

    /// Begins a session for who knows the password. Takes its time, always as much.
    ///
    /// An account that is locked is told apart from a wrong password by nobody; one that is essential comes in
    /// even from a locked address.
    pub fn log_in(
        &self,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<(Pass, Principal), LoginError> {
        let known = self.known();
        let account = known.book.account(name).filter(|account| !account.disabled);
        let hash = account.and_then(|account| account.password.as_ref());
        let right = hash.unwrap_or(&self.nobody).is_of(password);
        let source_locked = address.and_then(|address| self.lockout.source(address, now));
        let account_locked = self.lockout.account(name, now).is_some();
        let free = source_locked.is_none() && !account_locked;
        if let Some(account) = account.filter(|it| hash.is_some() && right && (it.essential || free)) {
            let holder = Holder { account: Arc::clone(&account.name), revision: account.revision, address };
            let pass = self.sessions.begin(holder, now)?;
            self.lockout.succeeded(name);
            let principal = self.as_account(account, Proof::Session(Arc::clone(&pass.id)), address);
            return Ok((pass, principal));
        }
        let locked = self.lockout.failed(name, address, now);
        Err(source_locked.map_or(LoginError::Wrong { locked }, LoginError::TooMany))
    }

    /// Continues a session, once with each refresh token.
    pub fn renew(&self, shown: &str, now: Instant) -> Result<(Pass, Principal), SessionError> {
        let Some((Use::Refresh, secret)) = Secret::parse(shown) else { return Err(SessionError::Ended) };
        let (holder, pass) = self.sessions.refresh(&secret, now)?;
        let proof = Proof::Session(Arc::clone(&pass.id));
        self.holder(&holder, proof).map(|principal| (pass, principal)).ok_or(SessionError::Ended)
    }

    /// Who shows this bearer token.
    pub fn of_bearer(&self, text: &str, now: Instant) -> Option<Principal> {
        match Secret::parse(text)? {
            (Use::Access, secret) => {
                let (id, holder) = self.sessions.of_access(&secret, now)?;
                self.holder(&holder, Proof::Session(id))
            }
            (Use::Token, secret) => {
                let known = self.known();
                let at = known.tokens.get(&secret.digest())?;
                self.token(&known.book, known.book.tokens().get(*at)?)
            }
            (Use::Refresh, _) => None,
        }
    }

    /// For which account a verified certificate stands.
    pub fn of_peer(&self, peer: &Peer) -> Option<Principal> {
        let fits = |it: &CertificateMatch| match it {
            CertificateMatch::Fingerprint(fingerprint) => *fingerprint == peer.fingerprint,
            CertificateMatch::CommonName(name) => Some(name) == peer.common_name.as_ref(),
        };
        let known = self.known();
        let account = known.book.accounts().iter().find(|account| account.certificates.iter().any(fits))?;
        let proof = Proof::Certificate(Arc::clone(&account.name));
        (!account.disabled).then(|| Principal { must_change: false, ..self.as_account(account, proof, None) })
    }

    /// What somebody may do now by what they showed before; `None`: nothing any more.
    pub fn still(&self, proof: &Proof, now: Instant) -> Option<Principal> {
        let known = self.known();
        match proof {
            Proof::Session(id) => self.holder(&self.sessions.holder(id, now)?, proof.clone()),
            Proof::Token(id) => {
                self.token(&known.book, known.book.tokens().iter().find(|token| token.id == *id)?)
            }
            Proof::Certificate(name) => {
                let account = known.book.account(name)?;
                let stands = !account.disabled && !account.certificates.is_empty();
                stands.then(|| self.as_account(account, proof.clone(), None))
            }
        }
    }

    /// Who a session's holder is now; one who was changed since has to log in again.
    fn holder(&self, holder: &Holder, proof: Proof) -> Option<Principal> {
        let known = self.known();
        let account = known.book.account(&holder.account)?;
        let same = !account.disabled && account.revision == holder.revision;
        same.then(|| self.as_account(account, proof, holder.address))
    }

    fn as_account(&self, account: &Account, proof: Proof, address: Option<IpAddr>) -> Principal {
        Principal {
            name: Arc::clone(&account.name),
            role: Some(Arc::clone(&account.role)),
            permissions: self.roles.get(&account.role).unwrap_or_default(),
            proof,
            must_change: account.must_change,
            address,
        }
    }

    fn token(&self, book: &Book, token: &Token) -> Option<Principal> {
        let expired = token.expires.is_some_and(|expires| expires <= Timestamp::now());
        if expired || token.revoked.is_some() {
            return None;
        }
        let mut permissions = token.scope.permissions(&self.roles);
        if let Some(owner) = &token.owner {
            let owner = book.account(owner).filter(|account| !account.disabled)?;
            permissions = permissions.and(self.roles.get(&owner.role).unwrap_or_default());
        }
        let role = match &token.scope {
            super::book::Scope::Role(role) => Some(Arc::clone(role)),
            super::book::Scope::Permissions(_) => None,
        };
        Some(Principal {
            name: format!("token:{}", token.id).into(),
            role,
            permissions,
            proof: Proof::Token(Arc::clone(&token.id)),
            must_change: false,
            address: None,
        })
    }
}
