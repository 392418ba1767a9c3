//! Who is logged in. In memory alone: a restart logs everybody out.
//!
//! A session is shown by a short-lived token and continued with one that is used once. A token that comes a
//! second time was stolen by somebody: the whole session ends.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bifrost_model::Timestamp;
use openssl::error::ErrorStack;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::secret::{Digest, Secret, Use, random_id};

/// Most continuations of one session: more is no person.
const MOST_SPENT: usize = 1000;

/// `security.sessions`: how long who logged in stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// How long a session's token holds until it has to be renewed.
    #[serde(with = "humantime_serde")]
    pub access: Duration,
    /// How long a session lasts, renewed or not.
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
    /// Most sessions of one account; one more ends the oldest.
    pub per_account: usize,
    /// Most sessions of all.
    pub max: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            access: Duration::from_mins(15),
            lifetime: Duration::from_hours(8),
            per_account: 16,
            max: 1000,
        }
    }
}

impl SessionSettings {
    /// Every key with a value that can't work, and why.
    pub fn flaws(&self) -> Vec<(String, String)> {
        let checks = [
            ("access", self.access.is_zero(), "must be more than zero, such as 15m"),
            ("lifetime", self.lifetime < self.access, "must be at least security.sessions.access"),
            ("per_account", self.per_account == 0, "must be at least 1"),
            ("max", self.max < self.per_account, "must be at least security.sessions.per_account"),
        ];
        let wrong = checks.into_iter().filter(|(_, wrong, _)| *wrong);
        wrong.map(|(key, _, problem)| (key.to_owned(), problem.to_owned())).collect()
    }
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionError {
    /// There are as many as there may be.
    #[error("as many sessions as allowed are open (security.sessions.max); end one or wait")]
    TooMany,
    /// The token continues nothing: unknown, expired, ended, or used before.
    #[error("the session has ended; log in again")]
    Ended,
    /// No randomness.
    #[error("the system has no randomness: {0}")]
    NoRandomness(String),
}

impl From<ErrorStack> for SessionError {
    fn from(error: ErrorStack) -> Self {
        Self::NoRandomness(error.to_string())
    }
}

/// What who logged in is given.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Names the session.
    pub id: Arc<str>,
    /// To be shown with each request.
    pub access: Secret,
    /// To continue with, once.
    pub refresh: Secret,
    /// How long `access` holds.
    pub expires_in: Duration,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The account.
    pub account: Arc<str>,
    /// Its revision when it logged in: a later one ends the session.
    pub revision: u64,
    /// From where it logged in.
    pub address: Option<IpAddr>,
}

/// One session as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Names the session.
    pub id: Arc<str>,
    /// Whose it is.
    pub holder: Holder,
    /// When it began.
    pub since: Timestamp,
    /// How long it can still last.
    pub left: Duration,
}

#[derive(Debug)]
struct Session {
    holder: Holder,
    since: Timestamp,
    began: Instant,
    access: Digest,
    access_until: Instant,
    refresh: Digest,
    until: Instant,
    spent: Vec<Digest>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<Arc<str>, Session>,
    by_access: HashMap<Digest, Arc<str>>,
    /// Those that were used too, until the session ends.
    by_refresh: HashMap<Digest, Arc<str>>,
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    settings: SessionSettings,
    inner: Mutex<Inner>,
}

impl Sessions {
    /// None yet.
    pub fn new(settings: SessionSettings) -> Self {
        Self { settings, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one.
    pub fn begin(&self, holder: Holder, now: Instant) -> Result<Pass, SessionError> {
        let (access, refresh) = (Secret::generate(Use::Access)?, Secret::generate(Use::Refresh)?);
        let id: Arc<str> = random_id()?.into();
        let mut inner = self.lock();
        inner.forget_ended(now);
        inner.make_room(&holder.account, self.settings.per_account);
        if inner.sessions.len() >= self.settings.max {
            return Err(SessionError::TooMany);
        }
        let session = Session {
            holder,
            since: Timestamp::now(),
            began: now,
            access: access.digest(),
            access_until: now + self.settings.access,
            refresh: refresh.digest(),
            until: now + self.settings.lifetime,
            spent: Vec::new(),
        };
        inner.by_access.insert(session.access, Arc::clone(&id));
        inner.by_refresh.insert(session.refresh, Arc::clone(&id));
        inner.sessions.insert(Arc::clone(&id), session);
        Ok(Pass { id, access, refresh, expires_in: self.settings.access })
    }

    /// Continues one with its newest refresh token; any other ends it.
    pub fn refresh(&self, shown: &Secret, now: Instant) -> Result<(Holder, Pass), SessionError> {
        let (access, refresh) = (Secret::generate(Use::Access)?, Secret::generate(Use::Refresh)?);
        let mut inner = self.lock();
        inner.forget_ended(now);
        let id = inner.by_refresh.get(&shown.digest()).cloned().ok_or(SessionError::Ended)?;
        let Some(session) = inner.sessions.get_mut(&id) else { return Err(SessionError::Ended) };
        if session.refresh != shown.digest() || session.spent.len() >= MOST_SPENT {
            inner.end(&id);
            return Err(SessionError::Ended);
        }
        let before = std::mem::replace(&mut session.access, access.digest());
        session.spent.push(std::mem::replace(&mut session.refresh, refresh.digest()));
        session.access_until = (now + self.settings.access).min(session.until);
        let (holder, expires_in) = (session.holder.clone(), session.access_until - now);
        inner.by_access.remove(&before);
        inner.by_access.insert(access.digest(), Arc::clone(&id));
        inner.by_refresh.insert(refresh.digest(), Arc::clone(&id));
        Ok((holder, Pass { id, access, refresh, expires_in }))
    }

    /// Whose session this token shows.
    pub fn of_access(&self, shown: &Secret, now: Instant) -> Option<(Arc<str>, Holder)> {
        let inner = self.lock();
        let id = inner.by_access.get(&shown.digest())?;
        let session = inner.sessions.get(id)?;
        (now < session.access_until && now < session.until).then(|| (Arc::clone(id), session.holder.clone()))
    }

    /// Whose session this is, if it goes on.
    pub fn holder(&self, id: &str, now: Instant) -> Option<Holder> {
        let inner = self.lock();
        inner.sessions.get(id).filter(|session| now < session.until).map(|session| session.holder.clone())
    }

    /// Ends one; whether it was there.
    pub fn end(&self, id: &str) -> bool {
        self.lock().end(id)
    }

    /// All that go on, the oldest first.
    pub fn list(&self, now: Instant) -> Vec<Listed> {
        let mut inner = self.lock();
        inner.forget_ended(now);
        let mut all: Vec<_> = inner.sessions.iter().collect();
        all.sort_by_key(|(id, session)| (session.began, (*id).clone()));
        let listed = all.into_iter().map(|(id, session)| Listed {
            id: Arc::clone(id),
            holder: session.holder.clone(),
            since: session.since,
            left: session.until - now,
        });
        listed.collect()
    }
}

impl Inner {
    fn end(&mut self, id: &str) -> bool {
        let Some(session) = self.sessions.remove(id) else { return false };
        self.by_access.remove(&session.access);
        for digest in session.spent.iter().chain([&session.refresh]) {
            self.by_refresh.remove(digest);
        }
        true
    }

    fn forget_ended(&mut self, now: Instant) {
        let ended = self.sessions.iter().filter(|(_, session)| session.until <= now);
        let ended: Vec<_> = ended.map(|(id, _)| Arc::clone(id)).collect();
        for id in ended {
            self.end(&id);
        }
    }

    /// Room for one more session of an account.
    fn make_room(&mut self, account: &str, most: usize) {
        let of_account = self.sessions.iter().filter(|(_, session)| &*session.holder.account == account);
        let mut of_account: Vec<_> =
            of_account.map(|(id, session)| (session.began, Arc::clone(id))).collect();
        of_account.sort();
        let too_many = (of_account.len() + 1).saturating_sub(most);
        for (_, id) in of_account.iter().take(too_many) {
            self.end(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(account: &str) -> Holder {
        Holder { account: account.into(), revision: 0, address: None }
    }

    fn sessions() -> (Sessions, Instant) {
        (Sessions::new(SessionSettings::default()), Instant::now())
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_session_is_shown_until_its_token_expires_and_goes_on_when_renewed() {
        let (sessions, now) = sessions();
        let pass = sessions.begin(holder("ann"), now).unwrap();
        assert_eq!(sessions.of_access(&pass.access, now), Some((pass.id.clone(), holder("ann"))));
        assert_eq!(sessions.of_access(&pass.refresh, now), None);
        let later = now + 15 * MINUTE;
        assert_eq!(sessions.of_access(&pass.access, later), None);
        let (_, renewed) = sessions.refresh(&pass.refresh, later).unwrap();
        assert_eq!(renewed.id, pass.id);
        assert!(sessions.of_access(&renewed.access, later).is_some());
        assert!(sessions.of_access(&pass.access, now).is_none(), "the old token is replaced");
    }

    #[test]
    fn a_refresh_token_that_comes_twice_ends_the_session() {
        let (sessions, now) = sessions();
        let pass = sessions.begin(holder("ann"), now).unwrap();
        let (_, renewed) = sessions.refresh(&pass.refresh, now).unwrap();
        assert_eq!(sessions.refresh(&pass.refresh, now).unwrap_err(), SessionError::Ended);
        assert_eq!(sessions.of_access(&renewed.access, now), None);
        assert_eq!(sessions.refresh(&renewed.refresh, now).unwrap_err(), SessionError::Ended);
        assert!(sessions.lock().by_refresh.is_empty());
    }

    #[test]
    fn no_renewal_outlasts_the_lifetime() {
        let (sessions, now) = sessions();
        let pass = sessions.begin(holder("ann"), now).unwrap();
        let late = now + (8 * 60 - 1) * MINUTE;
        let (_, renewed) = sessions.refresh(&pass.refresh, late).unwrap();
        assert_eq!(renewed.expires_in, MINUTE);
        assert_eq!(sessions.of_access(&renewed.access, late + MINUTE), None);
        assert_eq!(sessions.refresh(&renewed.refresh, late + MINUTE).unwrap_err(), SessionError::Ended);
    }

    #[test]
    fn sessions_are_bounded_per_account_and_in_all() {
        let settings = SessionSettings { per_account: 2, max: 3, ..SessionSettings::default() };
        let (sessions, now) = (Sessions::new(settings), Instant::now());
        let first = sessions.begin(holder("ann"), now).unwrap();
        sessions.begin(holder("ann"), now + MINUTE).unwrap();
        sessions.begin(holder("ann"), now + 2 * MINUTE).unwrap();
        assert_eq!(sessions.holder(&first.id, now), None, "the oldest made room");
        sessions.begin(holder("bob"), now).unwrap();
        assert_eq!(sessions.begin(holder("eve"), now).unwrap_err(), SessionError::TooMany);
        assert_eq!(sessions.list(now).len(), 3);
        assert!(sessions.begin(holder("eve"), now + 9 * 60 * MINUTE).is_ok(), "ended ones are forgotten");
    }

    #[test]
    fn an_ended_session_is_gone_at_once() {
        let (sessions, now) = sessions();
        let pass = sessions.begin(holder("ann"), now).unwrap();
        assert!(sessions.end(&pass.id));
        assert!(!sessions.end(&pass.id));
        assert_eq!((sessions.of_access(&pass.access, now), sessions.holder(&pass.id, now)), (None, None));
    }
}
